"""Clicks, growing, the view in 3-D and other readers' outlines, with a mouse in a real Chromium and JupyterLab."""

from collections import deque

import numpy as np
import pytest

from ailab_kernel.datasets.canary import make_canary

from .helped import ball, desk, phantom, references
from .mouse import Desk, outside, picture, told, under

pytestmark = pytest.mark.slow
CELL = "from tests.annotation.helped import desk\nshown = desk({folder!r}, others={others})\nshown"


def opened(lab, page, folder, *, others=False) -> tuple[Desk, object]:
    vol = phantom()
    lab.notebook(CELL.format(folder=str(folder), others=others))
    lab.run_all(page)
    return Desk(page, vol.grid).wait(), vol


def kept(page, folder) -> np.ndarray:
    """The kernel's mask."""
    (folder / "mask.npy").unlink(missing_ok=True)
    page.locator(".ailab-annotate").focus()
    page.keyboard.press("Control+s")
    page.wait_for_selector(".ailab-said:has-text('handed in')")
    return np.load(folder / "mask.npy")


def thought(page, clicks: int) -> None:
    page.wait_for_selector(f".ailab-told:has-text('proposal after {clicks} click')")


def test_clicks_are_answered_while_strokes_go_on(lab, page, tmp_path):
    lab.theme("JupyterLab Light")
    shown, vol = opened(lab, page, tmp_path)
    shown.go_to(0, 10)
    shown.set_radius(9.3)
    one, two, away = (10, 45, 42), (10, 60, 50), (10, 42, 42)
    shown.press("q")
    page.mouse.click(*shown.screen(one))
    page.wait_for_selector(".ailab-told:has-text('thinking')")
    shown.press("b")
    wished = under(shown, shown.drag((-90, 80), (-20, 100)), 9.3, 10)
    shown.settle()
    assert page.locator(".ailab-label small").first.text_content() == told(wished, 1, shown), "a stroke meanwhile"
    shown.press("q")
    page.mouse.click(*shown.screen(two))                                # takes the place of the first question
    page.wait_for_function("() => document.querySelector('.ailab-annotate').annotate.state.standing.clicks.length === 2")
    (tmp_path / "go").touch()
    thought(page, 2)
    assert (tmp_path / "asked").read_text().split() == ["1", "2"]
    wished |= ball(vol, one) | ball(vol, two)
    assert np.array_equal(kept(page, tmp_path), wished)
    picture(page, "assist", tmp_path)
    page.keyboard.down("Alt")
    page.mouse.click(*shown.screen(away))
    page.keyboard.up("Alt")
    thought(page, 3)
    assert np.array_equal(kept(page, tmp_path), wished & ~ball(vol, away))
    shown.press("z")
    assert np.array_equal(kept(page, tmp_path), wished)
    shown.press("y")
    shown.press("Enter")
    page.wait_for_function("() => document.querySelector('.ailab-annotate').annotate.state.standing.clicks.length === 0")
    (tmp_path / "fail").touch()
    page.mouse.click(*shown.screen(one))
    page.wait_for_selector(".ailab-said:has-text('the proposal failed (ValueError)')")
    assert page.locator(".ailab-told").text_content() == ""
    assert np.array_equal(kept(page, tmp_path), wished & ~ball(vol, away))
    assert outside(page.asked) == set()
    assert page.faults == []


def flooded(vol, place, low, high, *, axis) -> np.ndarray:
    """An independent region: neighbour by neighbour."""
    fits, found, due = (vol.values >= low) & (vol.values <= high), np.zeros(vol.grid.shape, bool), deque([tuple(place)])
    while due:
        one = due.popleft()
        if found[one] or not fits[one]:
            continue
        found[one] = True
        for moved in (other for other in range(3) if other != axis):
            for step in (-1, 1):
                nearby = tuple(value + step * (number == moved) for number, value in enumerate(one))
                if 0 <= nearby[moved] < vol.grid.shape[moved]:
                    due.append(nearby)
    return found


