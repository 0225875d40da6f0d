"""Boxes inside Pixel Data: any colour space, native and compressed; the rest keeps its values, and its bytes."""

import subprocess
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_fragmented_frames
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from ailab_kernel.ground.errors import DicomError
from ailab_kernel.privacy.pixels.boxes import Box
from ailab_kernel.privacy.pixels.pictures.frames import Frames
from ailab_kernel.privacy.pixels.pictures.masking import clear_spare_bits, mask
from tests.services import need_service

from .burned import anatomy, image
from .objects import file_of

BOX = Box(3, 5, 17, 30)
LITTLE, IMPLICIT, BIG, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
FRAMES = np.stack([anatomy(40, 58, seed=number) for number in range(4)])


def again(ds: Dataset) -> Dataset:
    """The object as a reader of its file sees it."""
    made = dcmread(BytesIO(file_of(ds)))
    made.pixel_array  # noqa: B018 - decodes
    return made


def check(ds: Dataset, before: np.ndarray, boxes: dict[int, tuple[Box, ...]]) -> None:
    """Inside of boxes nothing is left, outside nothing changed."""
    after = again(ds).pixel_array
    frames = after[None] if len(boxes) and ds.get("NumberOfFrames") is None else after
    was = before[None] if ds.get("NumberOfFrames") is None else before
    for index, (old, new) in enumerate(zip(was, frames, strict=True)):
        hidden = np.zeros(old.shape[:2], bool)
        for box in boxes.get(index, ()):
            box.of(hidden)[...] = True
            assert len(np.unique(box.of(new).reshape(-1, *new.shape[2:]), axis=0)) == 1
        np.testing.assert_array_equal(old[~hidden], new[~hidden])
    assert ds.BurnedInAnnotation == "NO"
    assert ds.DerivationDescription == "burned-in text masked"


@pytest.mark.parametrize("syntax", [LITTLE, IMPLICIT, BIG, DEFLATED], ids=["explicit", "implicit", "big", "deflated"])
@pytest.mark.parametrize(("photometric", "bits", "more"), [
    ("MONOCHROME2", 8, {}), ("MONOCHROME1", 8, {}), ("MONOCHROME2", 12, {}), ("MONOCHROME2", 16, {"PixelRepresentation": 1}),
    ("MONOCHROME1", 12, {"PixelRepresentation": 1}), ("RGB", 8, {}), ("RGB", 8, {"planar": 1}), ("YBR_FULL", 8, {}),
    ("YBR_FULL_422", 8, {}), ("PALETTE COLOR", 8, {}),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*Explicit VR Big Endian.*")
def test_native(syntax, photometric, bits, more):
    ds = image(FRAMES, photometric=photometric, bits=bits, syntax=syntax, **more)
    before, size = ds.pixel_array.copy(), len(ds.PixelData)
    box = BOX if photometric != "YBR_FULL_422" else Box(3, 4, 17, 30)
    mask(ds, {1: (box, Box(30, 40, 40, 58)), 3: (box,)})
    assert len(ds.PixelData) == size
    check(ds, before, {1: (box, Box(30, 40, 40, 58)), 3: (box,)})
    value = box.of(again(ds).pixel_array[1]).reshape(-1, *before.shape[3:])[0]
    shown = {"MONOCHROME1": before[1].max(), "PALETTE COLOR": before[1].max()}.get(photometric, before[1].min() if before.ndim == 3 else 0)
    assert (value == shown).all()


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=["rle", "jpeg-ls", "jpeg-2000"])
@pytest.mark.parametrize(("photometric", "bits", "more"), [
    ("MONOCHROME2", 8, {}), ("MONOCHROME1", 12, {}), ("MONOCHROME2", 16, {"PixelRepresentation": 1}), ("RGB", 8, {}), ("PALETTE COLOR", 8, {}),
])  # fmt: skip
def test_compressed_without_loss_keeps_the_bytes_of_other_frames(syntax, photometric, bits, more):
    if photometric == "MONOCHROME2" and bits == 16 and syntax == JPEG2000Lossless:
        bits = 12
    ds = image(FRAMES, photometric=photometric, bits=bits, syntax=syntax, **more)
    before, was = ds.pixel_array.copy(), Frames(ds).fragments
    mask(ds, {2: (BOX,)})
    assert ds.file_meta.TransferSyntaxUID == syntax
    now = Frames(ds).fragments
    assert [index for index in range(4) if was[index] != now[index]] == [2]
    check(ds, before, {2: (BOX,)})


def test_reversible_colours_stay_what_they_are():
    ds = image(FRAMES, photometric="YBR_RCT", syntax=JPEG2000Lossless)
    before, was = ds.pixel_array.copy(), Frames(ds).fragments
    mask(ds, {3: (BOX,)})
    assert ds.PhotometricInterpretation == "YBR_RCT"
    assert Frames(ds).fragments[:3] == was[:3]
    check(ds, before, {3: (BOX,)})


def test_fragments_of_other_frames_stay_as_they_are():
    ds = image(FRAMES, syntax=JPEGLSLossless)
    before = ds.pixel_array.copy()
    ds.PixelData = encapsulate([one[0] for one in Frames(ds).fragments], fragments_per_frame=3, has_bot=True)
    mask(ds, {0: (BOX,)})
    parts = [len(one) for one in generate_fragmented_frames(ds.PixelData, number_of_frames=4)]
    assert parts == [1, 3, 3, 3]
    check(ds, before, {0: (BOX,)})


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "YBR_FULL_422"])
def test_jpeg_becomes_lossless_and_keeps_its_history(photometric):
    ds = image(FRAMES, photometric=photometric, syntax=JPEGBaseline8Bit, LossyImageCompression="01", LossyImageCompressionRatio="9.5")
    before = ds.pixel_array.copy()
    mask(ds, {0: (BOX,), 1: (BOX,)})
    assert ds.file_meta.TransferSyntaxUID == JPEGLSLossless
    assert (ds.LossyImageCompression, str(ds.LossyImageCompressionRatio)) == ("01", "9.5")
    assert ds.PhotometricInterpretation == ("RGB" if photometric[:3] == "YBR" else photometric)
    check(ds, before, {0: (BOX,), 1: (BOX,)})


