"""Pixel Data (7FE0,0010) of one frame to stored values: each transfer syntax by its fastest exact decoder."""

import struct
from collections.abc import Iterator

import numpy as np
from pydicom.encaps import generate_frames
from pydicom.uid import UID

from ailab_kernel.ground.errors import DicomError

from .parsing import guarded

# A frame larger than this is no CT, MR or PET; a few bytes that announce one are an attack on memory.
MAX_FRAME_BYTES = 1 << 27
_JPEG = "1.2.840.10008.1.2.4."
_RLE = "1.2.840.10008.1.2.5"
_CODEC_OF = {
    _RLE: "dicomrle",
    **{_JPEG + name: "jpeg8" for name in ("50", "51", "53", "55", "57", "70")},
    **{_JPEG + name: "jpegls" for name in ("80", "81")},
    **{_JPEG + name: "jpeg2k" for name in ("90", "91", "201", "202", "203")},
}
_NO_SIZE = frozenset({0xFFD8, 0xFF01, *range(0xFFD0, 0xFFD8)})
_FRAME_HEADERS = frozenset({*range(0xFFC0, 0xFFD0), 0xFFF7}) - {0xFFC4, 0xFFC8, 0xFFCC}
_RLE_HEADER = 64
_END_OF_IMAGE = b"\xff\xd9"
_SIZ = b"\xff\x4f\xff\x51"


def stored_dtype(bits: int, *, signed: bool) -> np.dtype:
    """Native dtype of the stored values: BitsAllocated (0028,0100) and PixelRepresentation (0028,0103)."""
    if bits not in (8, 16, 32):
        msg = f"BitsAllocated is {bits}; 8, 16 or 32 are read"
        raise DicomError(msg)
    return np.dtype(f"{'i' if signed else 'u'}{bits // 8}")


def keep_stored_bits(out: np.ndarray, bits_stored: int) -> None:
    """Replace bits above BitsStored (0028,0101), where old files keep overlays, by the sign, in place."""
    spare = out.dtype.itemsize * 8 - bits_stored
    if not 0 <= spare < out.dtype.itemsize * 8:
        msg = f"BitsStored is {bits_stored}; 1 to BitsAllocated ({out.dtype.itemsize * 8}) are expected"
        raise DicomError(msg)
    if not spare or not out.size:
        return
    lowest = -(1 << bits_stored - 1) if out.dtype.kind == "i" else 0
    if out.min() < lowest or out.max() > lowest + (1 << bits_stored) - 1:
        np.left_shift(out, spare, out=out)
        np.right_shift(out, spare, out=out)


def encapsulated_frames(data: bytes, count: int) -> Iterator[bytes]:
    """The encoded frames in the value of encapsulated Pixel Data (PS3.5 A.4)."""
    return generate_frames(data, number_of_frames=count)


def decode_frame(data: bytes, syntax: str, out: np.ndarray) -> None:
    """Decode one encoded, single-sample frame into ``out``.

    Parameters
    ----------
    data
        The frame's bitstream.
    syntax
        Transfer Syntax UID (0002,0010).
    out
        Shape (rows, columns), dtype of `stored_dtype`.

    Raises
    ------
    DicomError
        No decoder, or a bitstream that is broken or of another size than ``out``.
    """
    name, said = _CODEC_OF.get(syntax), UID(syntax).name
    if name is None:
        msg = f"transfer syntax {said} cannot be decoded here; ask the archive for Explicit VR Little Endian"
        raise DicomError(msg)
    if out.nbytes > MAX_FRAME_BYTES:
        msg = f"a compressed frame of {out.shape[0]}x{out.shape[1]} is larger than is decoded; ask for smaller tiles"
        raise DicomError(msg)
    with guarded(f"pixel data in {said}"):
        _check_announced(name, data, out)
        decoded = _decoded(name, data, out.dtype.itemsize)
        if decoded.size != out.size or decoded.dtype.itemsize > out.dtype.itemsize:
            msg = f"the bitstream holds {decoded.shape} {decoded.dtype}, the header says {out.shape} {out.dtype}"
            raise DicomError(msg)
        decoded = decoded.reshape(out.shape)
        out[:] = decoded.view(out.dtype) if decoded.dtype.itemsize == out.dtype.itemsize else decoded


def _check_segments(data: bytes, itemsize: int) -> None:
    """The RLE header (PS3.5 G.5): a segment a byte of a value, one behind the other. The decoder trusts it blindly."""
    count, *offsets = struct.unpack_from("<16I", data)
    ends = [*offsets[1:count], len(data)]
    if count != itemsize or offsets[0] != _RLE_HEADER or any(a >= b for a, b in zip(offsets, ends, strict=False)):
        msg = f"the RLE header does not describe {itemsize} segments; send the object again from its source"
        raise DicomError(msg)


def _decoded(name: str, data: bytes, itemsize: int) -> np.ndarray:
    import imagecodecs

    try:
        if name == "dicomrle":
            return np.frombuffer(imagecodecs.dicomrle_decode(data, dtype=f"<u{itemsize}"), f"<u{itemsize}")
        if name == "jpegls" and not data.rstrip(b"\0").endswith(_END_OF_IMAGE):
            data += _END_OF_IMAGE  # without it CharLS looks for one for seconds, beyond the data
        return np.asarray(getattr(imagecodecs, f"{name}_decode")(data))
    except RuntimeError as error:  # every codec's own error is one
        msg = f"the bitstream cannot be decoded ({type(error).__name__}); send the object again from its source"
        raise DicomError(msg) from None


def _check_announced(name: str, data: bytes, out: np.ndarray) -> None:
    """Compare the size in the bitstream's own header with the data set's, before the decoder believes it."""
    if name == "dicomrle":  # announces no size, and cannot give more than 64 times its bytes
        _check_segments(data, out.dtype.itemsize)
        return
    found = _jpeg2k_size(data) if name == "jpeg2k" else _jpeg_size(data)
    if found != (*out.shape, 1):
        msg = (f"the bitstream announces {found[0]}x{found[1]} pixels of {found[2]} values, the header "
               f"{out.shape[0]}x{out.shape[1]} of one; send the object again from its source")  # fmt: skip
        raise DicomError(msg)


def _jpeg2k_size(data: bytes) -> tuple[int, int, int]:
    """(rows, columns, components) of the SIZ marker, with which a codestream begins, be it in a JP2 file."""
    at = 0 if data.startswith(_SIZ) else data.find(b"jp2c" + _SIZ) + 4
    if at == 3:
        msg = "the bitstream has no JPEG 2000 size segment; send the object again from its source"
        raise DicomError(msg)
    right, low, left, top = struct.unpack_from(">4I", data, at + 8)
    return low - top, right - left, struct.unpack_from(">H", data, at + 40)[0]


def _jpeg_size(data: bytes) -> tuple[int, int, int]:
    """(rows, columns, components) of the first frame header of JPEG or JPEG-LS."""
    at = 0
    while True:
        (marker,) = struct.unpack_from(">H", data, at)
        if marker in _FRAME_HEADERS:
            return struct.unpack_from(">HHB", data, at + 5)
        if marker < 0xFF01:
            msg = "the bitstream is no JPEG; send the object again from its source"
            raise DicomError(msg)
        if marker in _NO_SIZE or marker == 0xFFFF:
            at += 1 if marker == 0xFFFF else 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
