"""What a click is, and what turns clicks into a better mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.volume import Volume


@dataclass(frozen=True)
class Hint:
    """One click of a reader: this place belongs to that label.

    Attributes
    ----------
    place
        Voxel (slice, row, column) of the volume.
    label
        Value in the label map; 0 is background.
    """

    place: tuple[float, float, float]
    label: int


class Refiner(Protocol):
    """Makes a mask agree with a reader's clicks."""

    @property
    def name(self) -> str:
        """What it is called in records: a model's reference, or the method."""

    def refine(self, vol: Volume, array: np.ndarray, hints: Sequence[Hint], *, label: int) -> np.ndarray:
        """Return the mask after the clicks.

        Parameters
        ----------
        vol
            The image.
        array
            The mask as it stands, uint8, shape (slices, rows, columns) of ``vol``.
        hints
            Every click so far, oldest first; one of another label says that ``label`` is not there.
        label
            The label that is refined.

        Returns
        -------
        np.ndarray
            uint8, the same shape: voxels became ``label`` or stopped being it, no other label was touched.
        """


Box = tuple[slice, slice, slice]
_PIN_MM = 2.0  # a click holds at least so far, whatever a model says


def pin(array: np.ndarray, grid: Grid, hints: Sequence[Hint], *, label: int) -> np.ndarray:
    """Return the mask with every click held: around it lies ``label``, or ``label`` does not.

    Parameters
    ----------
    array
        Label values, shape (slices, rows, columns) of ``grid``.
    grid
        The volume's own.
    hints, label
        As `Refiner.refine` is given them.
    """
    held = array.copy()
    for hint in hints:
        box = ball_box(grid, hint.place, _PIN_MM)
        near = distance_mm(grid, hint.place, box) <= max(_PIN_MM, min(grid.spacing_mm) / 2)
        free = near & ((held[box] == label) | (held[box] == 0))
        held[box][free] = label if hint.label == label else 0
    return held


def ball_box(grid: Grid, place: Sequence[float], radius_mm: float) -> Box:
    """Return the index ranges of a grid that hold a ball around a voxel."""
    reach = [radius_mm / step + 0.5 for step in grid.spacing_mm]
    first, second, third = (slice(max(0, int(np.ceil(at - r))), max(0, min(n, int(at + r) + 1)))
                            for at, r, n in zip(place, reach, grid.shape, strict=True))  # fmt: skip
    return first, second, third


def distance_mm(grid: Grid, place: Sequence[float], box: Box | None = None) -> np.ndarray:
    """Return how far the voxels of a grid, or of a box of it, lie from a voxel: float64 mm, in the box's shape."""
    spans = box or tuple(slice(0, n) for n in grid.shape)
    axes = np.ogrid[spans]
    return np.sqrt(sum(((axis - at) * step) ** 2 for axis, at, step in zip(axes, place, grid.spacing_mm, strict=True)))


def part_of(grid: Grid, box: Box) -> Grid:
    """Return the grid of a box of a grid."""
    shift = np.eye(4)
    shift[:3, 3] = [span.start for span in box]
    first, second, third = (span.stop - span.start for span in box)
    return Grid((first, second, third), grid.affine @ shift)
