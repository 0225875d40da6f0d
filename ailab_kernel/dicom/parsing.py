"""Bounded reading of DICOM bytes: one boundary, one error, however broken the input is."""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset as parse_elements

from ailab_kernel.ground.errors import DicomError

MAX_BYTES = 1 << 30
# What a deflated data set may hold at least, and how many times its bytes beyond: images shrink to a half or third,
# empty masks to a thousandth, bombs too.
_INFLATED_ANYWAY, _INFLATED_TIMES = 1 << 26, 64
DEFLATED = "1.2.840.10008.1.2.1.99"
_PER_FRAME = 0x52009230
_PREAMBLE = 128
_PIXELS = ((0x7FE0, 0x0008), (0x7FE0, 0x0009), (0x7FE0, 0x0010))
_LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
# What pydicom 3 was seen to raise over mutated files; every one of them means "these bytes are not good DICOM".
_PYDICOM_RAISES = (InvalidDicomError, BytesLengthException, EOFError, ValueError, TypeError, LookupError,
                   AttributeError, NotImplementedError, OSError, OverflowError, RecursionError, AssertionError,
                   MemoryError, struct.error, zlib.error)

Source = str | Path | bytes

# It repeats values that it finds odd, and bytes beside them: a patient's name is soon among them.
logging.getLogger("pydicom").setLevel(logging.ERROR)


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn whatever pydicom raises on malformed data into one :class:`DicomError` that begins with ``what``."""
    try:
        yield
    except _PYDICOM_RAISES as error:
        raise DicomError(f"{what}: malformed DICOM ({type(error).__name__}); send the object again from its source"
                         ) from error


def is_dicom(path: str | Path) -> bool:
    """Whether the file carries the DICM prefix of PS3.10 section 7.1."""
    with Path(path).open("rb") as file:
        return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"


def read_dataset(source: Source, *, max_bytes: int = MAX_BYTES) -> Dataset:
    """Whole data set of a PS3.10 file, decoded (but for its frames' groups), so that nothing malformed surfaces later.

    Parameters
    ----------
    source
        A path, or the file's bytes.
    max_bytes
        Largest file, and largest inflated data set (Deflated Explicit VR), that is accepted.

    Raises
    ------
    DicomError
        Not DICOM, truncated, malformed or too large.
    """
    return _read(source, max_bytes, header_only=False)


def read_header(source: Source, *, max_bytes: int = MAX_BYTES) -> Dataset:
    """Like :func:`read_dataset`, without Pixel Data (7FE0,0010) and what follows it."""
    return _read(source, max_bytes, header_only=True)


def _read(source: Source, max_bytes: int, header_only: bool) -> Dataset:
    data = _bounded_bytes(source, max_bytes)
    if data[_PREAMBLE:_PREAMBLE + 4] != b"DICM":
        raise DicomError(f"not a DICOM file ({len(data)} bytes without the DICM prefix); pass a PS3.10 file")
    with guarded("data set"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom comments on odd elements; what matters is whether they can be read
        syntax, body = _file_meta(data)
        ds = _inflated(data, body, max_bytes) if syntax == DEFLATED else dcmread(
            BytesIO(data), stop_before_pixels=header_only)
        if header_only:
            for tag in _PIXELS:
                ds.pop(tag, None)
        _decode_all(ds)
    return ds


def _bounded_bytes(source: Source, max_bytes: int) -> bytes:
    try:
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        if size > max_bytes:
            raise DicomError(f"{size} bytes are more than the {max_bytes} accepted; raise max_bytes if you trust them")
        return source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise DicomError(f"the file cannot be read ({error.strerror}); check that it exists and is readable") from error


def _file_meta(data: bytes) -> tuple[str, int]:
    """Transfer Syntax UID (0002,0010), and where group 0002 ends; it is always Explicit VR Little Endian."""
    at, syntax = _PREAMBLE + 4, ""
    while data[at:at + 2] == b"\x02\x00":
        element, vr = struct.unpack_from("<H2s", data, at + 2)
        long = vr in _LONG_VRS
        length, = struct.unpack_from("<I" if long else "<H", data, at + (8 if long else 6))
        start = at + (12 if long else 8)
        if element == 0x0010:
            syntax = data[start:start + length].rstrip(b"\0 ").decode("ascii")
        at = start + length
    return syntax, at


def _inflated(data: bytes, body: int, max_bytes: int) -> Dataset:
    """Inflate Deflated Explicit VR Little Endian (PS3.5 A.5) with a limit: pydicom has none."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    limit = min(max_bytes, _INFLATED_ANYWAY + _INFLATED_TIMES * len(data))
    plain = inflate.decompress(data[body:], limit)
    if inflate.unconsumed_tail:
        raise DicomError(f"the deflated data set of {len(data)} bytes holds more than {limit}, as no image does; "
                         "ask for another transfer syntax")
    if not inflate.eof:
        raise DicomError("the deflated data set is cut off; send the object again from its source")
    meta = parse_elements(BytesIO(data[_PREAMBLE + 4:body]), is_implicit_VR=False, is_little_endian=True)
    elements = parse_elements(BytesIO(plain), is_implicit_VR=False, is_little_endian=True)
    return FileDataset("", elements, preamble=data[:_PREAMBLE], file_meta=FileMetaDataset(meta),
                       is_implicit_VR=False, is_little_endian=True)


def _decode_all(ds: Dataset) -> None:
    """Decode every element now: pydicom does it on first access, where no one expects an error.

    Per-frame Functional Groups Sequence (5200,9230) stays as it is: thousands of frames take seconds, and whoever reads
    frames guards that.
    """
    for tag in ds.keys() - {_PER_FRAME}:
        element = ds[tag]
        if element.VR == "SQ":
            for item in element.value:
                _decode_all(item)
