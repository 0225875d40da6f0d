"""A fast look at a PS3.10 file: the attributes that place an image, and where its pixels are.

Only plain files are understood: Implicit or Explicit VR Little Endian or encapsulated pixels, elements in order, each
once, Pixel Data (7FE0,0010) last. For anything else `scan` gives None, and pydicom reads the file instead. The two are
proven equal by property tests over mutated headers.
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import AllTransferSyntaxes, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

KEYWORDS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesNumber",
    "Modality", "ImageType", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "PixelRepresentation", "RescaleSlope", "RescaleIntercept",
    "EchoTime", "EchoNumbers", "InversionTime", "TemporalPositionIdentifier", "TriggerTime", "DiffusionBValue",
    "AcquisitionNumber", "AcquisitionTime", "InstanceNumber",
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "KVP", "ConvolutionKernel", "PatientSex", "PatientAge",
    "BodyPartExamined", "ContrastBolusAgent",
    "PatientID", "PatientIdentityRemoved", "StudyDescription", "DeidentificationMethod",
)  # fmt: skip
BINARY = {"US": "<H", "SS": "<h", "UL": "<I", "FD": "<d", "FL": "<f"}
IMPLICIT = "1.2.840.10008.1.2"
_TAGS = {int(tag_for_keyword(keyword) or 0): keyword for keyword in KEYWORDS}
_BINARY_KEYWORDS = {keyword: BINARY[vr] for keyword in KEYWORDS if (vr := dictionary_VR(keyword)) in BINARY}
_VRS = frozenset({b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH",
                  b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"})  # fmt: skip
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SYNTAXES = frozenset(str(uid) for uid in AllTransferSyntaxes) - {DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian}
ENCAPSULATED = frozenset(str(uid) for uid in AllTransferSyntaxes if uid.is_encapsulated)
_PIXELS, _TRAILING, _UNDEFINED = 0x7FE00010, 0xFFFCFFFC, 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_START, _FIRST_BYTES = 132, 1 << 14
_short, _long = struct.Struct("<HH2sH").unpack_from, struct.Struct("<I").unpack_from
_implicit = struct.Struct("<HHI").unpack_from

Element = tuple[int, bytes, int, int]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a plain file says.

    Attributes
    ----------
    syntax
        Transfer Syntax UID (0002,0010).
    values
        Raw value by keyword of `KEYWORDS`, absent attributes left out.
    offset, length
        Where the value of Pixel Data begins in the file, and its bytes; -1 for encapsulated pixels.
    """

    syntax: str
    values: Mapping[str, bytes]
    offset: int
    length: int

    def text(self, keyword: str) -> str:
        """Value as text without padding, values separated by a backslash; ValueError unless it is ASCII."""
        form = _BINARY_KEYWORDS.get(keyword)
        raw = self.values.get(keyword, b"")
        return "\\".join(str(v) for v in _unpacked(form, raw)) if form else raw.rstrip(b" \0").decode("ascii").strip()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Values as numbers; ValueError where one is none."""
        form = _BINARY_KEYWORDS.get(keyword)
        raw = self.values.get(keyword, b"")
        if form:
            return _unpacked(form, raw)
        raw = raw.rstrip(b" \0")
        return tuple(map(float, raw.split(b"\\"))) if raw else ()


def _unpacked(form: str, raw: bytes) -> tuple[float, ...]:
    size = struct.calcsize(form)
    if len(raw) % size:
        msg = "a binary value of broken length"
        raise ValueError(msg)
    return tuple(value for (value,) in struct.iter_unpack(form, raw))


def scan_file(path: Path) -> tuple[Scan, bytes] | None:
    """Scan a file and return what was found with the bytes before Pixel Data; None for what `scan` leaves alone."""
    try:
        with path.open("rb", buffering=0) as file:
            size, head, wanted = os.fstat(file.fileno()).st_size, b"", _FIRST_BYTES
            while True:
                head += file.read(wanted - len(head))
                try:
                    found = _scan(head, size)
                except _TooShortError:
                    if len(head) < wanted:
                        return None
                    wanted *= 8
                    continue
                return (found, head[: found.offset]) if found else None
    except (OSError, _UnusualError):
        return None


def scan(head: bytes, size: int) -> Scan | None:
    """Scan the first bytes of a file of ``size`` bytes; None when they are not plain, or end before Pixel Data."""
    try:
        return _scan(head, size)
    except (_UnusualError, _TooShortError):
        return None


class _UnusualError(Exception):
    """Something that is left to pydicom."""


class _TooShortError(Exception):
    """The bytes end before Pixel Data."""


def _scan(head: bytes, size: int) -> Scan | None:
    if head[128:_START] != b"DICM":
        return None
    try:
        syntax, at = _meta(head)
        return _walk(head, at, size, syntax) if syntax in _SYNTAXES else None
    except struct.error as error:
        raise _TooShortError from error


def _meta(head: bytes) -> tuple[str, int]:
    """Transfer syntax, and where group 0002 (always Explicit VR Little Endian) ends."""
    at, last, syntax = _START, -1, ""
    while True:
        group, element, vr, length = _short(head, at)
        if group != 2:
            return syntax, at
        if element <= last or (vr not in _VRS and vr not in _LONG_VRS):
            raise _UnusualError
        last, at = element, at + 8
        if vr in _LONG_VRS:
            (length,) = _long(head, at)
            at += 4
        if element == 0x10:
            syntax = head[at : at + length].rstrip(b"\0 ").decode("ascii", "replace")
        at += length


def _walk(head: bytes, at: int, size: int, syntax: str) -> Scan | None:
    """The elements before Pixel Data, by the transfer syntax's own form of an element's head."""
    values: dict[str, bytes] = {}
    element = _implicit_element if syntax == IMPLICIT else _explicit_element
    last = 0x0002FFFF
    while True:
        tag, vr, at, length = element(head, at)
        if tag <= last:
            return None
        last = tag
        if tag >= _PIXELS:
            return _pixels(head, (tag, vr), size, Scan(syntax, values, at, length))
        if length == _UNDEFINED:
            at = _skip_sequence(head, at, vr, 0)
            continue
        keyword = _TAGS.get(tag)
        if keyword:
            values[keyword] = _value(head, at, length, keyword)
        at += length


def _implicit_element(head: bytes, at: int) -> Element:
    group, element, length = _implicit(head, at)
    return group << 16 | element, b"", at + 8, length


def _explicit_element(head: bytes, at: int) -> Element:
    group, element, vr, length = _short(head, at)
    if vr in _LONG_VRS:
        return group << 16 | element, vr, at + 12, _long(head, at + 8)[0]
    if vr not in _VRS:
        raise _UnusualError
    return group << 16 | element, vr, at + 8, length


def _value(head: bytes, at: int, length: int, keyword: str) -> bytes:
    value = head[at : at + length]
    if len(value) < length:
        raise _TooShortError
    if length & 1 or not (value.isascii() or keyword in _BINARY_KEYWORDS):
        raise _UnusualError
    return value


def _pixels(head: bytes, element: tuple[int, bytes], size: int, found: Scan) -> Scan | None:
    """The scan, when its last element is Pixel Data as the transfer syntax has it, whole, with nothing behind."""
    (tag, vr), encapsulated = element, found.syntax in ENCAPSULATED
    if tag != _PIXELS or vr not in (b"OW", b"OB", b"") or encapsulated != (found.length == _UNDEFINED):
        return None
    if encapsulated:
        return Scan(found.syntax, found.values, found.offset, -1)
    end = found.offset + found.length
    if end > size or (end < size and not _padded(head, end)):
        return None
    return found


def _padded(head: bytes, end: int) -> bool:
    """Whether what follows is Data Set Trailing Padding (FFFC,FFFC); unknown where it was not read."""
    if len(head) < end + 4:
        return False
    group, element = struct.unpack_from("<HH", head, end)
    return (group << 16 | element) == _TRAILING


def _skip_sequence(head: bytes, at: int, vr: bytes, depth: int) -> int:
    """Where a sequence of undefined length ends; ``vr`` is empty where VRs are implicit."""
    if vr not in (b"SQ", b""):
        raise _UnusualError
    while True:
        group, element, length = _implicit(head, at)
        at += 8
        tag = group << 16 | element
        if tag == _SEQUENCE_END and length == 0:
            return at
        if tag != _ITEM or depth > 16:
            raise _UnusualError
        at = _skip_item(head, at, vr, depth) if length == _UNDEFINED else at + length


def _skip_item(head: bytes, at: int, vr: bytes, depth: int) -> int:
    element = _explicit_element if vr else _implicit_element
    while True:
        group, number, length = _implicit(head, at)
        if (group << 16 | number) == _ITEM_END and length == 0:
            return at + 8
        _, inner, at, length = element(head, at)
        at = _skip_sequence(head, at, inner, depth + 1) if length == _UNDEFINED else at + length
