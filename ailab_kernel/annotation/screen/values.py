"""Voxels as the page gets them, and how many each label holds."""

import numpy as np

from ailab_kernel.volumes.volume import Volume

WHOLE = 65535


def slice_counts(array: np.ndarray, values: list[int]) -> np.ndarray:
    """Return the voxels of each label in each slice, int64, shape (slices, labels)."""
    found = [[np.count_nonzero(plane == value) for value in values] for plane in array]
    return np.array(found, np.int64).reshape(len(array), len(values))


def screen_values(vol: Volume) -> tuple[np.ndarray, dict[str, float]]:
    """Return what the page gets, with its slope and intercept.

    The stored values where they are 16 bits of one scale, else rescaled ones as finely as 16 bits allow; shape
    (slices, rows, columns).
    """
    stored = vol.array.dtype
    if stored.kind in "iu" and stored.itemsize <= 2 and not (np.ndim(vol.slope) or np.ndim(vol.intercept)):
        scale = {"slope": float(vol.slope), "intercept": float(vol.intercept)}
        return vol.array.astype(stored.newbyteorder("="), copy=False), scale
    values = np.nan_to_num(vol.values)
    low, high = float(values.min()), float(values.max())
    slope = (high - low) / WHOLE or 1.0
    return np.rint((values - low) / slope).astype(np.uint16), {"slope": slope, "intercept": low}
