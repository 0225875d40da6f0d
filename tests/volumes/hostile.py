"""Images in every transfer syntax, and what a broken disk, a bad network or an attacker makes of them."""

import copy
import io
import random
import struct
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from .synthetic import grid, series

SHAPE = (1, 24, 20)
# Sizes, counts and lengths that lie: Rows, Columns, NumberOfFrames, BitsAllocated, lengths of elements.
_LIES = (b"\xff\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\0\0\0\x10", b"99999999", b"\x40\0")


def image() -> Dataset:
    """A slice of noise."""
    values = np.random.default_rng(3).integers(0, 4000, SHAPE)
    (ds,) = series(grid(shape=SHAPE), array=values)
    return ds


def enhanced(count: int = 4) -> Dataset:
    """An enhanced MR of as many frames, oblique and anisotropic."""
    place = grid(shape=(count, 24, 20))
    slices = sorted(series(place), key=lambda ds: -ds.InstanceNumber)
    ds = copy.deepcopy(slices[0])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept",
                    "SliceThickness"):  # fmt: skip
        delattr(ds, keyword)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    ds.Modality, ds.NumberOfFrames, ds.ImageType = "MR", count, ["ORIGINAL", "PRIMARY", "M", "NONE"]
    ds.SharedFunctionalGroupsSequence = [_shared(slices[0])]
    order = np.random.default_rng(2).permutation(count)
    ds.PerFrameFunctionalGroupsSequence = [_own(slices[n]) for n in order]
    ds.PixelData = b"".join(slices[n].PixelData for n in order)
    return ds


def _group(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _shared(ds: Dataset) -> Dataset:
    return _group(
        PlaneOrientationSequence=[_group(ImageOrientationPatient=ds.ImageOrientationPatient)],
        PixelMeasuresSequence=[_group(PixelSpacing=ds.PixelSpacing, SliceThickness=ds.SliceThickness)],
    )


def _own(ds: Dataset) -> Dataset:
    return _group(
        PlanePositionSequence=[_group(ImagePositionPatient=ds.ImagePositionPatient)],
        PixelValueTransformationSequence=[_group(RescaleSlope=ds.RescaleSlope, RescaleIntercept=ds.RescaleIntercept)],
        FrameContentSequence=[_group(TemporalPositionIndex=1)],
    )


def written(ds: Dataset) -> bytes:
    """A whole PS3.10 file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def compressed(ds: Dataset, syntax: str, frame: bytes) -> bytes:
    """The file with one encoded frame."""
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length, ds["PixelData"].VR = True, "OB"
    return written(ds)


def images() -> dict[str, bytes]:
    """One file by name of each kind."""
    values = np.frombuffer(image().PixelData, np.uint16).reshape(SHAPE[1:])
    made = {"explicit": written(image()), "enhanced": written(enhanced())}
    for name, syntax in (("implicit", ImplicitVRLittleEndian), ("deflated", DeflatedExplicitVRLittleEndian),
                         ("big endian", ExplicitVRBigEndian)):  # fmt: skip
        ds = image()
        ds.file_meta.TransferSyntaxUID = syntax
        made[name] = written(ds)
    ds = image()
    ds.compress(RLELossless, generate_instance_uid=False)
    made["RLE"] = written(ds)
    made["JPEG-LS"] = compressed(image(), JPEGLSLossless, imagecodecs.jpegls_encode(values))
    made["JPEG lossless"] = compressed(image(), JPEGLosslessSV1, imagecodecs.ljpeg_encode(values))
    made["JPEG 2000"] = compressed(image(), JPEG2000Lossless, imagecodecs.jpeg2k_encode(
        values.view(np.int16), level=0, reversible=True, codecformat="j2k"))  # fmt: skip
    return made


def attacks(bases: dict[str, bytes], count: int, chance: random.Random) -> Iterator[bytes]:
    """Mutated files: flipped bytes, cut ends, lying lengths and sizes, and bombs in between."""
    bombs, kinds = _bombs(bases), list(bases.values())
    for number in range(count):
        if number % 50 == 0:
            yield bombs[number // 50 % len(bombs)]
            continue
        data = bytearray(chance.choice(kinds))
        for _ in range(chance.choice((1, 1, 2, 4, 12))):
            data[chance.randrange(128, len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            lie, at = chance.choice(_LIES), chance.randrange(132, len(data) - 8)
            data[at : at + len(lie)] = lie
        yield bytes(data[: chance.randrange(len(data))]) if chance.random() < 0.25 else bytes(data)


def _bombs(bases: dict[str, bytes]) -> list[bytes]:
    return [*_announcing(bases), deflate_bomb(bases["deflated"])]


def _announcing(bases: dict[str, bytes]) -> Iterator[bytes]:
    """Little files that announce much: rows and columns, frames, components, tiles."""
    for name in bases:
        data = bases[name]
        for tag in (b"\x28\0\x10\0US\2\0", b"\x28\0\x11\0US\2\0"):  # Rows, Columns
            at = data.find(tag)
            if at > 0:
                yield data[: at + 8] + b"\xff\xff" + data[at + 10 :]
    for what in (8, 12, 24, 28, 40):  # image and tile size, components, in the SIZ segment
        data = bytearray(bases["JPEG 2000"])
        at = data.find(b"\xff\x4f\xff\x51") + what
        data[at : at + 2] = b"\x7f\xff"
        yield bytes(data)


def deflate_bomb(head: bytes) -> bytes:
    """A deflated file whose data set inflates to 600 MB."""
    start = head.find(b"1.2.840.10008.1.2.1.99") + 22
    squeeze = zlib.compressobj(9, wbits=-15)
    return head[:start] + squeeze.compress(struct.pack("<HH2sHI", 0x0009, 0x0010, b"OB", 0, 1 << 31)) + b"".join(
        squeeze.compress(bytes(1 << 20)) for _ in range(600)) + squeeze.flush()
