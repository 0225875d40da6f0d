"""A privacy officer with a mouse, in a real JupyterLab and Chromium: what was drawn is what is masked, and no decision is lost."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

from ailab_kernel.privacy.review import REVIEW
from tests.annotation.labs import jupyterlab
from tests.annotation.mouse import outside
from tests.browsers import chromium

from .burned import SC, US, US_CINE, Line, anatomy, drawn, image
from .objects import KEY, file_of
from .test_review import SECRETS, check

pytestmark = pytest.mark.slow
CELL = """
import os, pathlib
import ailab_kernel as ailab
pathlib.Path("pid").write_text(str(os.getpid()))
lab = ailab.open_lab(home={home!r})
review = lab.redact({source!r}, {out!r}, key_file={key!r}, reader="viola")
review
"""
HEARD = """() => {
  if (window.heard === undefined) {
    window.heard = 0;
    window.addEventListener('keyup', () => window.heard++, true);
  }
  return window.heard;
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with jupyterlab(tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture
def page():
    with chromium(viewport={"width": 1480, "height": 1000}) as page:
        yield page


class Officer:
    """A mouse on the page, and an independent idea of where its pixels are."""

    def __init__(self, page, shape) -> None:
        self.page, self.shape = page, shape

    def wait(self) -> "Officer":
        self.page.wait_for_selector(".ailab-redact")
        self.page.locator(".ailab-redact").scroll_into_view_if_needed()
        self.settle()
        return self

    def settle(self) -> None:
        self.page.wait_for_function("() => document.querySelector('.ailab-redact').redact.ready()")

    def press(self, *keys: str) -> None:
        """Each once the page has answered the one before: the driver does not wait until a key was heard."""
        for key in keys:
            heard = self.page.evaluate(HEARD)
            self.page.keyboard.press(key)
            self.page.wait_for_function("heard => window.heard > heard", arg=heard)
            self.settle()

    def screen(self, row: float, column: float) -> tuple[float, float]:
        """Where a pixel's upper left corner must be when the whole picture is shown, with a border of 8 around it."""
        box = self.page.locator(".ailab-board canvas").bounding_box()
        scale = min((box["width"] - 16) / self.shape[1], (box["height"] - 16) / self.shape[0])
        return (box["x"] + (box["width"] - self.shape[1] * scale) / 2 + column * scale,
                box["y"] + (box["height"] - self.shape[0] * scale) / 2 + row * scale)  # fmt: skip

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        """From a row and column to another."""
        self.page.mouse.move(*self.screen(*begin))
        self.page.mouse.down()
        self.page.mouse.move(*self.screen(*end), steps=5)
        self.page.mouse.up()

    def click(self, row: float, column: float) -> None:
        self.page.mouse.click(*self.screen(row, column))

    def places(self) -> list[tuple[int, ...]]:
        return [tuple(one) for one in self.page.evaluate("() => document.querySelector('.ailab-redact').redact.state.places")]

    def states(self) -> list[str]:
        return self.page.evaluate("() => document.querySelector('.ailab-redact').redact.state.objects.map(one => one.state)")


@pytest.fixture
def given(tmp_path):
    """A folder of three pictures: an ultrasound screen, a cine and a capture without text; and a key."""
    lines = (Line("QUIXANO ALONSO", 12, 16, 15), Line("MRN-4711-77", 12, 420, 15), Line("LIVER RT", 300, 30, 14))
    screen = drawn(anatomy(384, 576, seed=5), lines)[0]
    still = drawn(np.zeros((240, 320), np.uint8), (Line("QUIXANO ALONSO", 10, 12, 13),))[0]
    cine = np.stack([np.roll(anatomy(240, 320, seed=1), 3 * index, axis=1) for index in range(12)])
    cine[:, :36] = still[:36]
    made = {"1": image(screen[None], sop_class=US, modality="US"),
            "2": image(cine, sop_class=US_CINE, modality="US", syntax=RLELossless),
            "3": image(anatomy(200, 300, seed=9)[None], sop_class=SC, modality="OT")}  # fmt: skip
    (tmp_path / "in").mkdir()
    for name, ds in made.items():
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.276.0.77.8.{name}"
        (tmp_path / "in" / f"Quixano {name}.dcm").write_bytes(file_of(ds))
    (tmp_path / "site.key").write_bytes(KEY)
    (tmp_path / "site.key").chmod(0o600)
    return made


def cell(tmp_path) -> str:
    return CELL.format(home=str(tmp_path / "lab"), source=str(tmp_path / "in"), out=str(tmp_path / "out"), key=str(tmp_path / "site.key"))


def picture(page, name: str, tmp_path) -> None:
    page.locator(".ailab-redact").screenshot(path=Path(os.environ.get("AILAB_PICTURES", tmp_path)) / f"redact-{name}.png")


def records(tmp_path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "out" / REVIEW / "decisions.jsonl").read_text().splitlines()[1:]]


def test_from_the_first_box_to_the_release(lab, page, given, tmp_path):
    lab.notebook(cell(tmp_path))
    lab.theme("JupyterLab Light")
    lab.run_all(page)
    officer = Officer(page, (384, 576)).wait()
    assert officer.states() == ["open", "open", "open"]
    assert page.evaluate("() => document.querySelector('.ailab-redact').redact.screenOf(100, 50)") == pytest.approx(officer.screen(50, 100), abs=0.02)
    proposed = officer.places()
    assert len(proposed) == 3
    liver = next(one for one in proposed if one[2] > 250)
    officer.drag((200.2, 300.3), (260.1, 431.4))                      # drawn: rounded to whole pixels
    officer.drag((230, 360), (240, 350))                              # moved as a whole
    officer.drag((270, 355), (281, 355))                              # its lower edge
    officer.settle()
    picture(page, "light", tmp_path)
    officer.press("z", "z", "y", "y")
    mine = (0, 0, 210, 290, 281, 421)
    assert mine in officer.places()
    officer.click((liver[2] + liver[4]) / 2, (liver[3] + liver[5]) / 2)
    officer.press("Delete")
    wished = sorted({*proposed, mine} - {liver})
    assert officer.places() == wished
    page.wait_for_selector(".ailab-status:has-text('every decision is kept')")
    lab.store(page)
    assert "uixano" not in (lab.folder / "reading.ipynb").read_text()
    lab.theme("JupyterLab Dark")
    pid = int((lab.folder / "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    officer.drag((320, 300), (350, 400))
    page.wait_for_selector(".ailab-status:has-text('1 not yet kept')")
    page.reload()                                                     # in the middle: no cell is run
    os.kill(pid, signal.SIGCONT)
    officer.wait()
    wished = sorted([*wished, (0, 0, 320, 300, 350, 400)])
    page.wait_for_function("count => document.querySelector('.ailab-redact').redact.state.places.length === count", arg=len(wished))
    assert officer.places() == wished
    page.locator(".ailab-redact").focus()
    officer.press("m")
    picture(page, "masked", tmp_path)
    officer.press("m", "Enter")                                       # on to the cine

    officer.shape = (240, 320)
    assert page.locator(".ailab-redact header b").text_content() == "US · file 2"
    (name,) = officer.places()
    assert name[:2] == (0, 11)
    officer.press("PageDown", "PageDown", "PageDown", "PageDown", "a")
    officer.press("f", *["Shift+ArrowDown"] * 3, *["ArrowLeft"] * 4, *["Alt+ArrowRight"] * 6)   # without a mouse
    officer.press("PageDown", "PageDown", "]")
    picture(page, "dark", tmp_path)
    (added,) = set(officer.places()) - {name}
    assert added == (4, 6, 138, 116, 162, 202)
    officer.press("Enter", "Enter")                                   # the capture: nothing is there
    assert officer.states() == ["done", "done", "done"]
    officer.press("z")
    assert officer.states() == ["done", "done", "open"], "'done' is taken back, and the object waits again"
    page.click(".ailab-redact [title^='mask, prove']")
    page.wait_for_selector(".ailab-said:has-text('2 objects are released as decided, 1 wait')", timeout=120_000)
    assert officer.states() == ["released", "released", "open"]

    outputs = {ds.get("NumberOfFrames", 1): ds for path in (tmp_path / "out").rglob("*.dcm") if (ds := dcmread(path))}
    assert sorted(outputs) == [1, 12]
    check(given["1"].pixel_array, outputs[1].pixel_array, wished, (384, 576))
    check(given["2"].pixel_array, outputs[12].pixel_array, [name, added], (240, 320))
    report = json.loads((tmp_path / "out" / "deidentified.json").read_text())
    assert report["review"] == {"waiting": 1, "decided": 2, "boxes": len(wished) + 12 + 3}, "boxes are counted in each frame"
    assert {one["who"] for one in records(tmp_path) if "client" in one} == {records(tmp_path)[0]["who"]}
    assert records(tmp_path)[0]["who"].startswith("reader-")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert not [one for one in (*SECRETS, b"viola") if one in kept]
    assert outside(page.asked) == set()
    assert page.faults == []


def test_decisions_that_a_killed_kernel_never_saw_come_back(lab, page, given, tmp_path):
    lab.notebook(cell(tmp_path))
    lab.run_all(page)
    officer = Officer(page, (384, 576)).wait()
    before = officer.places()
    officer.drag((100, 100), (130, 200))
    officer.settle()
    pid = int((lab.folder / "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    officer.drag((200, 100), (230, 200))
    page.wait_for_timeout(3500)                                       # sent again meanwhile
    os.kill(pid, signal.SIGCONT)
    officer.settle()
    os.kill(pid, signal.SIGSTOP)
    officer.drag((300, 300), (340, 400))
    page.keyboard.press("Enter")
    page.wait_for_selector(".ailab-status:has-text('2 not yet kept')")
    os.kill(pid, signal.SIGKILL)
    lab.run_all(page)                                                 # another page, another kernel
    page.wait_for_selector(".ailab-redact")
    page.wait_for_function("() => document.querySelector('.ailab-redact').redact.state.objects[0].state === 'done'")
    page.click(".ailab-object >> nth=0")
    officer.settle()
    wished = sorted({*before, (0, 0, 100, 100, 130, 200), (0, 0, 200, 100, 230, 200), (0, 0, 300, 300, 340, 400)})
    assert officer.places() == wished
    assert [one["kind"] for one in records(tmp_path)] == ["boxes"] * 3 + ["done"], "each once"
    assert not list((tmp_path / "out").rglob("*.dcm")), "nothing is released by opening the page"
    page.locator(".ailab-redact").focus()
    officer.press("z", "z")
    assert officer.states()[0] == "open"
    assert officer.places() == sorted(set(wished) - {(0, 0, 300, 300, 340, 400)})
    assert page.faults == []
