"""Planes of objects that hold many: enhanced multi-frame images (PS3.3 C.7.6.16) and Siemens mosaics."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from pydicom import Dataset

from ailab_kernel.ground.errors import VolumeError

from .instance import DatasetFields, Fields, Instance
from .plane import Plane, place

# Attribute of a classic image: the functional group (PS3.3 C.7.6.16.2) and attribute that hold it in an enhanced one.
_GROUPS = {
    "ImagePositionPatient": (("PlanePositionSequence", "ImagePositionPatient"),),
    "ImageOrientationPatient": (("PlaneOrientationSequence", "ImageOrientationPatient"),),
    "PixelSpacing": (("PixelMeasuresSequence", "PixelSpacing"),),
    "SliceThickness": (("PixelMeasuresSequence", "SliceThickness"),),
    "SpacingBetweenSlices": (("PixelMeasuresSequence", "SpacingBetweenSlices"),),
    "RescaleSlope": (("PixelValueTransformationSequence", "RescaleSlope"),),
    "RescaleIntercept": (("PixelValueTransformationSequence", "RescaleIntercept"),),
    "ImageType": (("MRImageFrameTypeSequence", "FrameType"), ("CTImageFrameTypeSequence", "FrameType"),
                  ("PETFrameTypeSequence", "FrameType")),
    "EchoTime": (("MREchoSequence", "EffectiveEchoTime"),),
    "InversionTime": (("MRModifierSequence", "InversionTimes"),),
    "DiffusionBValue": (("MRDiffusionSequence", "DiffusionBValue"),),
    "TemporalPositionIdentifier": (("FrameContentSequence", "TemporalPositionIndex"),),
    "TriggerTime": (("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),),
    "AcquisitionNumber": (("FrameContentSequence", "FrameAcquisitionNumber"),),
    "AcquisitionTime": (("FrameContentSequence", "FrameReferenceDateTime"),),
}  # fmt: skip
_CSA = 0x00291010
_COUNT = 0x0019100A
_MOST_TILES = 4096


@dataclass(frozen=True)
class FrameFields:
    """Attributes of one frame: its own functional groups, the shared ones, then the object's."""

    ds: Dataset
    frame: int

    @cached_property
    def _groups(self) -> tuple[Dataset, ...]:
        own = self.ds.get("PerFrameFunctionalGroupsSequence") or ()
        shared = self.ds.get("SharedFunctionalGroupsSequence") or ()
        return (*((own[self.frame],) if self.frame < len(own) else ()), *shared[:1])

    def _of(self, keyword: str) -> Fields:
        for sequence, attribute in _GROUPS.get(keyword, ()):
            for group in self._groups:
                found = group.get(sequence)
                if found and found[0].get(attribute) not in (None, ""):
                    return _Renamed(found[0], attribute)
        return DatasetFields(self.ds)

    def text(self, keyword: str) -> str:
        """Value as text, see `Fields`."""
        return str(self.frame + 1) if keyword == "InstanceNumber" else self._of(keyword).text(keyword)

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Values as numbers, see `Fields`."""
        return (self.frame + 1.0,) if keyword == "InstanceNumber" else self._of(keyword).numbers(keyword)


@dataclass(frozen=True)
class _Renamed:
    """One attribute under any name."""

    ds: Dataset
    attribute: str

    def text(self, keyword: str) -> str:
        """Value as text, see `Fields`."""
        return DatasetFields(self.ds).text(self.attribute) if keyword else ""

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Values as numbers, see `Fields`."""
        return DatasetFields(self.ds).numbers(self.attribute) if keyword else ()


def planes_of(instance: Instance) -> list[Plane]:
    """Return the planes of an object.

    Raises
    ------
    VolumeError
        It has no place, or is in color.
    """
    if int(instance.number("SamplesPerPixel", 1)) != 1:
        msg = "an instance is in color; a volume has one value a voxel, choose the original series"
        raise VolumeError(msg)
    if "MOSAIC" in instance.text("ImageType").split("\\"):
        return list(_tiles(instance))
    count = int(instance.number("NumberOfFrames", 1))
    if count > 1 or instance.fields.text("SOPClassUID") in _ENHANCED:
        return list(_frames(instance, count))
    return [place(instance, instance.fields, partial(instance.read, 0))]


