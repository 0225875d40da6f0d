"""Viewers in a real JupyterLab and Chromium: the orientation canary stands where it is, and nobody else is asked."""

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ailab_kernel.datasets.canary import make_canary
from ailab_kernel.volumes.view.engines.itk import EXTENSION
from extensions.itk_viewer.build import FILES, PLACE
from tests.annotation.conftest import lab, page  # noqa: F401
from tests.hub.test_browser import outside
from tests.services import need_service

pytestmark = pytest.mark.slow
NIIVUE = """
import json
from ailab_kernel.datasets.canary import make_canary
canary = make_canary()
view = canary.volume.view(canary.mask)
view.widget.on_location_change(lambda told: open("told.jsonl", "a").write(json.dumps(told) + "\\n"))
view
"""
ITK = """
from ailab_kernel.datasets.canary import make_canary
canary = make_canary()
canary.volume.view(canary.mask, engine="itk")
"""
LARGE = """
import numpy as np
from ailab_kernel.datasets.canary import make_canary
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume
canary, shape = make_canary(), (200, 512, 512)
small = [np.arange(new) * old // new for old, new in zip(canary.volume.array.shape, shape)]
grid = Grid(shape, canary.volume.grid.affine @ np.diag([0.05, 26 / 512, 36 / 512, 1]))
image = Volume(canary.volume.array[np.ix_(*small)], grid, facts={"Modality": "CT"})
image.view(Mask(canary.mask.array[np.ix_(*small)], grid, canary.mask.labels), engine="itk")
"""
NOISE = """
import numpy as np
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume
grid = Grid((64, 256, 256), np.diag([2.0, 1.0, 1.0, 1.0]))
values = np.random.default_rng(1).integers(-1000, 1000, grid.shape, dtype=np.int16)
Volume(values, grid).view(Mask((values > 900).astype(np.uint8), grid))
"""
COUNT = """() => {
  const page = WebGL2RenderingContext.prototype, { texStorage3D } = page;
  window.filled = 0;
  page.texStorage3D = function (...given) { window.filled += 1; return texStorage3D.apply(this, given); };
}"""
FILL = """() => {
  const before = window.filled;
  document.querySelector(".ailab-niivue").viewer.updateGLVolume();
  return [before, window.filled - before];
}"""
SHOWN = "() => document.querySelector('iframe.ailab-itk')?.dataset.state"
PLACED = """() => {
  const { viewer } = document.querySelector("iframe.ailab-itk"), store = viewer.getStore();
  const shown = store.proxyManager.getRepresentations().find((one) => one.getVolumes?.()[0]);
  const image = shown.getVolumes()[0].getMapper().getInputData(), camera = store.itkVtkView.getCamera();
  return { size: image.getDimensions(), mode: viewer.getViewMode(), names: [...viewer.getLabelImageLabelNames()],
           origin: [...image.indexToWorld([0, 0, 0])], far: [...image.indexToWorld([35, 25, 9])], scale: viewer.getLoadedScale("image"),
           into: camera.getDirectionOfProjection(), up: camera.getViewUp() };
}"""
CUT = """(z) => {
  const { viewer } = document.querySelector("iframe.ailab-itk");
  viewer.setUICollapsed(true);
  viewer.setZSlice(z);
}"""
POINT = """([x, y, z]) => {
  const frame = document.querySelector("iframe.ailab-itk"), view = frame.viewer.getStore().itkVtkView;
  const box = view.getContainer().getBoundingClientRect();
  const [right, up] = view.getRenderer().worldToNormalizedDisplay(x, y, z, box.width / box.height);
  return [box.left + right * box.width, box.top + (1 - up) * box.height];
}"""


def need_itk():
    need_service(str(PLACE / "static" / FILES[0]), package="none: make .venv/itk-ready")


def clicks(page, pane: tuple[float, float], folder) -> list[dict]:  # noqa: F811
    """What NiiVue tells of nine places around the middle of a pane (shares of the canvas), row by row."""
    box = page.locator(".jp-OutputArea canvas").bounding_box()
    path, told = folder / "told.jsonl", []
    for down in (-26, 0, 22):
        for right in (-22, 0, 26):
            before = len(path.read_text().splitlines()) if path.exists() else 0
            page.mouse.move(box["x"] + pane[0] * box["width"] + right, box["y"] + pane[1] * box["height"] + down)
            page.mouse.down()
            page.mouse.up()
            for _ in range(100):
                page.wait_for_timeout(50)
                if path.exists() and len(lines := path.read_text().splitlines()) > before:
                    told.append(json.loads(lines[-1]))
                    break
    return told


def test_niivue_places_the_canary_in_the_patient(lab, page):  # noqa: F811
    canary = make_canary()
    lab.notebook(NIIVUE)
    lab.run_all(page)
    page.wait_for_selector(".jp-OutputArea canvas")
    page.wait_for_timeout(3000)
    checked, values = 0, set()
    # Left to right and top to bottom of the screen, as axes of the patient (L, P, S) and signs.
    for pane, right, down in (((0.28, 0.74), (0, 1), (1, 1)), ((0.28, 0.25), (0, 1), (2, -1)), ((0.72, 0.25), (1, 1), (2, -1))):
        told = clicks(page, pane, lab.folder)
        assert len(told) == 9
        places = np.array([one["mm"][:3] for one in told]) * [-1, -1, 1]
        across = places.reshape(3, 3, 3)
        assert (np.diff(across[:, :, right[0]], axis=1) * right[1] > 0).all()
        assert (np.diff(across[:, :, down[0]], axis=0) * down[1] > 0).all()
        for one, place in zip(told, places, strict=True):
            exact = np.linalg.solve(canary.volume.grid.affine, [*place, 1])[:3]
            index = tuple(np.rint(exact).astype(int))
            if np.abs(exact - index).max() < 0.45:     # not on the border of two voxels
                image, label = (part["value"] for part in one["values"])
                assert (image, label) == (canary.volume.array[index], canary.mask.array[index])
                checked += 1
                values.add((image > -1000, label))
    assert checked > 15
    assert len(values) >= 2, "air and the letter or the block were met"
    line = page.locator(".widget-html-content").first.inner_text()
    assert "mm · slice" in line
    assert outside(page.asked) == set()
    assert page.faults == []


