"""Labels drawn on a volume: what each value means, and pure operations on them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ailab_kernel.dicom.codes import ANATOMICAL_STRUCTURE, Code

from .geometry import Grid

if TYPE_CHECKING:
    from .view import View
    from .volume import Volume


@dataclass(frozen=True)
class Label:
    """One value of a label map and what it means.

    Attributes
    ----------
    index
        Value in the label map, 1 to 255, or to 65535 where there are more labels.
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
        uint8, or uint16 where a label's value needs it, shape (slices, rows, columns), 0 is background; read-only.
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
        """Number of voxels of each value, int64, shape (256,), or (largest value or label + 1,) where that is more."""
        return self.slice_counts.sum(axis=0)

    @cached_property
    def slice_counts(self) -> np.ndarray:
        """Number of voxels of each value in each slice, int64, shape (slices, 256 or more) as in `counts`."""
        largest = 255 if self.array.dtype == np.uint8 else int(self.array.max(initial=255))
        size = 1 + max(largest, *(label.index for label in self.labels), 255)
        return np.stack([_histogram(plane, size) for plane in self.array])

    def volumes_ml(self) -> dict[str, float]:
        """Volume of each label, ml, by label name."""
        return {label.name: float(self.counts[label.index]) * self.grid.voxel_ml for label in self.labels}

    def view(self, volume: "Volume | None" = None, *, engine: str = "niivue") -> "View":
        """Open a viewer in the cell, the labels laid over ``volume`` where it is given; see `open_view`."""
        from .view import open_view  # when it is asked for: viewers know masks

        return open_view(volume, self, engine=engine)

    def _repr_html_(self) -> str:
        from .view import as_html

        return as_html(None, self)

    def __repr__(self) -> str:
        names = ", ".join(label.name for label in self.labels)
        return f"Mask({' x '.join(map(str, self.array.shape))}; {names})"


def _histogram(plane: np.ndarray, size: int) -> np.ndarray:
    """Voxels of each value; words of eight bytes that are all background, most of them, are only counted."""
    flat = plane.reshape(-1)
    if flat.nbytes % 8 == 0:
        words = flat.view(np.uint64)
        flat = words[words != 0].view(flat.dtype)
    counts = np.bincount(flat, minlength=size)
    counts[0] += plane.size - flat.size
    return counts
