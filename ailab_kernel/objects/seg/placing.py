"""Where frames lie on a grid, exactly: on its voxels in any order and direction, or on a grid of their own."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.volumes.geometry import Grid

from .groups import Place
from .pixels import Strip

# A frame's pixels may lie this far from the grid's voxels, in voxels: rounding of positions in the header.
_OFF_GRID = 0.1
_MOST_VOXELS = 1 << 30
_SAME_MM = 1e-3
_SAME_DIRECTION = 1e-4
_UNEVEN = 0.02


class Seat(NamedTuple):
    """A frame on a grid: its normal, row and column axis, their directions, and its first pixel on them."""

    axes: tuple[int, int, int]
    steps: tuple[int, int]
    start: tuple[int, int, int]

    def take(self, array: np.ndarray, strip: Strip) -> tuple[np.ndarray, np.ndarray]:
        """The part of an array on the grid that a strip covers, seen as the frame sees it, and the strip's part in it.

        Raises
        ------
        ObjectError
            The strip marks something beyond the grid.
        """
        slices, row, column = self.start
        row += strip.first * self.steps[0]
        turned = array.transpose(self.axes)
        rows, in_rows = _overlap(row, self.steps[0], strip.values.shape[0], turned.shape[1])
        columns, in_columns = _overlap(column, self.steps[1], strip.values.shape[1], turned.shape[2])
        inside = strip.values[in_rows, in_columns] if 0 <= slices < turned.shape[0] else strip.values[:0]
        if inside.shape != strip.values.shape and np.count_nonzero(inside) < np.count_nonzero(strip.values):
            msg = "the SEG reaches beyond this grid; it was drawn on another series (resample=True cuts it off)"
            raise ObjectError(msg)
        return turned[min(max(slices, 0), turned.shape[0] - 1), rows, columns][: inside.shape[0]], inside


def _overlap(start: int, step: int, size: int, room: int) -> tuple[slice, slice]:
    """Where ``size`` pixels from ``start`` in direction ``step`` lie in ``room``, and which they are."""
    first, last = (-start, room - start) if step > 0 else (start - room + 1, start + 1)
    own = slice(max(first, 0), max(min(last, size), max(first, 0)))
    low, high = start + own.start * step, start + own.stop * step
    return slice(low, high if high >= 0 else None, step) if own.stop > own.start else slice(0, 0), own


def seats(places: Sequence[Place], shape: tuple[int, int], grid: Grid) -> list[Seat | None]:
    """Seat of each place for frames of (rows, columns); None where pixels do not lie on the grid's voxels."""
    to_grid = np.linalg.inv(grid.affine)
    return [_seat(place, shape, to_grid) for place in places]


def _seat(place: Place, shape: tuple[int, int], to_grid: np.ndarray) -> Seat | None:
    steps = to_grid[:3, :3] @ np.column_stack([place.row_step, place.column_step])
    start = to_grid[:3, :3] @ place.position + to_grid[:3, 3]
    if not np.abs(start).max() < 1 << 40 or not np.abs(steps).max() < 1 << 20:
        return None
    whole = np.rint(steps).astype(np.int64)
    first = np.rint(start).astype(np.int64)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) * (np.array(shape) - 1)
    astray = (start - first)[:, None] + (steps - whole) @ corners.T
    if np.abs(whole).sum(axis=0).tolist() != [1, 1] or np.abs(astray).max() > _OFF_GRID:
        return None
    row, column = (int(np.abs(whole[:, n]).argmax()) for n in (0, 1))
    if row == column:
        return None
    normal = 3 - row - column
    return Seat((normal, row, column), (int(whole[row, 0]), int(whole[column, 1])),
                (int(first[normal]), int(first[row]), int(first[column])))  # fmt: skip


def grid_of(places: Sequence[Place], shape: tuple[int, int], between: float) -> Grid:
    """The grid on which frames lie by themselves.

    Parameters
    ----------
    places
        Of all frames, in any order; frames may be missing.
    shape
        (rows, columns).
    between
        Distance of neighbours that the header tells, mm; the smallest distance found where it does not fit.

    Raises
    ------
    ObjectError
        Frames of several orientations or spacings, at uneven distances or beside each other, or too many voxels.
    """
    first = places[0]
    for place in places:
        if (np.abs(place.orientation - first.orientation).max() > _SAME_DIRECTION
                or np.abs(place.spacing - first.spacing).max() > _SAME_MM):  # fmt: skip
            msg = "the SEG's frames differ in orientation or spacing and make no grid; read it onto its source's"
            raise ObjectError(msg)
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    positions = np.array([place.position for place in places])
    along = np.sort(positions @ normal)
    aside = positions - first.position - ((positions - first.position) @ normal)[:, None] * normal
    step = _step(along[np.diff(along, prepend=along[0] - 1) > _SAME_MM], between)
    count = round(float(along[-1] - along[0]) / step) + 1
    if np.linalg.norm(aside, axis=1).max() > _OFF_GRID * first.spacing.min() or count * np.prod(shape) > _MOST_VOXELS:
        msg = f"the SEG's frames lie beside each other, or fill {count} slices; read it onto its source's grid"
        raise ObjectError(msg)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = normal * step, first.row_step, first.column_step
    affine[:3, 3] = positions[(positions @ normal).argmin()]
    return Grid((count, *shape), affine)


def _step(along: np.ndarray, between: float) -> float:
    gaps = np.diff(along)
    for step in (between, float(gaps.min(initial=np.inf))):
        if 0 < step < np.inf and (np.abs(gaps / step - np.rint(gaps / step)) < _UNEVEN).all():
            return step
    if not len(gaps):
        return 1.0
    msg = "the SEG's frames lie at uneven distances and make no grid; read it onto its source's"
    raise ObjectError(msg)
