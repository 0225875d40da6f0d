"""Objects to PS3.10 files, fast: what nobody decoded goes out as the bytes it came in.

For explicit little endian, with pixels compressed or not. Whatever else there is goes through pydicom's writer, whose
bytes these are too: tests compare them over mutated objects.
"""

import struct
import warnings
from io import BytesIO

from pydicom import DataElement, Dataset, __version_info__, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from ailab_kernel.dicom.parsing import guarded

from .raw import elements_of, texts_of

_SHORT, _LONG, _TAG = struct.Struct("<HH2sH"), struct.Struct("<HH2sHI"), struct.Struct("<HHI")
_UNDEFINED, _LONGEST_SHORT = 0xFFFFFFFF, 0xFFFF
_LONG_VRS = frozenset(str(one) for one in EXPLICIT_VR_LENGTH_32)
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_SPECIFIC_CHARACTER_SET, _PIXELS = 0x00080005, 0x7FE00010
_OTHERS = frozenset({ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian})
_META = [0x00020002, 0x00020003, 0x00020010]
_VERSION = f"PYDICOM {'.'.join(__version_info__)}"
# Texts that are the same bytes in every character set where they are ASCII, with what fills them to an even length.
_TEXTS = ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UR", "UT")
_PLAIN = dict.fromkeys(_TEXTS, b" ") | {"UI": b"\0"}


def file_of(ds: Dataset) -> bytes:
    """Return an object as a PS3.10 file.

    Parameters
    ----------
    ds
        As pydicom read it, with what was changed since; its file meta information is whole.

    Raises
    ------
    DicomError
        A value that cannot be written.
    """
    out: list[bytes] = []
    with guarded("writing"), warnings.catch_warnings():
        warnings.simplefilter("ignore")        # on values that stay as they came
        if _head(ds.file_meta, out) and _pixels_fit(ds) and _data_set(ds, out, "iso8859"):
            return b"".join(out)
        return by_pydicom(ds)


def by_pydicom(ds: Dataset) -> bytes:
    """Return what pydicom writes."""
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def _head(meta: FileMetaDataset, out: list[bytes]) -> bool:
    """Write preamble and file meta information as pydicom does, where it is the least that has to be there."""
    held = elements_of(meta)
    if [int(one.tag) for one in held] != _META:
        return False
    kind, name, syntax = ("".join(texts_of(meta, one, "UI")) for one in held)
    if syntax in _OTHERS:
        return False
    texts = ((0x02, "UI", kind), (0x03, "UI", name), (0x10, "UI", syntax), (0x12, "UI", PYDICOM_IMPLEMENTATION_UID),
             (0x13, "SH", _VERSION))  # fmt: skip
    body = [_LONG.pack(2, 1, b"OB", 0, 2), b"\0\1"]
    for element, vr, text in texts:
        value = _even(text.encode("ascii"), _PLAIN[vr])
        body += (_SHORT.pack(2, element, vr.encode(), len(value)), value)
    length = sum(map(len, body))
    out += (b"\0" * 128, b"DICM", _SHORT.pack(2, 0, b"UL", 4), struct.pack("<I", length), *body)
    return True


def _pixels_fit(ds: Dataset) -> bool:
    """Whether pixels have the length that the syntax asks for (PS3.5 A.4); pydicom corrects it where they have not."""
    if _PIXELS not in ds:
        return True
    element = ds.get_item(_PIXELS)
    undefined = element.length == _UNDEFINED if isinstance(element, RawDataElement) else element.is_undefined_length
    if undefined:
        return ds.file_meta.TransferSyntaxUID != ExplicitVRLittleEndian and bytes(element.value or b"").startswith(
            b"\xfe\xff\x00\xe0")  # fmt: skip
    return ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian and len(element.value or b"") % 2 == 0


def _data_set(ds: Dataset, out: list[bytes], characters: str | list[str]) -> bool:
    """Append every element, in order of tags; False where pydicom has to do it."""
    if _SPECIFIC_CHARACTER_SET in ds:
        characters = ds[_SPECIFIC_CHARACTER_SET].value or "iso8859"
    return all(_element(element, out, characters) for element in elements_of(ds)
               if element.tag & 0xFFFF or element.tag >> 16 <= 6)  # fmt: skip


def _element(element: DataElement | RawDataElement, out: list[bytes], characters: str | list[str]) -> bool:
    vr = str(element.VR)
    if isinstance(element, RawDataElement):
        if element.is_implicit_VR or not element.is_little_endian or len(vr) != 2:
            return False
        _put(element.tag, vr, element.value or b"", out, undefined=element.length == _UNDEFINED)
        return True
    if vr == "SQ":
        return _sequence(element, out, characters)
    value = _plain(element) if vr in _PLAIN else None
    if value is None:
        return _by_pydicom(element, out, characters)
    _put(element.tag, vr, value, out)
    return True


def _put(tag: int, vr: str, value: bytes, out: list[bytes], *, undefined: bool = False) -> None:
    length = _UNDEFINED if undefined else len(value)
    if length > _LONGEST_SHORT and not undefined and vr not in _LONG_VRS:
        vr = "UN"                              # PS3.5 6.2.2
    if undefined or vr in _LONG_VRS:
        out.append(_LONG.pack(tag >> 16, tag & 0xFFFF, vr.encode(), 0, length))
    else:
        out.append(_SHORT.pack(tag >> 16, tag & 0xFFFF, vr.encode(), length))
    out.append(value)
    if undefined:
        out.append(_TAG.pack(*_SEQUENCE_END, 0))


def _plain(element: DataElement) -> bytes | None:
    """Bytes of a text, None where they depend on the character set."""
    value = element.value
    text = "" if value is None else value if isinstance(value, str) else "\\".join(map(str, value))
    return _even(text.encode("ascii"), _PLAIN[element.VR]) if text.isascii() else None


def _even(value: bytes, filling: bytes) -> bytes:
    return value + filling if len(value) % 2 else value


def _sequence(element: DataElement, out: list[bytes], characters: str | list[str]) -> bool:
    items: list[bytes] = []
    for item in element.value or ():
        body: list[bytes] = []
        if not _data_set(item, body, characters):
            return False
        undefined = getattr(item, "is_undefined_length_sequence_item", False)
        items.append(_TAG.pack(*_ITEM, _UNDEFINED if undefined else sum(map(len, body))))
        items += body
        if undefined:
            items.append(_TAG.pack(*_ITEM_END, 0))
    _put(element.tag, "SQ", b"".join(items), out, undefined=element.is_undefined_length)
    return True


def _by_pydicom(element: DataElement, out: list[bytes], characters: str | list[str]) -> bool:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_data_element(buffer, element, characters)
    out.append(buffer.getvalue())
    return True
