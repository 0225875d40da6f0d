"""Fills boxes inside Pixel Data (7FE0,0010) with a value that says nothing; everything else keeps its values.

Native data is changed in place. Of compressed data, frames without a box keep their bytes, fragment by fragment, where
the transfer syntax can hold the changed ones without loss; where it cannot (JPEG), all frames are written in JPEG-LS
lossless, with the values that a viewer showed. Nothing is compressed with loss again.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.pixels import get_encoder
from pydicom.sequence import Sequence as Items
from pydicom.uid import JPEG2000, ExplicitVRBigEndian, JPEG2000Lossless, JPEGLSLossless, JPEGLSNearLossless, RLELossless

from ailab_kernel.dicom.codecs import keep_stored_bits, stored_dtype
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.privacy.pixels.boxes import Box

from .frames import Frames, Native

Boxes = Mapping[int, Sequence[Box]]
_NEUTRAL_YBR = (0, 128, 128)
_DERIVED = "burned-in text masked"
CLEAN_PIXELS = ("113101", "Clean Pixel Data Option")     # PS3.16 CID 7050
_ITEM = b"\xfe\xff\x00\xe0"
_LONGEST = 0xFFFFFFFF                          # of an offset in the basic table


def mask(ds: Dataset, boxes: Boxes) -> None:
    """Fill boxes in an object's frames; without a box nothing is touched.

    Parameters
    ----------
    ds
        Changed: Pixel Data, BurnedInAnnotation (0028,0301), DerivationDescription (0008,2111), and the transfer syntax
        and colour space where its own cannot be kept. LossyImageCompression (0028,2110) tells its history as before.
    boxes
        By frame, from 0.

    Raises
    ------
    DicomError
        The pixels cannot be decoded or are not as the header says.
    """
    wanted = {index: places for index, places in boxes.items() if places}
    if not wanted:
        return
    frames = Frames(ds)
    frames.check()
    if not frames.compressed:
        _mask_native(frames, wanted)
    elif _keeps_syntax(frames):
        _mask_some(frames, wanted)
    else:
        _mask_all(frames, wanted)
    ds.BurnedInAnnotation = "NO"
    say_masked(ds)


def clear_spare_bits(ds: Dataset) -> bool:
    """Clear an overlay that lies in the bits above BitsStored (0028,0101), as OverlayBitPosition (60xx,0102) may say.

    The scrubber takes an overlay's group out; without this, what it draws would stay in the pixels. Returns whether
    there was one.
    """
    positions = [ds[tag].value for tag in ds.keys() if tag.group >> 8 == 0x60 and tag.element == 0x0102]  # noqa: SIM118
    if not any(positions) or "PixelData" not in ds or ds.file_meta.TransferSyntaxUID.is_encapsulated:
        return False
    with guarded("embedded overlay"):
        signed = bool(ds.get("PixelRepresentation"))
        order = ">" if ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
        native = stored_dtype(int(ds.BitsAllocated), signed=signed)
        written = np.dtype(f"{order}{native.kind}{native.itemsize}")
        values = np.frombuffer(ds.PixelData, written).astype(native)
        keep_stored_bits(values, int(ds.BitsStored))
        ds.PixelData = values.astype(written).tobytes()
    return True


def say_masked(ds: Dataset) -> None:
    """Tell of the masks in DerivationDescription (0008,2111), once."""
    said = str(ds.get("DerivationDescription") or "")
    if _DERIVED not in said:
        ds.DerivationDescription = f"{said}; {_DERIVED}" if said else _DERIVED


def say_cleaned(ds: Dataset) -> None:
    """Add the code of the Clean Pixel Data Option to the methods (0012,0064), once."""
    codes = ds.get("DeidentificationMethodCodeSequence") or Items()
    if CLEAN_PIXELS[0] not in {str(one.get("CodeValue")) for one in codes}:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = CLEAN_PIXELS[0], "DCM", CLEAN_PIXELS[1]
        ds.DeidentificationMethodCodeSequence = Items([*codes, item])


def neutral(frame: np.ndarray, photometric: str, ds: Dataset) -> np.ndarray:
    """The values of a pixel that looks black.

    Parameters
    ----------
    frame
        Stored values, which the value is among where they are of one sample.
    photometric
        How they are coded.
    ds
        Its palette, where it has one.
    """
    if photometric.startswith("YBR_F"):
        return np.asarray(_NEUTRAL_YBR, frame.dtype)
    if frame.ndim == 3 and frame.shape[2] == 3:
        return np.zeros(3, frame.dtype)
    if photometric == "PALETTE COLOR":
        return np.asarray(_darkest(ds, frame), frame.dtype)
    return np.asarray(frame.max() if photometric == "MONOCHROME1" else frame.min(), frame.dtype)


def _darkest(ds: Dataset, frame: np.ndarray) -> int:
    from pydicom.pixels import apply_color_lut

    there = np.unique(frame)
    with guarded("palette"):
        colours = apply_color_lut(there, ds)
    return int(there[colours.astype(np.int64).sum(axis=-1).argmin()])


def _mask_native(frames: Frames, boxes: Boxes) -> None:
    native = Native(frames)
    for index, places in boxes.items():
        view = native.frame(index)
        if native.halved:
            for box in places:
                view[box.top:box.bottom, box.left // 2:-(-box.right // 2)] = np.asarray([0, 0, 128, 128], view.dtype)
            continue
        value = neutral(frames.values(index), frames.photometric, frames.ds)
        _fill(view, places, value.astype(f"{value.dtype.kind}{view.dtype.itemsize}").view(f"u{view.dtype.itemsize}"))
    _put(frames.ds, native.data())


def _fill(frame: np.ndarray, boxes: Sequence[Box], value: np.ndarray) -> None:
    for box in boxes:
        box.of(frame)[...] = value


def _mask_some(frames: Frames, boxes: Boxes) -> None:
    """Change the frames that have boxes, in the syntax that all have."""
    made = [list(parts) for parts in frames.fragments]
    for index, places in boxes.items():
        frame = frames.values(index)
        _fill(frame, places, neutral(frame, frames.photometric, frames.ds))
        made[index] = [_ENCODERS[frames.syntax](frame, frames)]
    _put(frames.ds, _encapsulated(made))


def _mask_all(frames: Frames, boxes: Boxes) -> None:
    """Decode every frame and write it in JPEG-LS; three samples become RGB, as they are shown."""
    ds = frames.ds
    made = []
    for index in range(frames.count):
        frame = frames.values(index, rgb=True)
        photometric = "RGB" if frames.samples == 3 else frames.photometric
        _fill(frame, boxes.get(index, ()), neutral(frame, photometric, ds))
        made.append([_jpeg_ls(frame, frames)])
    ds.file_meta.TransferSyntaxUID = JPEGLSLossless
    if frames.samples == 3:
        ds.PhotometricInterpretation, ds.PlanarConfiguration = "RGB", 0
    _put(ds, _encapsulated(made))


def _keeps_syntax(frames: Frames) -> bool:
    """Whether a frame without loss may stand among the others; a colour space that loses may not."""
    return frames.syntax in _ENCODERS and frames.photometric not in {"YBR_ICT", "YBR_FULL_422"}


def _rle(frame: np.ndarray, frames: Frames) -> bytes:
    return _encoded(frame, frames, RLELossless)


def _jpeg_ls(frame: np.ndarray, frames: Frames) -> bytes:
    return _encoded(frame, frames, JPEGLSLossless)


def _encoded(frame: np.ndarray, frames: Frames, syntax: str) -> bytes:
    ds = frames.ds
    made = get_encoder(syntax).encode(
        np.ascontiguousarray(frame), rows=frame.shape[0], columns=frame.shape[1], samples_per_pixel=frames.samples,
        number_of_frames=1, bits_allocated=frame.dtype.itemsize * 8, bits_stored=int(ds.BitsStored),
        pixel_representation=int(ds.get("PixelRepresentation") or 0), planar_configuration=0, pixel_keyword="PixelData",
        photometric_interpretation="RGB" if frames.samples == 3 else frames.photometric)  # fmt: skip
    return bytes(made)


def _jpeg_2000(frame: np.ndarray, frames: Frames) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpeg2k_encode(
        frame, level=0, reversible=True, codecformat="j2k", mct=frames.photometric == "YBR_RCT",
        bitspersample=int(frames.ds.BitsStored)))  # fmt: skip


_ENCODERS: Mapping[str, Callable[[np.ndarray, Frames], bytes]] = MappingProxyType({
    RLELossless: _rle, JPEGLSLossless: _jpeg_ls, JPEGLSNearLossless: _jpeg_ls, JPEG2000Lossless: _jpeg_2000,
    JPEG2000: _jpeg_2000,
})  # fmt: skip


def _encapsulated(frames: Sequence[Sequence[bytes]]) -> bytes:
    """Frames as items, their fragments as they are, behind a table of where each begins (PS3.5 A.4)."""
    bodies = [b"".join(_ITEM + (len(part) + len(part) % 2).to_bytes(4, "little") + part + b"\0" * (len(part) % 2)
                       for part in parts) for parts in frames]  # fmt: skip
    offsets, at = [], 0
    for body in bodies:
        offsets.append(at)
        at += len(body)
    table = b"".join(one.to_bytes(4, "little") for one in offsets) if at <= _LONGEST else b""
    return _ITEM + len(table).to_bytes(4, "little") + table + b"".join(bodies)


def _put(ds: Dataset, data: bytes) -> None:
    compressed = ds.file_meta.TransferSyntaxUID.is_encapsulated
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in ds:
            del ds[keyword]
    element = DataElement(0x7FE00010, "OB" if compressed else ds["PixelData"].VR, data)
    element.is_undefined_length = compressed
    ds["PixelData"] = element
