"""One plane of voxels and its place: a single-frame image, one frame of an enhanced one, one tile of a mosaic.

Positions and orientations are those of PS3.3 C.7.6.2: ImagePositionPatient (0020,0032) is the centre of the first
pixel, ImageOrientationPatient (0020,0037) gives the direction in which the column index grows, then the row index.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite

import numpy as np

from ailab_kernel.dicom.codecs import keep_stored_bits, stored_dtype
from ailab_kernel.ground.errors import VolumeError

from .instance import Fields, Instance

_NEEDED = ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "BitsAllocated",
           "PixelRepresentation")  # fmt: skip
_ANGLE = 1e-3
_RESCALE_LIMIT = 1e9


@dataclass(frozen=True, eq=False, slots=True)
class Plane:
    """One plane.

    Attributes
    ----------
    instance
        The object that it is in.
    fields
        The plane's own attributes: the instance's, or a frame's functional groups.
    position
        Centre of the first pixel, LPS mm, shape (3,).
    across, down
        Unit vectors in which the column index and the row index grow, shape (3,).
    spacing_mm
        Between rows, between columns.
    shape
        (rows, columns).
    dtype
        Of the stored values.
    slope, intercept
        RescaleSlope (0028,1053), RescaleIntercept (0028,1052).
    frame
        Its number in a multi-frame instance, from 1; 0 in a single-frame one.
    into
        Writes the stored values into an array of that shape and dtype.
    """

    instance: Instance
    fields: Fields
    position: np.ndarray
    across: np.ndarray
    down: np.ndarray
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    dtype: np.dtype
    slope: float
    intercept: float
    frame: int
    into: Callable[[np.ndarray], None] = field(repr=False)

    @property
    def normal(self) -> np.ndarray:
        """Unit vector that completes across and down to a right-handed frame."""
        (a, b, c), (d, e, f) = self.across, self.down
        return np.array([b * f - c * e, c * d - a * f, a * e - b * d])

    @property
    def uid(self) -> str:
        """SOPInstanceUID (0008,0018)."""
        return self.instance.text("SOPInstanceUID")

    def read(self, out: np.ndarray) -> None:
        """Write the stored values into ``out``; bits above BitsStored are replaced by the sign."""
        self.into(out)
        keep_stored_bits(out, int(self.instance.number("BitsStored", out.dtype.itemsize * 8)))

    @property
    def told_mm(self) -> float:
        """Distance to the next plane as the header says it, mm; 0 where it does not."""
        told = (self.fields.numbers(keyword)[:1] for keyword in ("SpacingBetweenSlices", "SliceThickness"))
        return next((abs(found[0]) for found in told if found and found[0]), 0.0)

    def spacing_between(self) -> float:
        """Distance to the next plane as the header says it, mm: what is left when there is only one plane."""
        return self.told_mm or 1.0


def place(instance: Instance, fields: Fields, into: Callable[[np.ndarray], None], *, frame: int = 0) -> Plane:
    """Return the plane that ``fields`` place; ``frame`` is its number in a multi-frame instance.

    Raises
    ------
    VolumeError
        Attributes are missing, or are no place in a patient.
    """
    found = {keyword: fields.numbers(keyword) or instance.fields.numbers(keyword) for keyword in _NEEDED}
    if not all(found.values()):
        missing = ", ".join(keyword for keyword, values in found.items() if not values)
        msg = f"an instance lacks {missing}, without which it has no place"
        raise VolumeError(msg)
    position, spacing = found["ImagePositionPatient"], found["PixelSpacing"]
    placed = (*position, *spacing)
    if len(position) != 3 or len(spacing) != 2 or not all(map(isfinite, placed)) or min(spacing) <= 0:
        msg = "the spacing or position of an instance is no place in a patient; send it again"
        raise VolumeError(msg)
    across, down = _directions(found["ImageOrientationPatient"])
    slope, intercept = _rescale(fields)
    return Plane(
        instance, fields, np.array(position), across, down, (spacing[0], spacing[1]),
        (int(found["Rows"][0]), int(found["Columns"][0])),
        stored_dtype(int(found["BitsAllocated"][0]), signed=found["PixelRepresentation"][0] == 1),
        slope, intercept, frame, into,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _directions(orientation: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of ImageOrientationPatient; a series has one or few."""
    along = np.array(orientation)
    if along.shape != (6,) or not np.isfinite(along).all():
        msg = "ImageOrientationPatient is no orientation: six numbers are expected; send the instance again"
        raise VolumeError(msg)
    across, down = along.reshape(2, 3)
    lengths = np.linalg.norm(along.reshape(2, 3), axis=1)
    if np.abs(lengths - 1).max() > _ANGLE or abs(across @ down) > _ANGLE:
        msg = "ImageOrientationPatient is no pair of perpendicular unit vectors"
        raise VolumeError(msg)
    return across / lengths[0], down / lengths[1]


def _rescale(fields: Fields) -> tuple[float, float]:
    slope, intercept = ((fields.numbers(keyword) or (default,))[0]
                        for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)))  # fmt: skip
    for keyword, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        if not abs(value) < _RESCALE_LIMIT or (keyword == "RescaleSlope" and value == 0.0):
            msg = f"a {keyword} of {value:g} gives no usable values"
            raise VolumeError(msg)
    return slope, intercept
