"""What is to be written, seen frame by frame: a label map, segments that may overlap, or a map of all segments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask

ByLabel = Mapping[Label, np.ndarray]
MOST_SEGMENTS = 65535
_LARGEST_BYTE = 255


@dataclass(frozen=True)
class Drawn:
    """Frames that can be written.

    Attributes
    ----------
    labels
        The segments, in the order of their numbers 1, 2, ...
    first
        Number of the first row of ``filled``: 1, or 0 for a label map, whose frames show all segments.
    filled
        Where a frame holds something, shape (segments or 1, slices).
    plane
        What the frame of a segment number and a slice shows, shape (rows, columns).
    overlap
        Segments Overlap (0062,0013).
    """

    labels: tuple[Label, ...]
    first: int
    filled: np.ndarray
    plane: Callable[[int, int], np.ndarray]
    overlap: str

    @cached_property
    def frames(self) -> list[tuple[int, int]]:
        """Segment number and slice of each frame, by segment; all of them where nothing was found."""
        some = self.filled if self.filled.any() else np.ones_like(self.filled)
        return [(int(n) + self.first, int(k)) for n, k in np.argwhere(some)]


def drawn(mask: Mask | ByLabel, grid: Grid, *, fractional: bool = False) -> Drawn:
    """Each segment in frames of its own.

    Parameters
    ----------
    mask
        A label map, or arrays of the shape of ``grid``: boolean, or whole numbers of which 0 is outside.
    grid
        Where it must lie.
    fractional
        Arrays may be from 0 to 1.

    Raises
    ------
    ObjectError
        Another grid, values without a label, no labels at all, or fractions where there are none.
    """
    if isinstance(mask, Mask):
        _check(mask.labels, mask.grid.matches(grid), mask.grid.shape, grid)
        _check_values(mask)
        indices = [label.index for label in mask.labels]
        return Drawn(mask.labels, 1, mask.slice_counts.T[indices] > 0,
                     lambda number, k: mask.array[k] == indices[number - 1], "NO")  # fmt: skip
    arrays = list(mask.values())
    other = next((array.shape for array in arrays if array.shape != grid.shape), grid.shape)
    _check(tuple(mask), other == grid.shape, other, grid)
    _check_levels(arrays, fractional)
    filled = np.stack([array.reshape(len(array), -1).any(axis=1) for array in arrays])
    return Drawn(tuple(mask), 1, filled, lambda number, k: arrays[number - 1][k], "YES" if _overlap(arrays) else "NO")


def drawn_map(mask: Mask | ByLabel, grid: Grid) -> Drawn:
    """All segments in one label map, whose values are the segment numbers: uint8, or uint16 beyond 255 segments.

    Raises
    ------
    ObjectError
        As `drawn`, or segments that overlap.
    """
    parts = drawn(mask, grid)
    if parts.overlap != "NO":
        msg = "segments overlap, which a label map cannot hold; write kind='BINARY'"
        raise ObjectError(msg)
    array = _numbered(mask, parts.labels, grid)
    return replace(parts, first=0, filled=np.any(parts.filled, axis=0, keepdims=True), plane=lambda _, k: array[k])


def _numbered(mask: Mask | ByLabel, labels: Sequence[Label], grid: Grid) -> np.ndarray:
    dtype = np.uint8 if len(labels) <= _LARGEST_BYTE else np.uint16
    if isinstance(mask, Mask):
        numbers = np.zeros(len(mask.counts), dtype)
        numbers[[label.index for label in labels]] = np.arange(1, len(labels) + 1)
        as_it_is = np.array_equal(np.flatnonzero(numbers), numbers[numbers != 0]) and mask.array.dtype == dtype
        return mask.array if as_it_is else numbers[mask.array]
    array = np.zeros(grid.shape, dtype)
    for number, segment in enumerate(mask.values(), 1):
        array[segment > 0] = number
    return array


def _overlap(arrays: Sequence[np.ndarray]) -> bool:
    taken = np.zeros(arrays[0].shape, bool)
    for array in arrays:
        where = array > 0
        if (taken & where).any():
            return True
        taken |= where
    return False


def _check(labels: Sequence[Label], matches: bool, shape: Sequence[int], grid: Grid) -> None:
    if not 1 <= len(labels) <= MOST_SEGMENTS:
        msg = (f"a SEG has 1 to {MOST_SEGMENTS} segments, and the mask has {len(labels) or 'no'} labels; "
               "give it those that were looked for")  # fmt: skip
        raise ObjectError(msg)
    if not matches:
        msg = f"the mask's grid {tuple(shape)} is not its volume's {grid.shape}; resample it first"
        raise ObjectError(msg)


def _check_levels(arrays: Sequence[np.ndarray], fractional: bool) -> None:
    for array in arrays:
        if array.dtype.kind == "f" and not (fractional and array.min() >= 0 and array.max() <= 1):
            msg = (f"a segment holds fractions from {array.min():g} to {array.max():g}; write those from 0 to 1 with "
                   "kind='FRACTIONAL', or choose a threshold")  # fmt: skip
            raise ObjectError(msg)


def _check_values(mask: Mask) -> None:
    indices = [label.index for label in mask.labels]
    if len(set(indices)) < len(indices) or min(indices) < 1:
        msg = f"the labels have the values {sorted(indices)[:9]}; give each one a value of its own from 1 on"
        raise ObjectError(msg)
    if unnamed := set(np.flatnonzero(mask.counts)) - {0, *indices}:
        msg = f"the mask holds the values {sorted(map(int, unnamed))} without a label; give each value its label"
        raise ObjectError(msg)
