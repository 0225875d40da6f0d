"""Pixel Data (7FE0,0010) of segmentations: frames to bytes and back, bit by bit where they are binary (PS3.5 8.1.1)."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from ailab_kernel.dicom.codecs import decode_frame, encapsulated_frames, stored_dtype
from ailab_kernel.ground.errors import ObjectError

_BITS = (8, 16)
# Deflated Image Frame Compression (PS3.5 A.4.13); it and RLE take the bits of a binary frame as they are packed.
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
_BIT_STREAMS = (_DEFLATED_FRAMES, RLELossless)
# Pixels of one frame: 8192 x 8192, more than any grid here has.
_LARGEST_FRAME = 1 << 26
_SMALLEST_ITEM = 8


class Strip(NamedTuple):
    """Rows of a frame that hold something: the frame's number, the first row, values of shape (rows, columns)."""

    frame: int
    first: int
    values: np.ndarray


def packed(frames: Iterable[np.ndarray]) -> bytes:
    """Pack frames, true where they are not zero, into one stream of bits, the first pixel in the lowest bit."""
    frames = iter(frames)
    blocks: list[memoryview] = []
    while group := list(islice(frames, 1)):
        if group[0].size % 8:  # eight such frames end at a whole byte
            group += islice(frames, 7)
        flat = group[0].reshape(-1) if len(group) == 1 else np.concatenate([frame.reshape(-1) for frame in group])
        blocks.append(np.packbits(flat if flat.dtype == bool else flat > 0, bitorder="little").data)
    return even(b"".join(blocks))


def even(data: bytes) -> bytes:
    """Pad to an even length (PS3.5 section 7.1.1), with a copy only where it is needed."""
    return data + b"\0" if len(data) % 2 else data


def encapsulated(frames: Iterable[np.ndarray], compression: str) -> tuple[bytes, UID]:
    """Compress frames without loss; return them encapsulated, with their transfer syntax."""
    syntax, encode = COMPRESSIONS[compression]
    return bytes(encapsulate([encode(np.ascontiguousarray(frame)) for frame in frames])), syntax


def _run_length(frame: np.ndarray) -> bytes:
    from rle.utils import encode_frame

    return bytes(encode_frame(frame.tobytes(), *frame.shape, 1, frame.itemsize * 8, "<"))


def _jpeg_ls(frame: np.ndarray) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpegls_encode(frame))


COMPRESSIONS: dict[str, tuple[UID, Callable[[np.ndarray], bytes]]] = {
    "RLE": (RLELossless, _run_length), "JPEG-LS": (JPEGLSLossless, _jpeg_ls),
}  # fmt: skip


def frame_shape(ds: Dataset) -> tuple[int, int, int]:
    """(frames, rows, columns), after a check that the pixel data can be that many and that large.

    Raises
    ------
    ObjectError
        Fewer pixel data than the header says, or frames too large to be true.
    """
    count, rows, columns = int(ds.get("NumberOfFrames") or 1), int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)
    size = len(ds.get("PixelData") or b"")
    needed = count * _SMALLEST_ITEM if _encapsulated(ds) else (count * rows * columns * int(ds.BitsAllocated) + 7) // 8
    if min(count, rows, columns) < 1 or rows * columns > _LARGEST_FRAME or needed > size:
        msg = (f"{count} frames of {rows} x {columns} pixels are not in {size} bytes of pixel data; "
               "send the SEG again from its source")  # fmt: skip
        raise ObjectError(msg)
    return count, rows, columns


def strips(ds: Dataset, shape: tuple[int, int, int], numbers: Sequence[int]) -> Iterator[Strip]:
    """What frames hold; an empty frame gives nothing.

    Parameters
    ----------
    ds
        A segmentation.
    shape
        From `frame_shape`.
    numbers
        Frames to read, in this order, counted from 0.
    """
    if _encapsulated(ds):
        yield from _decoded(ds, shape, numbers)
    elif int(ds.BitsAllocated) == 1:
        yield from _bits(ds.PixelData, shape, numbers)
    else:
        yield from _bytes(ds, shape, numbers)