def test_growing_and_the_view_in_3d(lab, page, tmp_path):
    lab.theme("JupyterLab Dark")
    shown, vol = opened(lab, page, tmp_path)
    shown.go_to(0, 10)
    place = np.unravel_index(np.argmax(np.where(vol.values[10] > 150, vol.values[10], 0)), vol.grid.shape[1:])
    seed, label = (10, *map(int, place)), ".ailab-label small"
    page.fill("[aria-label='lowest value']", "150")
    page.fill("[aria-label='highest value']", "3000")
    page.keyboard.press("Tab")
    page.locator(".ailab-annotate").focus()
    shown.press("t", "l")
    page.mouse.click(*shown.screen(seed))
    shown.settle()
    wished = flooded(vol, seed, 150, 3000, axis=0)
    assert page.locator(label).first.text_content() == told(wished, 1, shown)
    shown.press("d")
    page.mouse.click(*shown.screen(seed))
    shown.settle()
    wished |= flooded(vol, seed, 150, 3000, axis=-1)
    assert np.array_equal(kept(page, tmp_path), wished)
    page.locator(".ailab-annotate").focus()
    shown.press("x")
    page.wait_for_function("() => document.querySelector('.ailab-annotate').annotate.solid.ready")
    page.wait_for_timeout(300)
    picture(page, "solid-front", tmp_path)
    solid = ".ailab-solid canvas"

    def at(voxel):
        return np.array(page.evaluate("voxel => document.querySelector('.ailab-annotate').annotate.solid.screenOf(voxel)", list(voxel)))

    size = page.locator(solid).bounding_box()
    lengths = np.array(vol.grid.shape) * vol.grid.spacing_mm
    scale = min(size["width"], size["height"]) / (1.12 * lengths.max())
    from_front = vol.grid.affine[:3, :3][[0, 2]] * [[1], [-1]]            # left is right, head is up
    for step in np.eye(3):
        assert at(step + 5) - at([5, 5, 5]) == pytest.approx(from_front @ step * scale, abs=1e-3)
    page.mouse.move(size["x"] + 150, size["y"] + 100)
    page.mouse.down()
    page.mouse.move(size["x"] + 150 - round(100 * np.pi / 2), size["y"] + 100, steps=5)      # a quarter turn
    page.mouse.up()
    page.wait_for_timeout(300)
    picture(page, "solid-side", tmp_path)
    from_side = vol.grid.affine[:3, :3][[1, 2]] * [[1], [-1]]
    assert at([5, 5, 6]) - at([5, 5, 5]) == pytest.approx(from_side[:, 2] * scale, abs=0.02 * scale)
    assert at([5, 6, 5]) - at([5, 5, 5]) == pytest.approx(from_side[:, 1] * scale, abs=0.02 * scale)
    page.mouse.click(size["x"] + at(seed)[0], size["y"] + at(seed)[1])   # onto the surface
    assert wished[tuple(slice(max(one - 3, 0), one + 4) for one in shown.index)].any()
    assert page.faults == []


OBLIQUE = """
from pathlib import Path
from ailab_kernel.annotation.session import Case, Session
from ailab_kernel.annotation.widget import Annotator
from ailab_kernel.datasets.canary import make_canary
sent = make_canary()
Annotator(Session(Path("oblique"), sent.volume, case=Case("", sent.volume.series_uid, "reader-1", sent.mask.labels), start=sent.mask))
"""


