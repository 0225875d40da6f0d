"""Labels drawn on a volume: what each value means, and pure operations on them."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ailab_kernel.dicom.codes import ANATOMICAL_STRUCTURE, Code

from .geometry import Grid


@dataclass(frozen=True)
class Label:
    """One value of a label map and what it means.

    Attributes
    ----------
    index
        Value in the label map, 1 to 255.
    name
        Kebab-case name for people, e.g. ``heart-wall``.
    code, category
        Segmented Property Type and Category (PS3.3 C.8.20.4).
    color
        Recommended display colour, sRGB 0 to 255.
    """

    index: int
    name: str
    code: Code
    category: Code = ANATOMICAL_STRUCTURE
    color: tuple[int, int, int] = (220, 60, 60)


@dataclass(frozen=True, eq=False)
class Mask:
    """A label map on a grid.

    Attributes
    ----------
    array
        uint8, shape (slices, rows, columns), 0 is background; read-only.
    grid
        Shape and LPS affine, the source volume's own.
    labels
        The meaning of each value that may occur.
    """

    array: np.ndarray
    grid: Grid
    labels: tuple[Label, ...] = field(default=())

    def __post_init__(self) -> None:
        self.array.setflags(write=False)

    def where(self, label: Label) -> np.ndarray:
        """Boolean array, shape (slices, rows, columns), true where ``label`` is."""
        return self.array == label.index

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of voxels of each value, shape (256,)."""
        # Slice by slice: bincount widens what it counts to eight bytes, which then stays in the processor's cache.
        return sum((np.bincount(plane.ravel(), minlength=256) for plane in self.array), np.zeros(256, np.int64))

    def volumes_ml(self) -> dict[str, float]:
        """Volume of each label, ml, by label name."""
        return {label.name: float(self.counts[label.index]) * self.grid.voxel_ml for label in self.labels}
