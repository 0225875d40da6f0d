"""Uneven stacks made even, tilted ones upright: only when it was asked for, and said in the volume's facts."""

import numpy as np

from ailab_kernel.volumes.geometry import Grid

from .stack import Stack


def evened(array: np.ndarray, stack: Stack) -> tuple[np.ndarray, Grid]:
    """Interpolate planes at uneven depths linearly onto an even grid with the usual spacing.

    Parameters
    ----------
    array
        Stored values, shape (slices, rows, columns).
    stack
        With ``depths``.

    Returns
    -------
    array, grid
        The same dtype, from the first plane to the last place that is not beyond the last plane.
    """
    depths = np.asarray(stack.depths)
    wanted = np.arange(int(np.floor(depths[-1] + 1e-6)) + 1)
    below = np.clip(np.searchsorted(depths, wanted, side="right") - 1, 0, len(depths) - 2)
    share = np.clip((wanted - depths[below]) / (depths[below + 1] - depths[below]), 0, 1)
    out = np.empty((len(wanted), *array.shape[1:]), array.dtype)
    for plane, low, part in zip(out, below, share, strict=True):
        plane[:] = _rounded(_between(array[low], array[low + 1], part), array.dtype)
    return out, Grid(out.shape, stack.grid.affine.copy())


def upright(array: np.ndarray, stack: Stack) -> tuple[np.ndarray, Grid]:
    """Undo a tilted gantry's shear: each plane is moved within itself, so that the stack's axis is its normal.

    The grid grows by what the planes are moved; what no plane covers has the smallest stored value.
    """
    first = stack.planes[0]
    along = float(stack.step @ first.normal)
    aside = stack.step - along * first.normal
    per_slice = np.array([aside @ first.down / first.spacing_mm[0], aside @ first.across / first.spacing_mm[1]])
    moves = np.arange(len(array))[:, None] * per_slice
    low = np.floor(moves.min(0) + 1e-9).astype(int)
    grown = np.ceil(moves.max(0) - 1e-9).astype(int) - low
    out = np.full((len(array), array.shape[1] + grown[0], array.shape[2] + grown[1]), array.min(), array.dtype)
    for target, plane, move in zip(out, array, moves - low, strict=True):
        _moved(target, plane, move)
    affine = stack.grid.affine.copy()
    affine[:3, 0] = first.normal * along
    affine[:3, 3] += affine[:3, 1] * low[0] + affine[:3, 2] * low[1]
    return out, Grid(out.shape, affine)


def _moved(target: np.ndarray, plane: np.ndarray, move: np.ndarray) -> None:
    """Copy a plane into a larger one, moved by (rows, columns) that need not be whole."""
    values = plane
    whole = np.floor(move + 1e-9).astype(int)
    for axis, part in enumerate(move - whole):
        if part > 1e-9:
            before = np.concatenate([np.take(values, [0], axis), values], axis)
            after = np.concatenate([values, np.take(values, [-1], axis)], axis)
            values = _between(after, before, part)
    row, column = whole
    inside = values[: target.shape[0] - row, : target.shape[1] - column]
    target[row : row + inside.shape[0], column : column + inside.shape[1]] = _rounded(inside, target.dtype)


def _between(low: np.ndarray, high: np.ndarray, share: float) -> np.ndarray:
    """Linear interpolation."""
    return low.astype(np.float64) * (1 - share) + high.astype(np.float64) * share


def _rounded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.asarray(values if dtype.kind == "f" else np.rint(values), dtype)