@pytest.mark.parametrize(("syntax", "tool"), [(RLELossless, "dcmdrle"), (JPEGLSLossless, "dcmdjpls"), (JPEGBaseline8Bit, "dcmdjpls")])
def test_dcmtk_reads_what_was_masked(syntax, tool, tmp_path):
    need_service(tool, package="dcmtk")
    ds = image(FRAMES, photometric="MONOCHROME2", syntax=syntax)
    before = ds.pixel_array.copy()
    mask(ds, {1: (BOX,)})
    (tmp_path / "in.dcm").write_bytes(file_of(ds))
    subprocess.run([tool, tmp_path / "in.dcm", tmp_path / "out.dcm"], check=True, capture_output=True)
    out = dcmread(tmp_path / "out.dcm").pixel_array
    assert (BOX.of(out[1]) == before[1].min()).all()
    out[1, BOX.top:BOX.bottom, BOX.left:BOX.right] = before[1, BOX.top:BOX.bottom, BOX.left:BOX.right]
    np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize("signed", [0, 1])
def test_an_overlay_in_spare_bits_goes(signed):
    ds = image(FRAMES[:1], bits=12, PixelRepresentation=signed)
    before = np.frombuffer(ds.PixelData, "<i2" if signed else "<u2").copy()
    ds.PixelData = ((before.view("<u2") & 0x0FFF) | 0x4000).tobytes()
    assert not clear_spare_bits(ds)
    ds.add_new(0x60000102, "US", 14)
    assert clear_spare_bits(ds)
    np.testing.assert_array_equal(np.frombuffer(ds.PixelData, before.dtype), before)


def test_one_bit_and_nothing_to_do():
    ds = image(FRAMES[:1])
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelData = 1, 1, 0, np.packbits(FRAMES[0] > 80, bitorder="little").tobytes()
    before = ds.pixel_array.copy()
    mask(ds, {0: (BOX,)})
    check(ds, before, {0: (BOX,)})
    untouched = image(FRAMES, syntax=RLELossless)
    was = untouched.PixelData
    mask(untouched, {0: (), 2: ()})
    assert untouched.PixelData == was
    assert "BurnedInAnnotation" not in untouched


@pytest.mark.parametrize("change", [{"Rows": 4000}, {"Rows": 0}, {"SamplesPerPixel": 2}, {"BitsAllocated": 12}, {"NumberOfFrames": 9}])
def test_headers_that_lie_are_told(change):
    ds = image(FRAMES)
    for keyword, value in change.items():
        setattr(ds, keyword, value)
    with pytest.raises(DicomError):
        mask(ds, {0: (BOX,)})


def test_bitstreams_that_are_broken_are_told():
    ds = image(FRAMES, photometric="RGB", syntax=JPEGLSLossless)
    ds.PixelData = encapsulate([b"\xff\xd8\xff\xf7broken"] * 4)
    with pytest.raises(DicomError):
        mask(ds, {0: (BOX,)})
