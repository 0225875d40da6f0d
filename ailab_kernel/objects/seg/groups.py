"""Functional groups of frames (PS3.3 C.7.6.16): which segment a frame shows and where it lies."""

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.valuerep import format_number_as_ds

from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.volumes.geometry import Grid

from .elements import DelimitedError, Span, element, elements, head, item, items

PER_FRAME = 0x52009230
# What places a frame: macro and its attribute (PS3.3 C.7.6.16.2, C.8.20.3.1).
_MACROS = {
    "PlanePositionSequence": "ImagePositionPatient", "PlaneOrientationSequence": "ImageOrientationPatient",
    "PixelMeasuresSequence": "PixelSpacing", "SegmentIdentificationSequence": "ReferencedSegmentNumber",
}  # fmt: skip
# Numbers of values of the first three.
_COUNTS = (3, 6, 2)
# More than any stack of slices has.
_MOST_PLACES = 1 << 13
_HEADS = {head(macro): (n, head(keyword)) for n, (macro, keyword) in enumerate(_MACROS.items())}

Values = tuple[bytes | None, ...]


@dataclass(frozen=True)
class Place:
    """Where a frame lies: ImagePositionPatient, ImageOrientationPatient and PixelSpacing, mm."""

    position: np.ndarray
    orientation: np.ndarray
    spacing: np.ndarray

    @property
    def row_step(self) -> np.ndarray:
        """From one row to the next, LPS mm."""
        return self.orientation[3:] * self.spacing[0]

    @property
    def column_step(self) -> np.ndarray:
        """From one column to the next, LPS mm."""
        return self.orientation[:3] * self.spacing[1]


@dataclass(frozen=True)
class Frames:
    """Every frame's segment and place.

    Attributes
    ----------
    segments
        Referenced Segment Number (0062,000B) of each frame, 0 where there is none (a label map); shape (frames,).
    place
        Which of ``places`` each frame has, shape (frames,).
    places
        The different places.
    """

    segments: np.ndarray
    place: np.ndarray
    places: tuple[Place, ...]


def read_groups(ds: Dataset, count: int) -> Frames:
    """Read the functional groups of a segmentation of ``count`` frames.

    Groups that are still encoded are scanned; pydicom parses the others, and those that the scan does not follow.

    Raises
    ------
    ObjectError
        Another number of groups than of frames, frames without a place, or too many places to be slices.
    """
    shared = _of_item(ds.SharedFunctionalGroupsSequence[0]) if ds.get("SharedFunctionalGroupsSequence") else (None,) * 4
    raw = ds.get_item(PER_FRAME) if PER_FRAME in ds else None
    if isinstance(raw, RawDataElement) and raw.VR == "SQ" and raw.is_little_endian and not raw.is_implicit_VR:
        data = raw.value or b""
        try:
            return _gathered((_of_span(data, span) for span in items(data, (0, len(data)))), shared, count)
        except DelimitedError:
            pass  # pydicom follows them
    return _gathered(map(_of_item, ds.get("PerFrameFunctionalGroupsSequence") or ()), shared, count)


def _gathered(groups: Iterable[Values], shared: Values, count: int) -> Frames:
    """Every group's segment and place; nothing is kept that could be more than the groups themselves."""
    known: dict[Values, int] = {}
    places: list[Place] = []
    segments, place = array("q"), array("q")
    for group in groups:
        *where, segment = [own if own is not None else common for own, common in zip(group, shared, strict=True)]
        number = known.setdefault(tuple(where), len(known))
        if number == len(places):
            places.append(_place(tuple(where)))
        segments.append(_whole(segment))
        place.append(number)
        if len(place) > count or len(places) > _MOST_PLACES:
            break
    if len(place) != count or len(places) > _MOST_PLACES:
        many = "more" if len(place) >= count else len(place)
        msg = (
            f"the SEG says {count} frames and describes {many}, at {len(places)} places; send it again from its source"
        )
        raise ObjectError(msg)
    return Frames(np.array(segments), np.array(place), tuple(places))


