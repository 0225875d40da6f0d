"""One SOP instance as it lies in a file, in memory or in a data set: its attributes, its pixels, its header."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from io import BufferedReader
from pathlib import Path
from typing import Protocol

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from ailab_kernel.dicom.codecs import decode_frame, encapsulated_frames, stored_dtype
from ailab_kernel.dicom.parsing import guarded, read_dataset, read_header
from ailab_kernel.dicom.scan import ENCAPSULATED, Scan, scan, scan_file
from ailab_kernel.ground.errors import DicomError

_NOT_IMAGES = frozenset({"SEG", "SR", "PR", "KO", "DOC", "REG", "FID", "ANN", "PLAN", "M3D",
                         "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD"})  # fmt: skip
_DICOMDIR = "1.2.840.10008.1.3.10"

File = Path | bytes
Values = Mapping[str, str]


class Fields(Protocol):
    """Attributes by DICOM keyword."""

    def text(self, keyword: str) -> str:
        """Value without padding, several separated by a backslash; empty when absent."""

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Values as numbers; none when absent."""


@dataclass(frozen=True)
class DatasetFields:
    """Attributes of a pydicom data set."""

    ds: Dataset

    def text(self, keyword: str) -> str:
        """Value as text, see `Fields`."""
        value = self.ds.get(keyword)
        if value is None:
            return ""
        return "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value).strip()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Values as numbers, see `Fields`."""
        value = self.ds.get(keyword)
        if value is None or value == "":
            return ()
        return tuple(float(v) for v in value) if isinstance(value, MultiValue | list) else (float(value),)


class Pixels(Protocol):
    """The value of Pixel Data (7FE0,0010), wherever it lies."""

    @property
    def length(self) -> int:
        """Bytes."""

    def whole(self) -> bytes:
        """All of it."""

    def into(self, start: int, out: np.ndarray) -> None:
        """Fill a contiguous array of little-endian values from byte ``start`` on."""


@dataclass(frozen=True)
class MemoryPixels:
    """Pixel Data in memory."""

    data: bytes | memoryview

    @property
    def length(self) -> int:
        """Bytes."""
        return len(self.data)

    def whole(self) -> bytes:
        """All of it."""
        return bytes(self.data)

    def into(self, start: int, out: np.ndarray) -> None:
        """Copy one frame."""
        out[:] = np.frombuffer(self.data, out.dtype.newbyteorder("<"), out.size, start).reshape(out.shape)


@dataclass(frozen=True)
class FilePixels:
    """Pixel Data in a file; ``length`` is -1 for encapsulated ones, which end with the file."""

    path: Path
    offset: int
    length: int

    def whole(self) -> bytes:
        """All of it."""
        with _opened(self.path) as file:
            file.seek(self.offset)
            return file.read(self.length)

    def into(self, start: int, out: np.ndarray) -> None:
        """Read straight into the array: no byte is copied twice."""
        with _opened(self.path) as file:
            got = os.preadv(file.fileno(), [out.reshape(-1).view(np.uint8).data], self.offset + start)
        if got != out.nbytes:
            msg = f"the file gave {got} bytes of pixels where {out.nbytes} were announced; it changed while it was read"
            raise DicomError(msg)
        if sys.byteorder == "big":
            out.byteswap(inplace=True)


@dataclass(frozen=True)
class AheadPixels:
    """One frame that is being decoded while other instances still arrive."""

    decoded: "Future[np.ndarray]"
    encoded: Pixels
    length: int

    def whole(self) -> bytes:
        """The encoded value."""
        return self.encoded.whole()

    def into(self, start: int, out: np.ndarray) -> None:
        """Copy the frame; ``start`` is 0, there is no other."""
        out[:] = self.decoded.result()[start:]


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        msg = f"the file cannot be read ({error.strerror}); check that it exists and is readable"
        raise DicomError(msg) from error


