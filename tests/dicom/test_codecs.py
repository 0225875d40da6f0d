"""What the archive may send: the same stored values, however they were compressed."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import DicomError
from ailab_kernel.volumes.series.frames import planes_of
from ailab_kernel.volumes.series.instance import instance_of
from tests.volumes.synthetic import grid, series

PLACE = grid(shape=(1, 33, 47))
VALUES = np.random.default_rng(1).integers(-1024, 3071, PLACE.shape).astype(np.int16)
GDCMCONV = {"--j2k": "JPEG 2000", "--jpeg": "JPEG Lossless", "--jpegls": "JPEG-LS", "--rle": "RLE"}


def encoded(ds):
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def decoded(ds):
    (plane,) = planes_of(instance_of(ds))
    out = np.empty(plane.shape, plane.dtype)
    plane.read(out)
    return out


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian,
                                    DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless], ids=lambda uid: uid.name)
def test_every_syntax_gives_the_same_values(syntax):
    (ds,) = series(PLACE, array=VALUES)
    if syntax in (RLELossless, JPEGLSLossless):
        ds.compress(syntax, generate_instance_uid=False)
    else:
        ds.file_meta.TransferSyntaxUID = syntax
        ds.PixelData = VALUES[0].astype(">i2" if syntax == ExplicitVRBigEndian else "<i2").tobytes()
        ds["PixelData"].VR = "OW"
    assert np.array_equal(decoded(read_dataset(encoded(ds))), VALUES[0])


@pytest.mark.parametrize("how", GDCMCONV, ids=GDCMCONV.get)
def test_what_another_tool_compressed(tmp_path, how):
    (ds,) = series(PLACE, array=VALUES)
    (tmp_path / "plain.dcm").write_bytes(encoded(ds))
    subprocess.run([Path(sys.executable).with_name("gdcmconv"), how, tmp_path / "plain.dcm", tmp_path / "small.dcm"],
                   check=True, capture_output=True)  # fmt: skip
    again = read_dataset(tmp_path / "small.dcm")
    assert again.file_meta.TransferSyntaxUID.is_compressed
    assert np.array_equal(decoded(again), VALUES[0])


def test_damaged_compressed_pixels_are_one_error():
    (ds,) = series(PLACE, array=VALUES)
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.PixelData = ds.PixelData[:40]
    with pytest.raises(DicomError):
        decoded(ds)
