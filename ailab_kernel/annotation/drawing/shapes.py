"""What is done to a drawn label as a whole: fill, interpolate between slices, remove islands, smooth."""

from itertools import pairwise

import numpy as np
from scipy import ndimage

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.volumes.geometry import Grid

from .raster import Region

_MARGIN_SIGMAS = 3.0


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
                found[number] = (1.0 - share) * begin + share * end > 0
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
