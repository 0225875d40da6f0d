"""Pictures with burned-in text, as scanners, ultrasound machines and capture stations make them."""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset, Sequence
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from ailab_kernel.privacy.pixels.boxes import Box

from .objects import ct

SC, US, US_CINE, CR = ("1.2.840.10008.5.1.4.1.1." + last for last in ("7", "6.1", "3.1", "1"))
FONTS = ("DejaVuSans", "DejaVuSansMono-Bold", "DejaVuSerif", "STIXGeneral", "hershey")
WHO = ("QUIXANO ALONSO", "MRN-4711-77", "23/09/1928", "ACC778899", "Hospital of Argamasilla")


@dataclass(frozen=True)
class Line:
    """Text at a place: row and column of its upper left corner, height of a capital letter in pixels."""

    words: str
    top: int
    left: int
    height: int = 14
    font: str = "DejaVuSans"
    turned: int = 0


def anatomy(rows: int = 384, columns: int = 448, *, seed: int = 0, noise: float = 6.0) -> np.ndarray:
    """An oblique body with organs and noise, without text: uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    y, x = (y - rows * 0.52) / rows, (x - columns * 0.47) / columns
    y, x = 0.96 * y + 0.28 * x, 0.96 * x - 0.28 * y
    out = np.where((y / 0.36) ** 2 + (x / 0.42) ** 2 < 1, 90.0, 4.0)
    for _ in range(9):
        cy, cx, ry, rx = rng.uniform([-0.25, -0.3, 0.02, 0.03], [0.25, 0.3, 0.12, 0.11])
        out[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1] = rng.uniform(20, 200)
    return (out + rng.normal(0, noise, out.shape)).clip(0, 235).astype(np.uint8)


def drawn(picture: np.ndarray, lines: tuple[Line, ...], *, ink: int = 255) -> tuple[np.ndarray, tuple[Box, ...]]:
    """The picture (rows, columns) with lines on it, and where each has ink."""
    out, boxes = picture.copy(), []
    for line in lines:
        ink_mask = np.rot90(_ink(line.words, line.height, line.font), line.turned)
        height, width = (min(a, b) for a, b in zip(ink_mask.shape, (out.shape[0] - line.top, out.shape[1] - line.left), strict=True))
        here = out[line.top:line.top + height, line.left:line.left + width].astype(np.float32)
        part = ink_mask[:height, :width] / np.float32(255)
        out[line.top:line.top + height, line.left:line.left + width] = (here * (1 - part) + ink * part).astype(out.dtype)
        boxes.append(Box(line.top, line.left, line.top + height, line.left + width))
    return out, tuple(boxes)


@lru_cache(maxsize=512)
def _ink(words: str, height: int, font: str) -> np.ndarray:
    if font == "hershey":
        import cv2

        scale = height / 21
        (width, up), down = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        canvas = np.zeros((up + down + 6, width + 6), np.uint8)
        cv2.putText(canvas, words, (3, up + 3), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1, cv2.LINE_8)
    else:
        face = _face(font, height)
        left, top, right, bottom = face.getbbox(words)
        image = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
        ImageDraw.Draw(image).text((1 - left, 1 - top), words, fill=255, font=face)
        canvas = np.asarray(image)
    rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
    return canvas[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]


def _face(font: str, height: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    size = next(s for s in range(height, 4 * height) if _capital(ImageFont.truetype(str(path), s)) >= height)
    return ImageFont.truetype(str(path), size)


def _capital(face: ImageFont.FreeTypeFont) -> float:
    box = face.getbbox("H")
    return box[3] - box[1]


def image(frames: np.ndarray, *, sop_class: str = SC, modality: str = "OT", photometric: str = "MONOCHROME2", bits: int = 8,
          syntax: str = "1.2.840.10008.1.2.1", planar: int = 0, regions: tuple[Box, ...] = (), **more: object) -> Dataset:  # fmt: skip
    """The person's object with these grey frames (frames, rows, columns), uint8, in any colour space and syntax."""
    ds = ct(SOPClassUID=sop_class, Modality=modality, **more)
    ds.Rows, ds.Columns = frames.shape[1:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = (8, 8, 7) if bits == 8 else (16, bits, bits - 1)
    ds.PhotometricInterpretation, ds.SamplesPerPixel = photometric, 3 if photometric[:3] in {"RGB", "YBR"} else 1
    if len(frames) > 1:
        ds.NumberOfFrames = len(frames)
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = planar
    if photometric == "PALETTE COLOR":
        _palette(ds)
    if regions:
        ds.SequenceOfUltrasoundRegions = Sequence(_region(box) for box in regions)
    coded = [_coded(frame, ds) for frame in frames]
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax in _ENCODE:
        ds.PixelData = encapsulate([_ENCODE[syntax](frame, ds) for frame in coded])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    else:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data = b"".join(_laid(frame, ds).astype(frame.dtype.newbyteorder(order)).tobytes() for frame in coded)
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    return ds


def _coded(frame: np.ndarray, ds: Dataset) -> np.ndarray:
    photometric, signed = ds.PhotometricInterpretation, ds.get("PixelRepresentation")
    if ds.SamplesPerPixel == 3:
        return np.repeat(frame[..., None], 3, axis=2) if photometric in {"RGB", "YBR_RCT"} else np.stack(
            [frame, np.full_like(frame, 120), np.full_like(frame, 133)], axis=2)  # fmt: skip
    if photometric == "PALETTE COLOR":
        return 255 - frame
    if photometric == "MONOCHROME1":
        frame = 255 - frame
    if ds.BitsAllocated == 8:
        return frame
    wide = frame.astype(np.int32) * ((1 << ds.BitsStored - 1) // 256) - (1000 if signed else 0)
    return wide.astype("<i2" if signed else "<u2")


def _laid(frame: np.ndarray, ds: Dataset) -> np.ndarray:
    if ds.PhotometricInterpretation == "YBR_FULL_422":
        pairs = frame.reshape(frame.shape[0], -1, 2, 3)
        return np.stack([pairs[:, :, 0, 0], pairs[:, :, 1, 0], pairs[:, :, 0, 1], pairs[:, :, 0, 2]], axis=2)
    return frame.transpose(2, 0, 1) if ds.get("PlanarConfiguration") == 1 and frame.ndim == 3 else frame


def _palette(ds: Dataset) -> None:
    for colour, gain in (("Red", 255), ("Green", 251), ("Blue", 240)):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = (np.arange(255, -1, -1) * gain).astype("<u2")      # index 255 is black
        setattr(ds, f"{colour}PaletteColorLookupTableData", table.tobytes())


def _region(box: Box) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinY0, item.RegionLocationMinX0 = box.top, box.left
    item.RegionLocationMaxY1, item.RegionLocationMaxX1 = box.bottom - 1, box.right - 1
    return item


def _jpeg(frame: np.ndarray, ds: Dataset) -> bytes:
    buffer = BytesIO()
    three = frame.ndim == 3
    picture = Image.fromarray(frame, "YCbCr") if three else Image.fromarray(frame)
    picture.save(buffer, "JPEG", quality=88, **({"subsampling": "4:2:2"} if three else {}))
    return buffer.getvalue()


def _jpeg_2000(frame: np.ndarray, ds: Dataset) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpeg2k_encode(frame, level=0, reversible=True, codecformat="j2k", bitspersample=ds.BitsStored,
                                           mct=ds.PhotometricInterpretation == "YBR_RCT"))  # fmt: skip


def _by_pydicom(syntax: str):
    def encode(frame: np.ndarray, ds: Dataset) -> bytes:
        return bytes(get_encoder(syntax).encode(
            frame, rows=ds.Rows, columns=ds.Columns, samples_per_pixel=ds.SamplesPerPixel, number_of_frames=1,
            bits_allocated=ds.BitsAllocated, bits_stored=ds.BitsStored, pixel_representation=ds.PixelRepresentation,
            planar_configuration=0, photometric_interpretation=ds.PhotometricInterpretation, pixel_keyword="PixelData"))  # fmt: skip
    return encode


_ENCODE = {JPEGBaseline8Bit: _jpeg, JPEG2000Lossless: _jpeg_2000, RLELossless: _by_pydicom(RLELossless),
           JPEGLSLossless: _by_pydicom(JPEGLSLossless)}  # fmt: skip
