"""What is done to a label as a whole: fill, grow, interpolate between slices, remove islands, smooth."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy import ndimage

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.volumes.geometry import Grid

from .raster import Region

_MARGIN_SIGMAS = 3.0
# Growing looks so many voxels around its point first.
_REACH = 32
# Halfway counts as outside, whatever the last bit of the sum says: a replay on another machine gives the same voxels.
_EDGE_MM = 1e-6


def filled(mask: np.ndarray, seed: np.ndarray, *, axis: int, index: int) -> Region:
    """Return the closed region of a slice around a point: all neighbours (4) of the same value.

    Raises
    ------
    WrongUse
        The point is outside, or the region is background that reaches the image's edge.
    """
    place = np.floor(seed.astype(np.float64) + 0.5).astype(np.int64)
    at = tuple(int(value) for one, value in enumerate(place) if one != axis)
    plane = np.take(mask, index, axis=axis)
    if not all(0 <= value < size for value, size in zip(at, plane.shape, strict=True)):
        msg = "the point lies outside of the image; click inside an outline"
        raise WrongUse(msg)
    parts, _ = ndimage.label(plane == plane[at])
    where = parts == parts[at]
    if not plane[at] and (where[0].any() or where[-1].any() or where[:, 0].any() or where[:, -1].any()):
        msg = "the region is open to the edge of the image; close its outline first"
        raise WrongUse(msg)
    box = [slice(0, size) for size in mask.shape]
    box[axis] = slice(index, index + 1)
    return Region((box[0], box[1], box[2]), np.expand_dims(where, axis))


def grown(
    fits: Callable[[tuple[slice, slice, slice]], np.ndarray], seed: np.ndarray, shape: tuple[int, ...], *,
    axis: int = -1, index: int = 0,
) -> Region:  # fmt: skip
    """Return the voxels that fit and are connected with a point (6 neighbours; in a slice 4).

    Parameters
    ----------
    fits
        Which voxels of a box may be taken, bool of its shape.
    seed
        (slice, row, column) with fractions.
    shape
        Of the volume.
    axis, index
        The slice that it stays in; axis -1: in 3-D.

    Raises
    ------
    WrongUse
        The point is outside of the image, or may not be taken itself.
    """
    place = np.floor(seed.astype(np.float64) + 0.5).astype(np.int64)
    if not all(0 <= one < size for one, size in zip(place, shape, strict=True)):
        msg = "the point lies outside of the image; click inside"
        raise WrongUse(msg)
    reach = _REACH
    while True:
        # Looked for in a box that is doubled until it holds the region: a vessel in a large volume is found at once.
        spans = [(max(int(one) - reach, 0), min(int(one) + reach + 1, size))
                 for one, size in zip(place, shape, strict=True)]  # fmt: skip
        if axis >= 0:
            spans[axis] = (index, index + 1)
        box = (slice(*spans[0]), slice(*spans[1]), slice(*spans[2]))
        parts, _ = ndimage.label(fits(box))
        part = parts[tuple(int(one) - begin for one, (begin, _) in zip(place, spans, strict=True))]
        if not part:
            msg = "the point's value is outside of the limits, or another label lies there; click elsewhere, or widen"
            raise WrongUse(msg)
        where = parts == part
        if not _leaves(where, spans, shape, axis=axis):
            return Region(box, where)
        reach *= 2


def _leaves(where: np.ndarray, spans: list[tuple[int, int]], shape: tuple[int, ...], *, axis: int) -> bool:
    """Whether a region touches a side of its box that is not the volume's own."""
    free = [one for one in range(3) if one != axis]
    return any((spans[one][0] > 0 and where.take(0, axis=one).any())
               or (spans[one][1] < shape[one] and where.take(-1, axis=one).any()) for one in free)  # fmt: skip


def interpolated(marked: np.ndarray, grid: Grid, *, axis: int) -> np.ndarray:
    """Return a label with its gaps along an axis filled, by shape: signed distances, mm, change evenly between slices.

    ``marked`` is bool, shape (slices, rows, columns); drawn slices stay as they are.
    """
    turned = np.moveaxis(marked, axis, 0)
    found = turned.copy()
    spacing = [mm for one, mm in enumerate(grid.spacing_mm) if one != axis]
    drawn = np.flatnonzero(turned.any(axis=(1, 2)))
    for first, last in pairwise(drawn.tolist()):
        if last - first > 1:
            begin, end = _signed(turned[first], spacing), _signed(turned[last], spacing)
            for number in range(first + 1, last):
                share = (number - first) / (last - first)
                found[number] = (1.0 - share) * begin + share * end > _EDGE_MM
    return np.moveaxis(found, 0, axis)


def largest_island(marked: np.ndarray) -> np.ndarray:
    """Return the largest connected piece (6 neighbours, in a slice 4); of equals the first."""
    parts, count = ndimage.label(marked)
    if count < 2:
        return marked
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == sizes.argmax()


def smoothed(marked: np.ndarray, sigma_mm: float, grid: Grid, *, axis: int = -1) -> np.ndarray:
    """Return a label with an even outline: more than half of its surroundings, weighted by distance, is the label.

    Parameters
    ----------
    marked
        bool, shape (slices, rows, columns).
    sigma_mm
        Standard deviation of the weights.
    grid
        Its spacing.
    axis
        Within the slices across this axis only; -1: in 3-D.
    """
    sigma = [0.0 if one == axis else sigma_mm / mm for one, mm in enumerate(grid.spacing_mm)]
    return ndimage.gaussian_filter(marked.astype(np.float32), sigma, truncate=_MARGIN_SIGMAS) > 0.5


def _signed(plane: np.ndarray, spacing: list[float]) -> np.ndarray:
    """Distance to the outline, mm, positive inside."""
    return ndimage.distance_transform_edt(plane, spacing) - ndimage.distance_transform_edt(~plane, spacing)
