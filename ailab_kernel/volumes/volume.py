"""A volume: voxels with a place in the body, immutable."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset

from .geometry import Grid

if TYPE_CHECKING:
    from .masks import Mask
    from .view import View


@dataclass(frozen=True, eq=False)
class Volume:
    """Image samples on a regular grid in patient space.

    Attributes
    ----------
    array
        Stored values, shape (slices, rows, columns), read-only, stored dtype (e.g. int16).
    grid
        Shape and LPS affine of ``array``.
    slope, intercept
        RescaleSlope (0028,1053) and RescaleIntercept (0028,1052): a scalar, or shape (slices, 1, 1).
    frame_numbers
        Of each slice in its multi-frame instance, from 1; empty for single-frame images.
    headers
        One header per slice, in slice order, without pixel data; empty for an image that did not come from DICOM.
        They may hold patient data: they stay in memory and are never printed or packed.
    facts
        Non-identifying attributes by DICOM keyword (Modality, Manufacturer, SoftwareVersions, ...).
    """

    array: np.ndarray
    grid: Grid
    slope: float | np.ndarray = 1.0
    intercept: float | np.ndarray = 0.0
    study_uid: str = ""
    series_uid: str = ""
    frame_of_reference_uid: str = ""
    instance_uids: tuple[str, ...] = ()
    frame_numbers: tuple[int, ...] = ()
    headers: Sequence[Dataset] = field(default=(), repr=False)
    facts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.array.setflags(write=False)

    @property
    def affine_lps(self) -> np.ndarray:
        """(4, 4) float64: array index (slice, row, column, 1) to LPS mm of the voxel centre."""
        return self.grid.affine

    @property
    def affine_ras(self) -> np.ndarray:
        """(4, 4) float64: array index (slice, row, column, 1) to RAS mm, NIfTI's world."""
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.grid.affine

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """(slice, row, column) distance between voxel centres, mm."""
        return self.grid.spacing_mm

    @cached_property
    def values(self) -> np.ndarray:
        """Rescaled values (Hounsfield units for CT), float32, shape (slices, rows, columns)."""
        return self.array.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)

    def view(self, mask: "Mask | None" = None, *, engine: str = "niivue") -> "View":
        """Open a viewer in the cell, with the labels of ``mask`` laid over the image; see `open_view`."""
        from .view import open_view  # when it is asked for: viewers know volumes

        return open_view(self, mask, engine=engine)

    def _repr_html_(self) -> str:
        from .view import as_html

        return as_html(self)

    def __repr__(self) -> str:
        spacing = " x ".join(f"{one:.4g}" for one in self.spacing_mm)
        return f"Volume({' x '.join(map(str, self.array.shape))}, {spacing} mm, {self.facts.get('Modality', '')})"

    def with_array(self, array: np.ndarray) -> "Volume":
        """The same place and origin with other stored values of the same shape."""
        return replace(self, array=array)
