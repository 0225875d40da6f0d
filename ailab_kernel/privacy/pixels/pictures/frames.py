"""Frames of Pixel Data (7FE0,0010), native or compressed: to look at, and to be changed in few places."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydicom import Dataset
from pydicom.encaps import generate_fragmented_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian

from ailab_kernel.dicom.codecs import MAX_FRAME_BYTES, decode_frame, keep_stored_bits, stored_dtype
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import DicomError
from ailab_kernel.privacy.pixels.boxes import Box

from .reader import views

_HALVED = "YBR_FULL_422"


@dataclass(frozen=True)
class Frames:
    """The frames of one object, decoded one by one.

    Attributes
    ----------
    ds
        With Pixel Data and its image pixel module (PS3.3 C.7.6.3); it is not changed.
    """

    ds: Dataset

    @property
    def count(self) -> int:
        """How many there are: Number of Frames (0028,0008)."""
        return max(int(self.ds.get("NumberOfFrames") or 1), 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.ds.Rows), int(self.ds.Columns)

    @property
    def samples(self) -> int:
        """Values of a pixel: 1 or 3."""
        return int(self.ds.SamplesPerPixel)

    @property
    def syntax(self) -> UID:
        """Transfer Syntax UID (0002,0010)."""
        return UID(self.ds.file_meta.TransferSyntaxUID)

    @property
    def photometric(self) -> str:
        """Photometric Interpretation (0028,0004)."""
        return str(self.ds.PhotometricInterpretation)

    @property
    def compressed(self) -> bool:
        """Whether Pixel Data is encapsulated."""
        return self.syntax.is_encapsulated

    @property
    def halved(self) -> bool:
        """Whether pairs of pixels share their colour, so that only whole pairs can be filled."""
        return self.photometric == _HALVED and not self.compressed

    def fitted(self, box: Box) -> Box:
        """The box inside the frame, and with whole pairs of pixels where pairs share their colour."""
        top, left, bottom, right = box.grown(0, shape=self.shape)
        return Box(top, left // 2 * 2, bottom, -(-right // 2) * 2) if self.halved else Box(top, left, bottom, right)

    def check(self) -> None:
        """Raise a :class:`DicomError` where a header is incomplete or announces what nobody should decode."""
        with guarded("image pixel module"):
            rows, columns = self.shape
            bits, per = int(self.ds.BitsAllocated), self.samples
            _name = self.photometric
        if min(rows, columns) < 1 or per not in {1, 3} or bits not in {1, 8, 16, 32}:
            msg = f"pixels of {rows}x{columns}, {per} values of {bits} bits cannot be read; 1 or 3 of 1, 8, 16, 32 can"
            raise DicomError(msg)
        if rows * columns * per * bits // 8 > MAX_FRAME_BYTES:
            msg = f"a frame of {rows}x{columns} is larger than is searched; leave the object out or send it in tiles"
            raise DicomError(msg)
        needed = self.count * rows * columns * (2 if self.photometric == _HALVED else per) * bits // 8
        if not self.compressed and needed > len(self.ds.PixelData):
            msg = f"Pixel Data holds {len(self.ds.PixelData)} bytes, its header says {needed}; send the object again"
            raise DicomError(msg)

    def pictures(self, index: int) -> tuple[np.ndarray, ...]:
        """Views of a frame to be read: uint8, shape (rows, columns, 3)."""
        return views(self.coloured(index))

    def coloured(self, index: int) -> np.ndarray:
        """Values of a frame, palette applied: shape (rows, columns), or (rows, columns, 3) in RGB."""
        frame = self.values(index, rgb=True)
        return self._coloured(frame) if self.photometric == "PALETTE COLOR" else frame

    def values(self, index: int, *, rgb: bool = False) -> np.ndarray:
        """Stored values of a frame, decoded: shape (rows, columns) or (rows, columns, 3).

        Parameters
        ----------
        index
            From 0.
        rgb
            Colours as RGB; else as they are coded, but for what a codec itself turns.
        """
        if self.compressed and self.samples == 1:
            signed = bool(self.ds.get("PixelRepresentation"))
            out = np.empty(self.shape, stored_dtype(int(self.ds.BitsAllocated), signed=signed))
            decode_frame(b"".join(self.fragments[index]), str(self.syntax), out)
            keep_stored_bits(out, int(self.ds.get("BitsStored") or self.ds.BitsAllocated))
            return out
        return self._decoded(index, rgb)

    @cached_property
    def fragments(self) -> tuple[tuple[bytes, ...], ...]:
        """Compressed frames as the fragments they came in (PS3.5 A.4)."""
        with guarded("encapsulated pixel data"):
            extended = self._extended()
            found = tuple(tuple(one) for one in generate_fragmented_frames(
                self.ds.PixelData, number_of_frames=self.count, extended_offsets=extended))  # fmt: skip
        if len(found) < self.count:
            msg = f"{len(found)} frames are in the pixel data, the header says {self.count}; send the object again"
            raise DicomError(msg)
        return found

    def _extended(self) -> tuple[bytes, bytes] | None:
        table, lengths = self.ds.get("ExtendedOffsetTable"), self.ds.get("ExtendedOffsetTableLengths")
        return (table, lengths) if table and lengths else None

    def _decoded(self, index: int, rgb: bool) -> np.ndarray:
        with guarded(f"pixel data in {self.syntax.name}"):
            try:
                frame, _said = next(self._iterate(index, rgb))
            except RuntimeError as error:      # what pydicom raises when no plugin could read it
                msg = f"pixel data in {self.syntax.name} cannot be decoded; send the object again from its source"
                raise DicomError(msg) from error
        return np.array(frame)

    def _iterate(self, index: int, rgb: bool) -> Iterator[tuple[np.ndarray, object]]:
        return get_decoder(self.syntax).iter_array(self.ds, indices=[index], as_rgb=rgb)

    def _coloured(self, frame: np.ndarray) -> np.ndarray:
        from pydicom.pixels import apply_color_lut

        with guarded("palette"):
            colours = apply_color_lut(frame, self.ds)
        return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours


@dataclass
class Native:
    """Native Pixel Data to be changed in place.

    Attributes
    ----------
    frames
        Of the object.
    """

    frames: Frames

    def __post_init__(self) -> None:
        """Copy the bytes; those of 8-bit values in words of big-endian files lie crosswise."""
        ds = self.frames.ds
        self._bits = int(ds.BitsAllocated)
        self._crosswise = self.frames.syntax == ExplicitVRBigEndian and self._bits == 8 and ds["PixelData"].VR == "OW"
        data = np.frombuffer(ds.PixelData, np.uint8)
        if self._bits == 1:
            self._flat = np.unpackbits(data, bitorder="little")
        elif self._crosswise:
            self._flat = data[:len(data) // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1).copy()
        else:
            order, size = ">" if self.frames.syntax == ExplicitVRBigEndian else "<", self._bits // 8
            self._flat = data[:len(data) // size * size].copy().view(f"{order}u{size}")

    @property
    def halved(self) -> bool:
        """Whether two pixels share their colour: ``Y Y Cb Cr`` (YBR_FULL_422, PS3.3 C.7.6.3.1.2)."""
        return self.frames.photometric == _HALVED

    def frame(self, index: int) -> np.ndarray:
        """A view of one frame: shape (rows, columns, samples), or (rows, columns / 2, 4) where :attr:`halved`."""
        rows, columns = self.frames.shape
        per = self.frames.samples
        size = rows * columns * (2 if self.halved else per)
        flat = self._flat[index * size:(index + 1) * size]
        if self.halved:
            return flat.reshape(rows, columns // 2, 4)
        if per == 3 and self.frames.ds.get("PlanarConfiguration") == 1:
            return flat.reshape(per, rows, columns).transpose(1, 2, 0)
        return flat.reshape(rows, columns, per)

    def data(self) -> bytes:
        """Pixel Data as it is to be written, as long as it was."""
        was = self.frames.ds.PixelData
        flat = self._flat.reshape(-1, 2)[:, ::-1] if self._crosswise else self._flat
        made = (np.packbits(flat, bitorder="little") if self._bits == 1 else flat).tobytes()
        return made + was[len(made):]
