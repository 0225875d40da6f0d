"""From a path to voxels: swept discs, swept balls and polygons, in millimetres on any grid.

A voxel belongs to a brush's path when its centre is within the radius of it, measured in the patient (so an oblique or
anisotropic grid needs no case of its own), or when it holds one of the path's points: the finest brush marks what is
under the pointer. A polygon holds the voxels whose centre is inside (even-odd).
"""

from typing import NamedTuple

import numpy as np

from ailab_kernel.volumes.geometry import Grid

_AXES = (0, 1, 2)
# A centre exactly on the edge is inside, whatever the last bit of the sum says.
_EDGE_MM2 = 1e-9


class Region(NamedTuple):
    """Voxels of a box: the box as slices, and which of it, bool of the box's shape."""

    box: tuple[slice, slice, slice]
    where: np.ndarray


def swept(points: np.ndarray, radius_mm: float, grid: Grid, *, axis: int = -1, index: int = 0) -> Region:
    """Return the voxels under a brush that goes along a path.

    Parameters
    ----------
    points
        (n, 3) (slice, row, column) with fractions; one point is a dab.
    radius_mm
        Of the disc in the slice, or of the ball.
    grid
        The volume's.
    axis, index
        The slice that the disc stays in; axis -1 is a ball.
    """
    free = [one for one in _AXES if one != axis]
    path = points.astype(np.float64)[:, free]
    along = grid.affine[:3, :3][:, free]
    metric = along.T @ along
    shape = np.array(grid.shape)[free]
    # How far the disc reaches along each index: the ellipse's half widths.
    reach = radius_mm * np.sqrt(np.diag(np.linalg.inv(metric)))
    low, high = _clipped(path.min(axis=0) - reach, path.max(axis=0) + reach, shape)
    where = np.zeros(high - low, bool)
    for begin, end in zip(path[:-1] if len(path) > 1 else path, path[1:] if len(path) > 1 else path, strict=True):
        first, last = _clipped(np.minimum(begin, end) - reach, np.maximum(begin, end) + reach, shape)
        if (last > first).all():
            part = tuple(slice(*span) for span in zip(first - low, last - low, strict=True))
            where[part] |= _capsule(first, last, ends=(begin, end), metric=metric, radius_mm=radius_mm)
    held = np.floor(path + 0.5).astype(np.int64)
    held = held[((held >= 0) & (held < shape)).all(axis=1)] - low
    where[tuple(held.T)] = True
    return _placed(where, low, axis=axis, index=index)


def inside(points: np.ndarray, grid: Grid, *, axis: int, index: int) -> Region:
    """Return the voxels of a slice whose centre is inside a closed polygon, (n, 3) as in `swept`; even-odd."""
    free = [one for one in _AXES if one != axis]
    path = points.astype(np.float64)[:, free]
    low, high = _clipped(path.min(axis=0), path.max(axis=0), np.array(grid.shape)[free])
    rows, columns = (np.arange(first, last, dtype=np.float64) for first, last in zip(low, high, strict=True))
    where = np.zeros((len(rows), len(columns)), bool)
    for (row, column), (row2, column2) in zip(path, np.roll(path, -1, axis=0), strict=True):
        crossed = np.flatnonzero((row > rows) != (row2 > rows))
        if len(crossed):
            at = column + (rows[crossed] - row) * (column2 - column) / (row2 - row)
            where[crossed] ^= columns < at[:, None]
    return _placed(where, low, axis=axis, index=index)


def _capsule(
    first: np.ndarray, last: np.ndarray, *, ends: tuple[np.ndarray, np.ndarray], metric: np.ndarray, radius_mm: float
) -> np.ndarray:
    """Which centres of a box lie within the radius of a straight line between two points."""
    begin, direction = ends[0], ends[1] - ends[0]
    axes = np.meshgrid(*(np.arange(*span) for span in zip(first, last, strict=True)), indexing="ij", sparse=True)
    away = [one - start for one, start in zip(axes, begin, strict=True)]
    length = float(direction @ metric @ direction)
    if length > 0:
        steep = metric @ direction / length
        share = np.clip(sum(one * part for one, part in zip(away, steep, strict=True)), 0.0, 1.0)
        away = [one - share * part for one, part in zip(away, direction, strict=True)]
    size = range(len(away))
    distance = sum(metric[one, two] * away[one] * away[two] for one in size for two in size)
    return np.asarray(distance <= radius_mm**2 + _EDGE_MM2)


def _clipped(low: np.ndarray, high: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and behind the last index of every voxel that a span of indices touches, inside the shape."""
    first = np.clip(np.floor(low + 0.5).astype(np.int64), 0, shape)
    return first, np.maximum(np.clip(np.ceil(high + 0.5).astype(np.int64), 0, shape), first)


def _placed(where: np.ndarray, low: np.ndarray, *, axis: int, index: int) -> Region:
    spans = [slice(int(start), int(start) + size) for start, size in zip(low, where.shape, strict=True)]
    if axis >= 0:
        spans.insert(axis, slice(index, index + 1))
        where = np.expand_dims(where, axis)
    return Region((spans[0], spans[1], spans[2]), where)
