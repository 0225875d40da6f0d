"""PS3.10 files to elements, fast: explicit little endian, values left as bytes.

Whatever is not plain there (another syntax, an undefined length, an unknown VR, a lie about a length) is pydicom's to
read, or to refuse: tests compare both over mutated objects.
"""

import struct
from functools import lru_cache
from io import BytesIO
from typing import Any

from pydicom import DataElement, Dataset, Sequence, dcmread
from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement, empty_value_for_VR
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32
from pydicom.values import convert_string

from ailab_kernel.dicom.parsing import DEFLATED
from ailab_kernel.ground.errors import DicomError

from .raw import new_head

_SHORT = struct.Struct("<HH2sH")
_LONGS = frozenset(str(one).encode() for one in EXPLICIT_VR_LENGTH_32)
_VRS = {str(one).encode(): str(one) for one in (*EXPLICIT_VR_LENGTH_16, *EXPLICIT_VR_LENGTH_32)}
_START, _HEAD, _SHORT_HEAD, _LONG_HEAD, _UNDEFINED = 132, 0x0002FFFF, 8, 12, 0xFFFFFFFF
_DEEPEST = 64                                  # what is deeper is pydicom's to refuse
_META_GROUP, _SPECIFIC_CHARACTER_SET, _ITEM = 2, 0x00080005, b"\xfe\xff\x00\xe0"
Held = dict[BaseTag, DataElement | RawDataElement]
Characters = tuple[str, ...] | list[str]
_META = (0x00020002, 0x00020003, 0x00020010)


def read(file: bytes) -> Dataset:
    """Return an object, its values undecoded; the file meta information has three UIDs at least.

    Raises
    ------
    DicomError
        The file ends before, or after, its last attribute.
    InvalidDicomError, ValueError, ...
        What pydicom raises on malformed files; see `dicom.parsing.guarded`.
    """
    ds = _plain(file)
    if ds is None:
        ds = dcmread(BytesIO(file))
        _check_end(ds, len(file))
    return ds


def _check_end(ds: Dataset, size: int) -> None:
    """Raise where the file ends before, or after, its last attribute: pydicom reads a cut file without a word."""
    last = ds.get_item(max(ds.keys(), key=int)) if len(ds) else None
    deflated = ds.file_meta.TransferSyntaxUID == DEFLATED
    if last is None or (not deflated and isinstance(last, RawDataElement) and last.length != _UNDEFINED and (
            last.value_tell + last.length != size)):  # fmt: skip
        msg = "the file is cut off, or something follows its end; send it again from its source"
        raise DicomError(msg)


def _plain(file: bytes) -> Dataset | None:
    if file[128:_START] != b"DICM":
        return None
    held = _elements(file, _START, len(file))
    if not held or int(next(iter(held))) >> 16 != _META_GROUP:
        return None
    head = {int(tag): held.pop(tag).value for tag in [tag for tag in held if int(tag) <= _HEAD]}
    texts = [head.get(tag) or b"" for tag in _META]
    if not held or not all(text.isascii() for text in texts):
        return None
    uids = [text.rstrip(b" \0").decode("ascii") for text in texts]
    if not all(uids) or uids[2] != ExplicitVRLittleEndian:
        return None
    ds = Dataset(held)
    ds.file_meta, ds.preamble = new_head(*uids), file[:128]
    ds.set_original_encoding(False, True, ds._character_set)
    return ds


def _elements(file: bytes, at: int, end: int, characters: Characters = ("iso8859",), depth: int = 0) -> Held | None:
    """Every element up to an end, None where one is not plain."""
    held: Held = {}
    last = -1
    while at < end:
        if at + _SHORT_HEAD > end:
            return None
        group, element, code, length = _SHORT.unpack_from(file, at)
        at += _SHORT_HEAD
        if code in _LONGS:
            length = int.from_bytes(file[at:at + 4], "little")
            at += _LONG_HEAD - _SHORT_HEAD
        number, vr = group << 16 | element, _VRS.get(code)
        if vr is None or length == _UNDEFINED or at + length > end or number <= last:
            return None
        tag, last = BaseTag(number), number
        value = file[at:at + length] if length else _empty(vr)
        if number == _SPECIFIC_CHARACTER_SET and length:
            characters = convert_encodings(convert_string(value, True))
        if vr == "SQ" and length:
            items = _items(file, at, at + length, characters, depth + 1)
            if items is None:
                return None
            held[tag] = DataElement(tag, vr, Sequence(items), at, already_converted=True)
        else:
            held[tag] = RawDataElement(tag, vr, length, value, at, False, True)
        at += length
    return held


def _items(file: bytes, at: int, end: int, characters: Characters, depth: int) -> list[Dataset] | None:
    """The items of a sequence, None where one is not plain."""
    items = []
    while at < end:
        if at + _SHORT_HEAD > end or file[at:at + 4] != _ITEM or depth > _DEEPEST:
            return None
        length = int.from_bytes(file[at + 4:at + _SHORT_HEAD], "little")
        at += _SHORT_HEAD
        held = None if at + length > end else _elements(file, at, at + length, characters, depth)
        if held is None:
            return None
        item = Dataset(held, parent_encoding=list(characters))
        item.set_original_encoding(False, True, item._character_set)
        items.append(item)
        at += length
    return items


@lru_cache(maxsize=64)
def _empty(vr: str) -> Any:
    return empty_value_for_VR(vr, raw=True)