def test_niivue_keeps_the_voxels_on_the_page_and_draws_once(lab, page):  # noqa: F811
    crossed = {"framesent": 0, "framereceived": 0}

    def count(socket) -> None:
        for way in crossed:
            socket.on(way, lambda data, way=way: crossed.update({way: crossed[way] + len(data)}))

    page.on("websocket", count)
    logged = []
    page.on("console", lambda message: logged.append(message.text))
    page.add_init_script(f"({COUNT})()")
    lab.notebook(NOISE)
    lab.run_all(page)
    page.wait_for_selector(".ailab-niivue[data-state]", state="attached")
    page.wait_for_timeout(3000)
    assert page.locator(".ailab-niivue").get_attribute("data-state") == "shown"
    assert "loading" not in page.locator(".ailab-niivue").inner_text()
    assert crossed["framesent"] < 300_000, "12.6 MB of voxels came once"
    assert 6_000_000 < crossed["framereceived"] < 25_000_000
    assert not [text for text in logged if "sendChunkedData" in text], "nor are they cut into parts for it"
    assert page.evaluate("() => document.querySelector('.ailab-niivue').viewer.volumes.map((one) => one.img.length)") == [64 * 256 * 256] * 2
    loading, once = page.evaluate(FILL)
    assert once <= loading < 2 * once, "textures are filled once, not after each step of loading"
    assert page.faults == []


def test_niivue_says_what_fails(lab, page):  # noqa: F811
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    lab.notebook(NIIVUE)
    lab.run_all(page)
    page.wait_for_selector(".ailab-niivue[data-state=failed]")
    assert page.locator(".ailab-niivue").inner_text().startswith("The viewer 'niivue' failed: ")


def test_itk_shows_the_oblique_canary_where_it_is(lab, page):  # noqa: F811
    need_itk()
    canary = make_canary()
    affine = canary.volume.grid.affine
    lab.notebook(ITK)
    lab.run_all(page)
    page.wait_for_function(SHOWN)
    placed = page.evaluate(PLACED)
    assert page.locator("iframe.ailab-itk").get_attribute("data-state") == "shown"
    assert (placed["size"], placed["mode"], placed["names"]) == ([36, 26, 10], "ZPlane", [[0, "background"], [1, "canary"]])
    np.testing.assert_allclose(placed["origin"], affine[:3, 3], atol=1e-6)
    np.testing.assert_allclose(placed["far"], (affine @ [9, 25, 35, 1])[:3], atol=1e-6)
    assert np.cross(placed["into"], placed["up"]) == pytest.approx([1, 0, 0]), "the patient's left is on the right"
    corners = np.array([affine @ [s, r, c, 1] for s in (-0.5, 9.5) for r in (-0.5, 25.5) for c in (-0.5, 35.5)])
    middle = (corners.min(axis=0) + corners.max(axis=0))[:2] / 2
    to_slice = np.linalg.inv(affine)[0]
    page.evaluate(CUT, (3 - to_slice[[0, 1, 3]] @ [*middle, 1]) / to_slice[2])     # the slice that meets its middle at 3
    page.wait_for_timeout(1500)
    picture = np.asarray(Image.open(BytesIO(page.locator("iframe.ailab-itk").screenshot())).convert("RGB")).astype(int)
    seen = {}
    for name, voxel in (("letter", (3, 10, 9)), ("foot", (3, 18, 17)), ("block", (3, 13, 27)), ("air", (3, 21, 30))):
        right, down = page.evaluate(POINT, (affine @ [*voxel, 1])[:3].tolist())
        seen[name] = picture[round(down) - 1 : round(down) + 2, round(right) - 1 : round(right) + 2].mean(axis=(0, 1))
    assert seen["air"].max() < 20
    assert seen["letter"].min() > 100 < seen["foot"].min()
    assert seen["letter"][2] < seen["letter"][0] - 8, "yellow over white"
    assert 60 < seen["block"].mean() < 230
    assert np.ptp(seen["block"]) < 5, "no label there"
    assert outside(page.asked) == set()


def test_itk_shows_512_512_200_with_labels_out_of_six_files(lab, page):  # noqa: F811
    need_itk()
    lab.notebook(LARGE)
    lab.run_all(page)
    page.wait_for_function(SHOWN)
    page.wait_for_function("() => document.querySelector('iframe.ailab-itk').viewer.getLoadedScale('image') === 0")
    page.wait_for_function(f"() => ({PLACED})().size[0] === 512")
    assert page.evaluate(PLACED)["size"] == [512, 512, 200]
    folder = f"/lab/extensions/{EXTENSION}/static/"
    assert {url.split(folder)[1] for url in page.asked if folder in url} == set(FILES)
    assert outside(page.asked) == set()
