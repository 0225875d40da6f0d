"""The volume in small, for the view in 3-D: the largest value of each block, so that no bright voxel is lost.

Blocks have about the same length in every direction; thick slices are repeated instead. Cell ``n`` of a direction with
``count`` cells for ``size`` voxels lies at voxel ``(n + 0.5) * size / count - 0.5``.
"""

from collections.abc import Sequence

import numpy as np

_MOST_CELLS = 1_000_000


class Solid:
    """One volume in small, with the labels on it.

    Attributes
    ----------
    counts
        Cells along each array axis.
    """

    def __init__(self, shape: Sequence[int], spacing_mm: Sequence[float]) -> None:
        """Choose cells for a volume of a shape (slices, rows, columns) and its spacing, mm."""
        lengths = np.array(shape) * np.array(spacing_mm)
        cell = max(float(min(spacing_mm)), float(np.prod(lengths) / _MOST_CELLS) ** (1 / 3))
        self.counts = [max(1, round(length / cell)) for length in lengths]
        self._starts = [np.arange(count) * size // count for count, size in zip(self.counts, shape, strict=True)]
        self._labels: np.ndarray | None = None
        self._stale: tuple[int, int] | None = None

    def small(self, array: np.ndarray) -> np.ndarray:
        """Return an array of the volume's shape in small."""
        for axis in range(3):
            array = _largest(array, self._starts[axis], axis)
        return np.ascontiguousarray(array)

    def changed(self, span: Sequence[Sequence[int]]) -> None:
        """Labels changed between these slices: `Session.do` says it."""
        if span:
            first, last = self._stale or span[0]
            self._stale = min(first, span[0][0]), max(last, span[0][1])

    def labels(self, array: np.ndarray) -> np.ndarray:
        """Return the labels in small, uint8; only where they changed they are looked at again."""
        if self._labels is None:
            self._labels = self.small(array)
        elif self._stale:
            starts = self._starts[0]
            first, last = (int(np.searchsorted(starts, one, side="right")) - 1 for one in self._stale)
            # Thick slices are repeated: every cell that begins with the first changed one.
            first = int(np.searchsorted(starts, starts[first]))
            stop = int(starts[last + 1]) if last + 1 < len(starts) else len(array)
            begin = int(starts[first])
            part = _largest(array[begin:stop], starts[first : last + 1] - begin, 0)
            for axis in (1, 2):
                part = _largest(part, self._starts[axis], axis)
            self._labels[first : last + 1] = part
        self._stale = None
        return self._labels


def _largest(array: np.ndarray, starts: np.ndarray, axis: int) -> np.ndarray:
    """Return the largest value of each block along an axis; much quicker than ``np.maximum.reduceat``."""
    stops = np.maximum(np.append(starts[1:], array.shape[axis]), starts + 1)
    found = array.take(starts, axis=axis)
    for step in range(1, int((stops - starts).max())):
        np.maximum(found, array.take(np.minimum(starts + step, stops - 1), axis=axis), out=found)
    return found
