"""Sample points of one block of voxels, and shapes evaluated only where they can matter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .sdf import FAR, Point, capsule, ellipsoid

Box = tuple[slice, slice, slice]
_CORNERS = np.array([[i >> a & 1 for a in range(3)] for i in range(8)], bool)


@dataclass(eq=False)
class Space:
    """Voxels' places in the body.

    Attributes
    ----------
    p
        Body coordinates (x, y, z), mm, float32, each of the block's shape.
    to_index
        (4, 4) body mm to the block's index, without the bending.
    margin
        Furthest that bending moves a point, and an edge's width, mm.
    """

    p: list[np.ndarray]
    to_index: np.ndarray
    margin: float

    def boxes(self, low: np.ndarray, high: np.ndarray) -> Iterator[tuple[int, Box]]:
        """Number and index ranges of each of n boxes, (n, 3) mm each, that meets the block."""
        corners = np.where(_CORNERS[:, None], (high + self.margin)[None], (low - self.margin)[None])
        index = corners @ self.to_index[:3, :3].T + self.to_index[:3, 3]
        first = np.maximum(np.floor(index.min(0)).astype(int), 0)
        last = np.minimum(np.ceil(index.max(0)).astype(int) + 1, self.p[0].shape)
        for i in np.flatnonzero((first < last).all(1)):
            (a, b, c), (d, e, f) = first[i].tolist(), last[i].tolist()
            yield int(i), (slice(a, d), slice(b, e), slice(c, f))

    def box(self, low: Point | np.ndarray, high: Point | np.ndarray) -> Box | None:
        """Index ranges that hold every voxel between ``low`` and ``high`` mm; None where none is."""
        return next((box for _, box in self.boxes(np.array([low], float), np.array([high], float))), None)

    def within(self, box: Box) -> list[np.ndarray]:
        """Coordinates of the voxels in ``box``."""
        return [axis[box] for axis in self.p]

    def tube(self, path: Sequence[Sequence[float]], *, reach: float) -> np.ndarray:
        """Distance to a chain of capsules, (x, y, z, radius) a joint: exact up to ``reach`` mm from it, far beyond."""
        joints = np.asarray(path, float)
        low = np.minimum(joints[:-1, :3], joints[1:, :3]) - reach
        high = np.maximum(joints[:-1, :3], joints[1:, :3]) + reach
        wide = np.maximum(joints[:-1, 3:], joints[1:, 3:])
        d = np.full(self.p[0].shape, FAR)
        for i, box in self.boxes(low - wide, high + wide):
            a, b = path[i], path[i + 1]
            np.minimum(d[box], capsule(self.within(box), (a[:3], b[:3]), (a[3], b[3])), out=d[box])
        return d

    def ball(self, centre: Point, radii: Point, *, reach: float) -> np.ndarray:
        """Distance to an ellipsoid: exact up to ``reach`` mm from it, far beyond."""
        d = np.full(self.p[0].shape, FAR)
        box = self.box(np.subtract(centre, radii) - reach, np.add(centre, radii) + reach)
        if box is not None:
            d[box] = ellipsoid(self.within(box), centre, radii)
        return d