@dataclass(frozen=True, eq=False)
class Instance:
    """One image object.

    Attributes
    ----------
    fields
        Its attributes.
    syntax
        Transfer Syntax UID (0002,0010).
    pixels
        The value of Pixel Data.
    header
        Gives the data set without Pixel Data.
    derived
        UIDs by keyword that the object lacks and that follow from its content.
    """

    fields: Fields
    syntax: str
    pixels: Pixels = field(repr=False)
    header: Callable[[], Dataset] = field(repr=False)
    derived: Values = field(default_factory=dict)

    def text(self, keyword: str) -> str:
        """Value of an attribute, or the UID derived for it."""
        return self.derived.get(keyword) or self.fields.text(keyword)

    def number(self, keyword: str, default: float = 0.0) -> float:
        """First value of a numeric attribute, ``default`` when it is absent or empty."""
        found = self.fields.numbers(keyword)
        return found[0] if found else default

    @cached_property
    def frames(self) -> int:
        """NumberOfFrames (0028,0008), 1 for a single-frame image."""
        return max(1, int(self.number("NumberOfFrames", 1)))

    @cached_property
    def encoded(self) -> tuple[bytes, ...]:
        """The bitstreams of encapsulated frames."""
        return tuple(encapsulated_frames(self.pixels.whole(), self.frames))

    def read(self, frame: int, out: np.ndarray) -> None:
        """Write the stored values of a frame (from 0) into ``out``, shape (rows, columns)."""
        if self.syntax in ENCAPSULATED:
            with guarded("encapsulated pixel data"):
                if not frame < len(self.encoded):
                    msg = f"frame {frame + 1} is missing in the pixel data; send the object again from its source"
                    raise DicomError(msg)
            decode_frame(self.encoded[frame], self.syntax, out)
            return
        found, wanted = self.pixels.length, self.frames * out.nbytes
        if not wanted <= found < wanted + out.nbytes:  # padding is fine; less or a whole frame more is another image
            said = "one frame" if self.frames == 1 else f"{self.frames} frames"
            msg = f"pixel data of {found} bytes are not {said} of {out.nbytes}; send the object again"
            raise DicomError(msg)
        self.pixels.into(frame * out.nbytes, out)
        if self.syntax == ExplicitVRBigEndian:
            out.byteswap(inplace=True)

    def renamed(self, derived: Values) -> "Instance":
        """The same image with UIDs that it lacks."""
        return replace(self, derived=derived, header=partial(_with, self.header, derived))


def decoded_ahead(instance: Instance, pool: Executor) -> Instance:
    """The same image, its one encapsulated frame given to ``pool`` to decode; what is wrong is told on reading."""
    if instance.syntax not in ENCAPSULATED:
        return instance
    try:
        with guarded("attributes"):
            if instance.frames != 1:
                return instance
            shape = int(instance.number("Rows")), int(instance.number("Columns"))
            signed = instance.number("PixelRepresentation") == 1
            dtype = stored_dtype(int(instance.number("BitsAllocated")), signed=signed)
    except DicomError:
        return instance
    frame = pool.submit(_decoded, instance, shape, dtype)
    pixels = AheadPixels(frame, instance.pixels, shape[0] * shape[1] * dtype.itemsize)
    return replace(instance, syntax=str(ExplicitVRLittleEndian), pixels=pixels)


def _decoded(instance: Instance, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    out = np.empty(shape, dtype)
    instance.read(0, out)
    return out


def _with(header: Callable[[], Dataset], derived: Values) -> Dataset:
    ds = header()
    for keyword, uid in derived.items():
        setattr(ds, keyword, uid)
    return ds


def instance_of(source: File | Dataset) -> Instance | None:
    """Return the image in a file, a file's bytes or a data set; None for what is written about images (SEG, SR, plans).

    Raises
    ------
    DicomError
        No DICOM, malformed, or without pixel data.
    """
    if isinstance(source, Dataset):
        return _from_dataset(source)
    found = scan_file(source) if isinstance(source, Path) else _scan_bytes(source)
    if found is None:
        return _from_dataset(read_dataset(source))
    if found[0].text("Modality") in _NOT_IMAGES:
        return None
    return _from_scan(source, *found)


def _scan_bytes(data: bytes) -> tuple[Scan, bytes] | None:
    found = scan(data, len(data))
    return (found, data[: found.offset]) if found else None


def _from_scan(source: File, found: Scan, head: bytes) -> Instance:
    if isinstance(source, Path):
        pixels: Pixels = FilePixels(source, found.offset, found.length)
    else:
        pixels = MemoryPixels(memoryview(source)[found.offset :][: found.length if found.length >= 0 else None])
    return Instance(found, found.syntax, pixels, partial(read_header, head))


def _from_dataset(ds: Dataset) -> Instance | None:
    meta = getattr(ds, "file_meta", None)
    kind = str(meta.get("MediaStorageSOPClassUID", "")) if meta else ""
    if kind == _DICOMDIR or str(ds.get("Modality", "")) in _NOT_IMAGES:
        return None
    if "PixelData" not in ds:  # cut off, maybe: the series would silently be shorter
        msg = f"no pixel data in an object of class {ds.get('SOPClassUID', 'unknown')}; send it again from its source"
        raise DicomError(msg)
    syntax = str(meta.get("TransferSyntaxUID", "")) if meta else ""
    if not syntax:
        msg = "TransferSyntaxUID (0002,0010) is missing; send the object again with file meta information"
        raise DicomError(msg)
    with guarded("pixel data"):
        return Instance(DatasetFields(ds), syntax, MemoryPixels(bytes(ds.PixelData)), partial(_header, ds))


def _header(ds: Dataset) -> Dataset:
    """The data set without its pixels, sharing its elements."""
    header = Dataset({tag: element for tag, element in ds.items() if tag < 0x7FE00000})
    if hasattr(ds, "file_meta"):
        header.file_meta = ds.file_meta
    return header


def texts(instances: Iterable[Instance], keyword: str) -> set[str]:
    """Return the different values of an attribute among instances."""
    return {instance.text(keyword) for instance in instances}