def _of_span(data: bytes, span: Span) -> Values:
    found: list[bytes | None] = [None] * len(_MACROS)
    for start, inside in elements(data, span):
        if start in _HEADS:
            n, wanted = _HEADS[start]
            for content in islice(items(data, inside), 1):
                found[n] = next((data[a:b] for own, (a, b) in elements(data, content) if own == wanted), None)
    return tuple(found)


def _of_item(group: Dataset) -> Values:
    return tuple(_encoded(group[macro].value[0].get(keyword)) if group.get(macro) else None
                 for macro, keyword in _MACROS.items())  # fmt: skip


def _encoded(value: object) -> bytes | None:
    if value is None or isinstance(value, int):
        return None if value is None else struct.pack("<H", value)
    return "\\".join(map(str, value if isinstance(value, Iterable) else (value,))).encode()


def _whole(value: bytes | None) -> int:
    return struct.unpack("<H", value)[0] if value else 0


def _place(values: Values) -> Place:
    for macro, value in zip(_MACROS, values, strict=False):
        if not value:
            msg = f"the SEG has no {macro}: its frames have no place; export it again with functional groups"
            raise ObjectError(msg)
    numbers = [np.array([float(v) for v in (value or b"").split(b"\\")]) for value in values]
    if tuple(map(len, numbers)) != _COUNTS or not all(np.isfinite(n).all() for n in numbers) or min(numbers[2]) <= 0:
        msg = "the position, orientation or spacing of a frame is no place in a patient; send the SEG again"
        raise ObjectError(msg)
    return Place(*numbers)


def write_groups(
    numbers: Sequence[tuple[int, int]], grid: Grid, sources: Sequence[tuple[str, str]], *, frames: Sequence[int] = ()
) -> bytes:
    """Encode Per-frame Functional Groups Sequence (5200,9230).

    Parameters
    ----------
    numbers
        Segment number (0 for a label map, which has none) and slice of each frame.
    grid
        Where the slices lie.
    sources
        Referenced SOP Class UID and SOP Instance UID of each slice's image.
    frames
        Referenced Frame Number (0008,1160) of each slice, where the images are multi-frame.
    """
    slices = sorted({number for _, number in numbers})
    rank = {number: n for n, number in enumerate(slices, 1)}
    derived = {number: _derivation(*sources[number], frames[number] if frames else 0) for number in slices}
    placed = {number: _position(grid.affine[:3, 3] + number * grid.affine[:3, 0]) for number in slices}
    named = {segment: _identification(segment) for segment, _ in numbers}
    return b"".join(item(derived[number] + _content(segment, rank[number]) + placed[number] + named[segment])
                    for segment, number in numbers)  # fmt: skip


def _content(segment: int, rank: int) -> bytes:
    index = (segment, rank) if segment else (rank,)
    return element("FrameContentSequence", element("DimensionIndexValues", *index))


def _identification(segment: int) -> bytes:
    number = element("ReferencedSegmentNumber", segment)
    return element("SegmentIdentificationSequence", number) if segment else b""


def _position(position: np.ndarray) -> bytes:
    return element("PlanePositionSequence", element("ImagePositionPatient", *decimals(position)))


def _derivation(sop_class: str, instance: str, frame: int) -> bytes:
    purpose = _code("121322", "Source image for image processing operation")
    image = (element("ReferencedSOPClassUID", sop_class) + element("ReferencedSOPInstanceUID", instance)
             + (element("ReferencedFrameNumber", str(frame)) if frame else b"")
             + element("SpatialLocationsPreserved", "YES")
             + element("PurposeOfReferenceCodeSequence", purpose))  # fmt: skip
    return element("DerivationImageSequence", element("SourceImageSequence", image)
                   + element("DerivationCodeSequence", _code("113076", "Segmentation")))  # fmt: skip


def _code(value: str, meaning: str) -> bytes:
    return element("CodeValue", value) + element("CodingSchemeDesignator", "DCM") + element("CodeMeaning", meaning)


def decimals(values: Iterable[float]) -> Iterator[str]:
    """Decimal strings (DS) of 16 characters at most, as exact as they can be."""
    return (format_number_as_ds(float(value)) for value in values)
