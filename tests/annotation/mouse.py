"""A mouse on the widget, and independent ideas of where its voxels are and of what it draws."""

import os
import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np


class Desk:
    """The widget on a page, and an independent idea of where its voxels are."""

    def __init__(self, page, grid) -> None:
        self.page, self.grid = page, grid

    def wait(self) -> "Desk":
        self.page.wait_for_selector(".ailab-annotate")
        self.page.wait_for_function("() => document.querySelector('.ailab-annotate').annotate.ready()")
        self.page.locator(".ailab-annotate").scroll_into_view_if_needed()
        return self

    def settle(self) -> None:
        self.page.wait_for_function("() => document.querySelector('.ailab-annotate').annotate.ready()")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def set_radius(self, mm: float) -> None:
        self.page.fill("[aria-label='radius, mm']", str(mm))
        self.page.keyboard.press("Tab")
        self.page.locator(".ailab-annotate").focus()

    @property
    def index(self) -> list[int]:
        return self.page.evaluate("() => [...document.querySelector('.ailab-annotate').annotate.state.cursor]")

    def go_to(self, axis: int, index: int) -> None:
        self.page.evaluate(f"() => document.querySelector('.ailab-annotate').annotate.state.moveTo({axis}, {index})")
        self.settle()

    @property
    def _box(self) -> dict:
        return self.page.locator(".ailab-pane:not([hidden]) canvas").bounding_box()

    def sides(self, plane: str) -> list[tuple[int, int]]:
        """Array axis and direction (1 or -1) of the screen's right and down, from the affine alone."""
        units = self.grid.affine[:3, :3] / self.grid.spacing_mm
        wished = {"axial": ((0, 1), (1, 1)), "coronal": ((0, 1), (2, -1)), "sagittal": ((1, 1), (2, -1))}[plane]
        return [(axis := int(np.abs(units[patient]).argmax()), int(np.sign(units[patient, axis]) * sign)) for patient, sign in wished]

    def screen(self, voxel, plane: str = "axial") -> tuple[float, float]:
        """Where a voxel must be on the page when the whole slice is shown."""
        box, sides = self._box, self.sides(plane)
        lengths = [self.grid.shape[axis] * self.grid.spacing_mm[axis] for axis, _ in sides]
        scale = min(box["width"] / lengths[0], box["height"] / lengths[1])
        found = []
        for (axis, sign), length, start, size in zip(sides, lengths, (box["x"], box["y"]), (box["width"], box["height"]), strict=True):
            from_start = voxel[axis] if sign > 0 else self.grid.shape[axis] - 1 - voxel[axis]
            found.append(start + (size - length * scale) / 2 + (from_start + 0.5) * self.grid.spacing_mm[axis] * scale)
        return found[0], found[1]

    def voxel(self, x: float, y: float, index: int) -> np.ndarray:
        """What lies under a point of the page in an axial slice: the inverse of `screen`."""
        origin = np.array(self.screen((0, 0, 0)))
        (right, _), (down, _) = self.sides("axial")
        found = np.zeros(3)
        for axis, one in ((right, 0), (down, 1)):
            unit = np.zeros(3)
            unit[axis] = 1
            found[axis] = ((x, y)[one] - origin[one]) / (np.array(self.screen(unit)) - origin)[one]
        found[0] = index
        return found

    def drag(self, *corners: tuple[int, int]) -> list[tuple[int, int]]:
        """Whole pixels from the middle of the canvas, in steps that are whole too."""
        box = self._box
        middle = round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] / 2)
        places = [(middle[0] + x, middle[1] + y) for x, y in corners]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=4)
        self.page.mouse.up()
        return places


def under(desk: Desk, places, radius: float, index: int) -> np.ndarray:
    """An independent rasteriser: distance of every voxel centre to the path, in the patient."""
    grid = desk.grid
    corners = np.array([desk.voxel(x, y, index) for x, y in places]) @ grid.affine[:3, :3].T
    found = np.zeros(grid.shape, bool)
    cells = np.indices(grid.shape[1:]).reshape(2, -1).T
    centres = np.insert(cells, 0, index, axis=1) @ grid.affine[:3, :3].T
    least = np.full(len(centres), np.inf)
    for begin, end in pairwise(corners):
        share = np.clip((centres - begin) @ (end - begin) / ((end - begin) @ (end - begin)), 0, 1)
        least = np.minimum(least, np.linalg.norm(centres - begin - share[:, None] * (end - begin), axis=1))
    assert (np.abs(least - radius) > 1e-4).all(), "no voxel lies on the edge"
    found[index] = (least < radius).reshape(grid.shape[1:])
    return found


def enclosed(desk: Desk, places, index: int) -> np.ndarray:
    from matplotlib.path import Path as Outline

    corners = np.array([desk.voxel(x, y, index)[1:] for x, y in places])
    shape = desk.grid.shape
    found = np.zeros(shape, bool)
    found[index] = Outline([*corners, corners[0]]).contains_points(np.indices(shape[1:]).reshape(2, -1).T).reshape(shape[1:])
    return found


def outside(urls: list[str]) -> set[str]:
    return {url for url in urls if urlsplit(url).hostname != "127.0.0.1" and urlsplit(url).scheme not in {"data", "blob"}}


def picture(page, name: str, tmp_path) -> None:
    page.screenshot(path=Path(os.environ.get("AILAB_PICTURES", tmp_path)) / f"annotate-{name}.png")


def told(mask, value, desk) -> str:
    ml, slices = (mask == value).sum() * desk.grid.voxel_ml, int((mask == value).any(axis=(1, 2)).sum())
    return f"{ml:.{2 if ml < 10 else 1}f} ml · {slices} {'slice' if slices == 1 else 'slices'}"


def line_to_the_kernel(page):
    """Lets every message of a kernel's socket through, and returns what cuts the line."""
    sockets = []
    page.route_web_socket(re.compile("/channels"), lambda one: sockets.append((one, one.connect_to_server())))

    def cut() -> None:
        while sockets:
            for end in sockets.pop():
                end.close(code=4000, reason="cut")

    return cut


def between(desk: Desk, drawn: np.ndarray, first: int, last: int) -> dict[int, np.ndarray]:
    """An independent interpolation: signed distances to the outline by nearest neighbours, changing evenly."""
    from scipy.spatial import KDTree

    places = np.indices(drawn.shape[1:]).reshape(2, -1).T * desk.grid.spacing_mm[1:]

    def signed(plane: np.ndarray) -> np.ndarray:
        marked = plane.reshape(-1)
        found = np.where(marked, KDTree(places[~marked]).query(places)[0], -KDTree(places[marked]).query(places)[0])
        return found.reshape(plane.shape)

    begin, end, found = signed(drawn[first]), signed(drawn[last]), {}
    for number in range(first + 1, last):
        share = (number - first) / (last - first)
        found[number] = (1 - share) * begin + share * end > 1e-6       # halfway is outside
    return found
