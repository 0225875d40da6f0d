"""Pixel Data (7FE0,0010) of one frame to stored values."""

import numpy as np
from pydicom import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian

from ailab_kernel.ground.errors import DicomError

from .parsing import guarded


def stored_dtype(ds: Dataset) -> np.dtype:
    """Native dtype of the stored values: BitsAllocated (0028,0100) and PixelRepresentation (0028,0103)."""
    bits = int(ds.BitsAllocated)
    if bits not in (8, 16, 32):
        raise DicomError(f"BitsAllocated is {bits}; 8, 16 or 32 are read")
    return np.dtype(f"{'i' if ds.PixelRepresentation else 'u'}{bits // 8}")


def decode_into(ds: Dataset, out: np.ndarray) -> None:
    """Write the stored values of a single-frame, single-sample image into ``out``.

    Bits above BitsStored (0028,0101), where old files keep overlays, are replaced by the sign.

    Parameters
    ----------
    ds
        Data set with Pixel Data and file meta information.
    out
        Shape (rows, columns), dtype of :func:`stored_dtype`.

    Raises
    ------
    DicomError
        No decoder for the transfer syntax, or the pixel data do not fit Rows x Columns.
    """
    syntax = UID(ds.file_meta.get("TransferSyntaxUID", "")) if hasattr(ds, "file_meta") else UID("")
    if not syntax:
        raise DicomError("TransferSyntaxUID (0002,0010) is missing; send the object again with file meta information")
    with guarded(f"pixel data in {syntax.name}"):
        spare = out.dtype.itemsize * 8 - int(ds.BitsStored)
        if not 0 <= spare < out.dtype.itemsize * 8:
            raise DicomError(f"BitsStored is {ds.BitsStored}; 1 to BitsAllocated ({ds.BitsAllocated}) are expected")
        if syntax.is_compressed and not syntax.is_deflated:
            out[:] = _decompressed(ds, syntax)
        else:
            stored = out.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")
            out[:] = np.frombuffer(_one_frame(ds.PixelData, out.nbytes), stored, out.size).reshape(out.shape)
        if spare:
            np.left_shift(out, spare, out=out)
            np.right_shift(out, spare, out=out)


def _one_frame(data: bytes, size: int) -> bytes:
    """The data, when they are one frame: padding is fine, less or a multiple would be another image."""
    if not size <= len(data) < 2 * size:
        raise DicomError(f"pixel data of {len(data)} bytes are not one frame of {size}; send the object again")
    return data


def _decompressed(ds: Dataset, syntax: UID) -> np.ndarray:
    try:
        return pixel_array(ds, raw=True)
    except (RuntimeError, ImportError) as error:
        raise DicomError(f"transfer syntax {syntax.name} cannot be decoded here; ask the archive for Explicit VR "
                         "Little Endian") from error
