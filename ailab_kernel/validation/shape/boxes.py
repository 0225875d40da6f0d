"""The part of an image that masks fill, and the steps from a voxel to those around it."""

from itertools import product

import numpy as np

Box = tuple[slice, ...]
Spacing = tuple[float, float, float]
# A distance that equals a limit but for rounding (3 × 0.8 against 2.4) lies within it.
SLACK = 1 + 1e-9


def bounding_box(mask: np.ndarray) -> Box | None:
    """Return the smallest box that holds a boolean array's true voxels, one slice an axis; None of an empty one."""
    box: Box = ()
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(filled):
            return None
        side = slice(int(filled[0]), int(filled[-1]) + 1)
        mask = mask[(slice(None),) * axis + (side,)]  # what is cut off is not looked through again
        box = (*box, side)
    return box


def common_box(*masks: np.ndarray) -> Box | None:
    """Return the smallest box that holds the true voxels of all arrays; None where all are empty."""
    found = [box for box in map(bounding_box, masks) if box]
    sides = zip(*found, strict=True)
    return tuple(slice(min(s.start for s in side), max(s.stop for s in side)) for side in sides) if found else None


def offsets_within(radius_mm: float, spacing_mm: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps from a voxel to all within a radius, itself first, and their lengths.

    Returns
    -------
    offsets
        int64, shape (n, 3), (slices, rows, columns), nearest first.
    lengths
        mm, shape (n,).
    """
    reach = [int(radius_mm * SLACK / mm) for mm in spacing_mm]
    offsets = np.array(list(product(*(range(-n, n + 1) for n in reach))), np.int64)
    lengths = np.sqrt(((offsets * np.asarray(spacing_mm)) ** 2).sum(axis=1))
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= radius_mm * SLACK]
    return offsets[order], lengths[order]


def flat_steps(offsets: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return what each offset adds to the flat index of a voxel in an array of ``shape``, shape (n,)."""
    return offsets @ np.array([shape[1] * shape[2], shape[2], 1], np.int64)
