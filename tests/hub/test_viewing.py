"""Both viewers in a server of the hub: what is in front, on the left and above is drawn there, in its label's colour."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_closing, binary_opening, label

from ailab_kernel.fleet.invitations import invite
from extensions.itk_viewer.build import FILES, PLACE
from tests.annotation.mouse import outside, picture
from tests.services import need_service

from .test_annotating import enter, notebook

pytestmark = pytest.mark.slow
# Oblique and anisotropic; three balls around the middle, mm to the patient's left, front and head. For the kernel and here.
PHANTOM = """
import numpy as np
from ailab_kernel.dicom.codes import HEART
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.volume import Volume

shape, spacing = (36, 84, 98), (3.1, 1.2, 0.9)
(a, b), (c, d) = ((np.cos(one), np.sin(one)) for one in np.radians((12, 8)))
turn = np.array([[c, -d, 0], [d, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, a, -b], [0, b, a]])
affine = np.eye(4)
affine[:3, :3] = (turn @ np.diag(spacing[::-1]))[:, [2, 1, 0]]
affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2) + (-31.0, 57.0, 12.0)
grid = Grid(shape, affine)
mm = np.moveaxis(np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2, 0, -1) @ affine[:3, :3].T
balls = {"left": (28, 0, 0), "front": (0, -26, 0), "head": (0, 0, 34)}
colors = {"left": (255, 40, 40), "front": (40, 220, 40), "head": (240, 230, 40)}
labels = np.zeros(shape, np.uint8)
for index, place in enumerate(balls.values(), start=1):
    labels[np.linalg.norm(mm - place, axis=-1) < 11] = index
vol = Volume(np.where(np.abs(mm).sum(-1) < 75, 60, -20).astype(np.int16), grid, facts={"Modality": "CT"})
mask = Mask(labels, grid, tuple(Label(n, name, HEART, color=colors[name]) for n, name in enumerate(balls, start=1)))
"""
OPENED = PHANTOM + """
display(vol.view(mask))
vol.view(mask, engine="itk")
"""
# By plane: the array's axis across it, which balls it meets, and which of the patient's axes (L, P, H) run to the right
# of the screen and down.
PLANES = {
    "axial": (0, ("left", "front"), ((0, 1), (1, 1))), "coronal": (1, ("left", "head"), ((0, 1), (2, -1))),
    "sagittal": (2, ("front", "head"), ((1, 1), (2, -1))),
}  # fmt: skip
MODES = {"axial": "ZPlane", "coronal": "YPlane", "sagittal": "XPlane"}
LEAST = 200                                    # pixels of a ball: the viewer's own marks are smaller, or thin
SLIDER = 60                                    # pixels at the bottom of the viewer 'itk', in colours too
NIIVUE, ITK = ".ailab-niivue", "iframe.ailab-itk"
PANES = """() => {
  const { viewer } = document.querySelector(".ailab-niivue"), { left, top } = viewer.canvas.getBoundingClientRect();
  const told = viewer.screenSlices.map(({ axCorSag, leftTopWidthHeight: [x, y, width, height] }) =>
    [["axial", "coronal", "sagittal"][axCorSag], { x: x + left, y: y + top, width, height }]);
  return Object.fromEntries(told);
}"""
PLANE = """(mode) => {
  const { viewer } = document.querySelector("iframe.ailab-itk");
  viewer.setUICollapsed(true);
  viewer.setViewMode(mode);
}"""


def balls(page, clip: dict) -> dict[str, np.ndarray]:
    """Where on the page the balls' colours lie: the middle of the largest patch of each that is there."""
    shot = np.asarray(Image.open(BytesIO(page.screenshot(clip=clip))).convert("RGB")).astype(int)
    red, green, blue = np.moveaxis(shot, -1, 0)
    colored = {"left": red - np.maximum(green, blue), "front": green - np.maximum(red, blue),
               "head": np.minimum(red, green) - blue}  # fmt: skip
    found = {}
    for name, more in colored.items():
        thick = binary_opening(more > 30, iterations=2)                  # the frame of a slice is thin
        patches, _ = label(binary_closing(thick, iterations=4))          # the crosshair runs through them
        sizes = np.bincount(patches.ravel())[1:]
        if sizes.size and sizes.max() > LEAST:
            found[name] = np.argwhere(patches == 1 + sizes.argmax()).mean(axis=0)[::-1]
    return found


def cuts(plane: str) -> np.ndarray:
    """Where the plane through the middle cuts its two balls, mm to the right and down, from the affine alone."""
    across, met, sides = PLANES[plane]
    made: dict = {}
    exec(PHANTOM, made)
    directions = made["affine"][:3, :3] / made["spacing"]
    centres = np.array([made["balls"][name] for name in met], float)
    flat = centres - np.outer(centres @ directions[:, across], directions[:, across])
    return np.array([flat[:, axis] * sign for axis, sign in sides]).T


def scale_of(seen: dict[str, np.ndarray], plane: str) -> float:
    """Pixels a mm, the same to the right and down, once each ball was found on its side."""
    met = PLANES[plane][1]
    assert seen.keys() == set(met), plane
    pixels, mm = seen[met[1]] - seen[met[0]], np.diff(cuts(plane), axis=0)[0]
    scale = np.linalg.norm(pixels) / np.linalg.norm(mm)
    np.testing.assert_allclose(pixels, mm * scale, atol=1.0 * scale, err_msg=plane)
    return scale


def test_both_viewers_in_a_server_of_the_hub(hub, page, tmp_path):
    need_service(str(PLACE / "static" / FILES[0]), package="none: make .venv/itk-ready")
    page.set_viewport_size({"width": 1280, "height": 1700})
    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda data: sent.append(len(data))))
    enter(page, hub.url, "vito", invite(hub.private / "invitations", "vito", role="radiologist").password)
    notebook(page, f"{hub.url}/user/vito", OPENED)
    page.wait_for_selector(f"{NIIVUE}[data-state]", state="attached")
    page.wait_for_selector(f"{ITK}[data-state]", state="attached")
    assert [page.locator(one).get_attribute("data-state") for one in (NIIVUE, ITK)] == ["shown", "shown"]

    page.locator(NIIVUE).scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    picture(page, "hub-viewers", tmp_path)
    panes = page.evaluate(PANES)
    scales = [scale_of(balls(page, panes[plane]), plane) for plane in PLANES]
    assert np.ptp(scales) < 0.03 * max(scales), "one scale in all three panes"

    page.locator(ITK).scroll_into_view_if_needed()
    for plane, mode in MODES.items():
        page.evaluate(PLANE, mode)
        page.wait_for_timeout(1500)
        picture(page, f"hub-itk-{plane}", tmp_path)
        frame = page.locator(ITK).bounding_box()
        scale_of(balls(page, frame | {"height": frame["height"] - SLIDER}), plane)

    assert sum(sent) < 500_000, "voxels stay on the page"
    assert outside(page.asked) == set()
    assert page.faults == []