def _encapsulated(ds: Dataset) -> bool:
    syntax = _syntax(ds)
    return syntax == _DEFLATED_FRAMES or bool(syntax.is_encapsulated)


def _syntax(ds: Dataset) -> UID:
    meta = getattr(ds, "file_meta", None)
    return UID(meta.TransferSyntaxUID) if meta is not None and meta.get("TransferSyntaxUID") else ExplicitVRLittleEndian


def _decoded(ds: Dataset, shape: tuple[int, int, int], numbers: Sequence[int]) -> Iterator[Strip]:
    encoded = list(encapsulated_frames(ds.PixelData, shape[0]))
    if len(encoded) != shape[0]:
        msg = f"{len(encoded)} encoded frames are in the SEG, its header says {shape[0]}; send it again from its source"
        raise ObjectError(msg)
    bits, syntax = int(ds.BitsAllocated), _syntax(ds)
    decode = _decoded_bits if bits == 1 and syntax in _BIT_STREAMS else _decoded_values
    for number in numbers:
        frame = decode(encoded[number], syntax, bits, shape[1:])
        if frame.any():
            yield Strip(number, 0, frame)


def _decoded_bits(data: bytes, syntax: UID, _bits: int, shape: tuple[int, int]) -> np.ndarray:
    """A frame whose packed bits were compressed, the first pixel in the lowest bit."""
    packed = _decoded_values(data, syntax, 8, (1, (shape[0] * shape[1] + 7) // 8))
    return np.unpackbits(packed[0], count=shape[0] * shape[1], bitorder="little").reshape(shape)


def _decoded_values(data: bytes, syntax: UID, bits: int, shape: tuple[int, int]) -> np.ndarray:
    frame = np.empty(shape, stored_dtype(max(bits, 8), signed=False))
    if syntax == _DEFLATED_FRAMES:  # never more of it than the header says
        plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, frame.nbytes)
        frame[:] = np.frombuffer(plain, frame.dtype.newbyteorder("<")).reshape(shape)
    else:
        decode_frame(data, syntax, frame)
    return frame


def _bits(data: bytes, shape: tuple[int, int, int], numbers: Sequence[int]) -> Iterator[Strip]:
    """Only the rows between the first and the last byte that is not zero are unpacked."""
    _, rows, columns = shape
    stream = np.frombuffer(data, np.uint8)
    for number in numbers:
        begin = number * rows * columns
        filled = stream[begin // 8 : -(-(begin + rows * columns) // 8)] != 0
        low = int(filled.argmax())
        if not filled[low]:
            continue
        high = len(filled) - int(filled[::-1].argmax())
        first = max(0, (low * 8 - begin % 8) // columns)
        last = min(rows, -(-(high * 8 - begin % 8) // columns))
        yield Strip(number, first, _rows(stream, begin + first * columns, (last - first, columns)))


def _rows(stream: np.ndarray, begin: int, shape: tuple[int, int]) -> np.ndarray:
    end = begin + shape[0] * shape[1]
    bits = np.unpackbits(stream[begin // 8 : -(-end // 8)], bitorder="little")
    return bits[begin % 8 : begin % 8 + shape[0] * shape[1]].reshape(shape)


def _bytes(ds: Dataset, shape: tuple[int, int, int], numbers: Sequence[int]) -> Iterator[Strip]:
    bits = int(ds.BitsAllocated)
    if bits not in _BITS:
        msg = f"BitsAllocated is {bits}; 1, 8 or 16 are read"
        raise ObjectError(msg)
    dtype = np.dtype(f"{'>' if _syntax(ds) == ExplicitVRBigEndian else '<'}u{bits // 8}")
    frames = np.frombuffer(ds.PixelData, dtype, int(np.prod(shape))).reshape(shape)
    for number in numbers:
        filled = frames[number].any(axis=1)
        if filled.any():
            first, last = int(filled.argmax()), len(filled) - int(filled[::-1].argmax())
            yield Strip(number, first, frames[number, first:last])