_ENHANCED = frozenset({
    "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2", "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.4.4", "1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.128.1",
})  # fmt: skip


def _frames(instance: Instance, count: int) -> Iterator[Plane]:
    """Planes of a multi-frame object, each with its functional groups."""
    ds = instance.header()
    if len(ds.get("PerFrameFunctionalGroupsSequence") or ()) != count:
        msg = (f"an instance is multi-frame ({count} frames) without functional groups for each: its frames have no "
               "place; ask for single-frame or enhanced images")  # fmt: skip
        raise VolumeError(msg)
    for frame in range(count):
        yield place(instance, FrameFields(ds, frame), partial(instance.read, frame), frame=frame + 1)


def _tiles(instance: Instance) -> Iterator[Plane]:
    """Planes of a Siemens mosaic: its slices lie row by row in one square picture.

    ImagePositionPatient is that of a slice as large as the picture; the first slice's own corner lies half the
    difference further in. The side to which the slices follow each other is in the CSA header.
    """
    ds = instance.header()
    csa = _csa(ds)
    count = int(csa.get("NumberOfImagesInMosaic", [str(ds[_COUNT].value) if _COUNT in ds else "0"])[0])
    side = int(np.ceil(np.sqrt(count))) if 0 < count <= _MOST_TILES else 0
    whole = place(instance, instance.fields, partial(instance.read, 0))
    if not side or whole.shape[0] % side or whole.shape[1] % side:
        msg = f"an instance is a mosaic of {count} slices, which its size {whole.shape} does not fit; export its slices"
        raise VolumeError(msg)
    rows, columns = whole.shape[0] // side, whole.shape[1] // side
    inwards = (whole.across * whole.spacing_mm[1] * (whole.shape[1] - columns) / 2
               + whole.down * whole.spacing_mm[0] * (whole.shape[0] - rows) / 2)  # fmt: skip
    normal = np.array([float(v) for v in csa.get("SliceNormalVector", whole.normal)])
    step = (whole.normal if normal @ whole.normal >= 0 else -whole.normal) * whole.spacing_between()
    picture = _Picture(whole)
    for number in range(count):
        corner = (number // side * rows, number % side * columns)
        yield replace(whole, position=whole.position + inwards + step * number, shape=(rows, columns),
                      into=partial(picture.cut, corner))  # fmt: skip


class _Picture:
    """A mosaic, decoded once."""

    def __init__(self, whole: Plane) -> None:
        self._whole = whole

    @cached_property
    def values(self) -> np.ndarray:
        """Shape (rows, columns) of the whole picture."""
        out = np.empty(self._whole.shape, self._whole.dtype)
        self._whole.read(out)
        return out

    def cut(self, corner: tuple[int, int], out: np.ndarray) -> None:
        """Copy one tile."""
        (row, column), (rows, columns) = corner, out.shape
        out[:] = self.values[row : row + rows, column : column + columns]


def _csa(ds: Dataset) -> dict[str, list[str]]:
    """Siemens' CSA image header (0029,1010), form SV10: values by name; empty when it is not there."""
    data = bytes(ds[_CSA].value) if _CSA in ds and isinstance(ds[_CSA].value, bytes) else b""
    if data[:4] != b"SV10":
        return {}
    found: dict[str, list[str]] = {}
    (tags,), at = struct.unpack_from("<I", data, 8), 16
    for _ in range(min(tags, 1024)):
        name = data[at : at + 64].split(b"\0")[0].decode("latin1")
        (items,) = struct.unpack_from("<I", data, at + 76)
        at, values = at + 84, []
        for _ in range(min(items, 1024)):
            (length,) = struct.unpack_from("<I", data, at + 4)
            value = data[at + 16 : at + 16 + length].split(b"\0")[0].decode("latin1").strip()
            values += [value] if value else []
            at += 16 + (length + 3) // 4 * 4
        found[name] = values
    return found