def test_the_view_in_3d_is_right_on_an_oblique_anisotropic_grid(lab, page, tmp_path):
    sent = make_canary()
    lab.notebook(OBLIQUE)
    lab.run_all(page)
    shown, grid = Desk(page, sent.volume.grid).wait(), sent.volume.grid
    page.locator(".ailab-annotate").focus()
    shown.press("x")
    page.wait_for_function("() => document.querySelector('.ailab-annotate').annotate.solid.ready")
    size, pane = page.locator(".ailab-solid canvas").bounding_box(), "document.querySelector('.ailab-annotate').annotate.solid"
    scale = min(size["width"], size["height"]) / (1.12 * (np.array(grid.shape) * grid.spacing_mm).max())
    centre = (np.array(grid.shape) - 1) / 2
    for turned, tilted in ((0.0, 0.0), (0.7, -0.4), (-2.1, 1.2)):
        page.evaluate(f"() => {{ const {{ camera }} = {pane}; [camera.turned, camera.tilted] = [{turned}, {tilted}]; {pane}.paint(); }}")
        sin, cos, up, flat = np.sin(turned), np.cos(turned), np.sin(tilted), np.cos(tilted)
        seen = np.array([[cos, sin, 0], [-sin * up, cos * up, -flat], [-sin * flat, cos * flat, up]]) @ grid.affine[:3, :3]
        marked = np.argwhere(sent.mask.array)
        depths = (marked - centre) @ seen[2]
        voxel = marked[depths.argmin()]                       # the nearest to us of the whole label: nothing hides it
        place = (seen @ (voxel - centre))[:2] * scale + [size["width"] / 2, size["height"] / 2]
        found = page.evaluate(f"voxel => {pane}.screenOf(voxel)", voxel.tolist())
        assert found == pytest.approx(place.tolist(), abs=0.02)
        page.mouse.click(size["x"] + found[0], size["y"] + found[1])
        assert np.linalg.norm(grid.affine[:3, :3] @ (np.array(shown.index) - voxel)) <= 2.5 * max(grid.spacing_mm)
    assert page.faults == []


def test_other_readers_are_outlines_and_may_be_taken_over(lab, page, tmp_path):
    lab.theme("JupyterLab Light")
    shown, vol = opened(lab, page, tmp_path, others=True)
    readers = references(vol)
    shown.go_to(0, 10)
    picture(page, "readers", tmp_path)
    page.click(".ailab-reference:has-text('reader-a') >> text=here")
    shown.settle()
    wished = np.zeros(vol.grid.shape, np.uint8)
    wished[10] = readers["reader-a"].array[10]
    assert np.array_equal(kept(page, tmp_path), wished)
    page.click(".ailab-reference:has-text('reader-b') >> text=whole")
    shown.settle()
    assert np.array_equal(kept(page, tmp_path), readers["reader-b"].array)
    page.locator(".ailab-annotate").focus()
    shown.press("z")
    assert np.array_equal(kept(page, tmp_path), wished)
    page.click(".ailab-reference:has-text('reader-a') >> text=hide")
    assert page.evaluate("() => document.querySelector('.ailab-annotate').annotate.state.hiddenReferences.size") == 1
    assert page.faults == []


def test_what_goes_wrong_in_the_page_is_told_in_the_cell(lab, page, tmp_path):
    opened(lab, page, tmp_path)
    page.evaluate("() => { const { state } = document.querySelector('.ailab-annotate').annotate; state.scroll = () => state.gone.gone; }")
    page.locator(".ailab-annotate").focus()
    page.keyboard.press("ArrowUp")
    page.wait_for_selector(".ailab-said[data-kind=bad]:has-text('the page failed: Cannot read properties of undefined')")
    assert len(page.faults) == 1


def test_the_helper_that_needs_no_model_answers_a_click(lab, page, tmp_path):
    vol = phantom()
    lab.notebook(CELL.format(folder=str(tmp_path), others=False).replace("others", "refined=False, others"))
    lab.run_all(page)
    shown, place = Desk(page, vol.grid).wait(), (10, 45, 42)
    shown.go_to(0, 10)
    page.locator(".ailab-annotate").focus()
    shown.press("q")
    page.mouse.click(*shown.screen(place))
    thought(page, 1)
    assert kept(page, tmp_path)[place] == 1


def test_a_desk_is_made_without_a_browser(tmp_path):
    assert desk(tmp_path).scene["references"] == []
