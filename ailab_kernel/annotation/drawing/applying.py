"""An operation meets a mask: which voxels change, so that it can be taken back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.volumes.volume import Volume

from .operation import Operation
from .raster import Region, inside, swept
from .shapes import filled, grown, interpolated, largest_island, smoothed

_MARGIN = 4


@dataclass(frozen=True, eq=False)
class Change:
    """What an operation changed.

    Attributes
    ----------
    at
        int64, flat indices of the changed voxels.
    before, after
        uint8, their values.
    """

    at: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def span(self, shape: tuple[int, int, int]) -> list[list[int]]:
        """First and last slice, row and column that changed; empty when nothing did."""
        if not len(self.at):
            return []
        return [[int(one.min()), int(one.max())] for one in np.unravel_index(self.at, shape)]


def apply(operation: Operation, mask: np.ndarray, vol: Volume) -> Change:
    """Change a mask in place and return what changed.

    Parameters
    ----------
    operation
        Checked by `read_operation`.
    mask
        uint8, shape (slices, rows, columns), C order, writable.
    vol
        Its grid, and the values that ``within`` speaks of.

    Raises
    ------
    WrongUse
        The operation has no meaning here (an open outline to be filled).
    """
    region, value = _TOOLS[operation.tool](operation, mask, vol)
    old = mask[region.box]
    new = np.where(region.where, np.uint8(operation.label) if value is None else value, old)
    changed = (new != old) & ~np.isin(old, operation.locked) & ~np.isin(new, operation.locked)
    if operation.within:
        values = _values(vol, region.box)
        changed &= (values >= operation.within[0]) & (values <= operation.within[1])
    where = np.nonzero(changed)
    at = np.ravel_multi_index(
        [one + span.start for one, span in zip(where, region.box, strict=True)], mask.shape)  # fmt: skip
    change = Change(at, old[where].copy(), new[where])
    mask.reshape(-1)[change.at] = change.after
    return change


# A region, and what its voxels become; None: the label.
_Painted = tuple[Region, np.ndarray | None]


def _brush(operation: Operation, mask: np.ndarray, vol: Volume) -> _Painted:
    place = {"axis": operation.axis, "index": operation.index}
    return swept(operation.points, operation.radius_mm, vol.grid, **place), None


def _polygon(operation: Operation, mask: np.ndarray, vol: Volume) -> _Painted:
    return inside(operation.points, vol.grid, axis=operation.axis, index=operation.index), None


def _fill(operation: Operation, mask: np.ndarray, vol: Volume) -> _Painted:
    return filled(mask, operation.points[0], axis=operation.axis, index=operation.index), None


def _grow(operation: Operation, mask: np.ndarray, vol: Volume) -> _Painted:
    """What other labels hold is a wall: a line drawn with another label keeps it from flowing out."""
    low, high = operation.within or (-np.inf, np.inf)

    def _fits(box: tuple[slice, slice, slice]) -> np.ndarray:
        values = _values(vol, box)
        return np.asarray((values >= low) & (values <= high) & np.isin(mask[box], (0, operation.label)))

    return grown(_fits, operation.points[0], mask.shape, axis=operation.axis, index=operation.index), None


def _interpolate(operation: Operation, mask: np.ndarray, vol: Volume) -> _Painted:
    """Only background becomes the label: what else was drawn there stays."""
    box = _box(operation, mask, vol, whole=True)
    marked = mask[box] == operation.label
    grown = interpolated(marked, vol.grid, axis=max(operation.axis, 0))
    return Region(box, grown & (mask[box] == 0)), None


def _islands(operation: Operation, mask: np.ndarray, vol: Volume) -> _Painted:
    box = _box(operation, mask, vol)
    marked = mask[box] == operation.label
    return Region(box, marked & ~largest_island(marked)), np.zeros(marked.shape, np.uint8)


def _smooth(operation: Operation, mask: np.ndarray, vol: Volume) -> _Painted:
    box = _box(operation, mask, vol)
    marked = mask[box] == operation.label
    even = smoothed(marked, operation.radius_mm, vol.grid, axis=operation.axis)
    value = np.where(even, np.uint8(operation.label), np.uint8(0))
    return Region(box, (even & (mask[box] == 0)) | (marked & ~even)), value


def _patch(operation: Operation, mask: np.ndarray, vol: Volume) -> _Painted:
    """In the box the label is what the bits say; another label gives way unless it is locked."""
    if operation.patch is None:
        msg = "a patch without its bits; reload the page, and run the cell again"
        raise WrongUse(msg)
    bits, old = operation.patch.bits, mask[operation.patch.box]
    value = np.where(bits, np.uint8(operation.label), np.uint8(0))
    return Region(operation.patch.box, bits | (old == operation.label)), value


_TOOLS: dict[str, Callable[[Operation, np.ndarray, Volume], _Painted]] = {
    "brush": _brush, "polygon": _polygon, "fill": _fill, "grow": _grow,
    "interpolate": _interpolate, "islands": _islands, "smooth": _smooth, "patch": _patch,
}  # fmt: skip


def _box(
    operation: Operation, mask: np.ndarray, vol: Volume, *, whole: bool = False
) -> tuple[slice, slice, slice]:
    """Where the label is, with a margin; only in the operation's slice unless ``whole``."""
    flat = operation.axis if operation.axis >= 0 and not whole else -1
    found = [slice(0, size) for size in mask.shape]
    if flat >= 0:
        found[flat] = slice(operation.index, operation.index + 1)
    for axis in range(3):
        marked = mask[tuple(found)] == operation.label
        there = np.flatnonzero(marked.any(axis=tuple(one for one in range(3) if one != axis)))
        if not len(there):
            return slice(0, 0), slice(0, 0), slice(0, 0)
        begin = found[axis].start
        found[axis] = slice(begin + int(there[0]), begin + int(there[-1]) + 1)
    margin = [0 if axis == flat else _MARGIN + int(4 * operation.radius_mm / mm)
              for axis, mm in enumerate(vol.spacing_mm)]  # fmt: skip
    box = [slice(max(span.start - more, 0), min(span.stop + more, size))
           for span, more, size in zip(found, margin, mask.shape, strict=True)]  # fmt: skip
    return box[0], box[1], box[2]


def _values(vol: Volume, box: tuple[slice, slice, slice]) -> np.ndarray:
    """Rescaled values of a box, as `Volume.values` has them."""
    slope, intercept = (one[box[0]] if isinstance(one, np.ndarray) and one.ndim == 3 else one
                        for one in (vol.slope, vol.intercept))  # fmt: skip
    return vol.array[box].astype(np.float32) * np.float32(slope) + np.float32(intercept)
