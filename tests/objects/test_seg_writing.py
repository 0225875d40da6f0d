"""SEGs as they are written: every type, beside what highdicom writes and what highdicom, dcmqi and pydicom read."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement

from ailab_kernel.archives.archive import open_archive
from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.objects.seg import read_seg, read_segments, write_seg
from ailab_kernel.objects.seg.colors import color_of, lab_of
from ailab_kernel.objects.sr import write_sr
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.nifti import mask_from_nifti
from ailab_kernel.volumes.resample import to_grid
from ailab_kernel.volumes.series import volume_from_datasets
from tests.objects.drawings import LABELS, PLACE, PROVENANCE, complaints, encoded, many_labels, two_labels
from tests.services import orthanc
from tests.volumes.hostile import enhanced
from tests.volumes.synthetic import grid, series

KINDS = [("BINARY", None), ("FRACTIONAL", None), ("LABELMAP", None), ("LABELMAP", "RLE"), ("LABELMAP", "JPEG-LS")]


@pytest.fixture
def vol():
    return volume_from_datasets(series(PLACE))


@pytest.fixture
def overlapping():
    one, other = two_labels().array == 1, two_labels().array == 2
    return {LABELS[0]: one | other, LABELS[1]: other}


def by_highdicom(seg) -> np.ndarray:
    """Boolean arrays by segment on the whole grid: (segments, slices, rows, columns); highdicom crops empty slices."""
    theirs = highdicom.seg.Segmentation.from_dataset(seg)
    found = theirs.get_volume(combine_segments=False, rescale_fractional=False)
    whole = np.zeros((found.array.shape[-1], *PLACE.shape), bool)
    index = np.linalg.inv(PLACE.affine) @ found.affine
    for k in range(found.array.shape[0]):
        at = index @ [k, 0, 0, 1]
        assert np.allclose(at[1:3], 0, atol=1e-6)
        assert np.allclose(index[:3, 1:3], [[0, 0], [1, 0], [0, 1]], atol=1e-6)
        whole[:, round(at[0])] = np.moveaxis(found.array[k] > 0, -1, 0)
    return whole


@pytest.mark.parametrize(("kind", "compression"), KINDS)
@pytest.mark.parametrize("shape", [(7, 10, 12), (5, 7, 9), (3, 16, 8), (1, 6, 11)])
def test_every_type_comes_back_voxel_for_voxel(kind, compression, shape):
    """Frames of 63 and 66 pixels end within a byte, so that their bits run on in the next frame's."""
    place = grid(shape=shape)
    vol, mask = volume_from_datasets(series(place)), many_labels(9, place)
    again = read_seg(read_dataset(encoded(write_seg(mask, vol, PROVENANCE, kind=kind, compression=compression))), vol)
    assert np.array_equal(again.array, mask.array)
    assert [label.code for label in again.labels] == [label.code for label in mask.labels]


@pytest.mark.parametrize(("kind", "compression"), KINDS)
def test_no_type_has_an_error(vol, tmp_path, kind, compression):
    assert complaints(write_seg(two_labels(), vol, PROVENANCE, kind=kind, compression=compression), tmp_path) == []


@pytest.mark.filterwarnings("ignore:The number of bytes of compressed")  # by chance equal to the plain number
@pytest.mark.parametrize(("kind", "compression"), KINDS)
def test_highdicom_reads_the_same_voxels(vol, kind, compression):
    mask = two_labels()
    seg = read_dataset(encoded(write_seg(mask, vol, PROVENANCE, kind=kind, compression=compression)))
    assert np.array_equal(by_highdicom(seg), np.stack([mask.array == 1, mask.array == 2]))


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_pixels_and_groups_are_what_highdicom_writes(vol, kind):
    """The same frames of the same segments at the same places from the same sources; only their order is another."""
    ours = read_dataset(encoded(write_seg(two_labels(), vol, PROVENANCE, kind=kind)))
    theirs = written_by_highdicom(two_labels(), vol, kind)
    one, other = frames_of(ours), frames_of(theirs)
    assert sorted(one) == sorted(other)
    for key, (pixels, derivation) in one.items():
        assert np.array_equal(pixels, other[key][0])
        assert derivation == other[key][1]
    for keyword in (
        "SegmentationType",
        "SegmentsOverlap",
        "NumberOfFrames",
        "BitsAllocated",
        "SOPClassUID",
        "Modality",
    ):
        assert ours[keyword] == theirs[keyword]


def frames_of(seg):
    found = {}
    for pixels, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        named = group.get("SegmentIdentificationSequence")
        place = tuple(round(float(v), 3) for v in group.PlanePositionSequence[0].ImagePositionPatient)
        found[named[0].ReferencedSegmentNumber if named else 0, place] = pixels, group.DerivationImageSequence
    return found


def written_by_highdicom(mask, vol, kind):
    description = [
        highdicom.seg.SegmentDescription(
            label.index, label.name, highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure"),
            highdicom.sr.CodedConcept(label.code.value, label.code.scheme, label.code.meaning), "MANUAL")
        for label in mask.labels
    ]  # fmt: skip
    return highdicom.seg.Segmentation(
        list(vol.headers), mask.array, kind, description, highdicom.UID(), 1, highdicom.UID(), 1, "m", "m", "1", "1",
        dimension_organization_type=None,
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "compression"), [case for case in KINDS if case[0] != "FRACTIONAL"])
def test_more_than_255_segments(kind, compression):
    place = grid(shape=(4, 16, 24))
    vol, mask = volume_from_datasets(series(place)), many_labels(300, place)
    seg = read_dataset(encoded(write_seg(mask, vol, PROVENANCE, kind=kind, compression=compression)))
    again = read_seg(seg, vol)
    assert again.array.dtype == np.uint16
    assert np.array_equal(again.array, mask.array)
    assert seg.BitsAllocated == (16 if kind == "LABELMAP" else 1)


def test_segments_that_overlap_stay_apart(vol, overlapping, tmp_path):
    written = write_seg(overlapping, vol, PROVENANCE)
    seg = read_dataset(encoded(written))
    assert seg.SegmentsOverlap == "YES"
    again = read_segments(seg, vol)
    assert all(np.array_equal(again[label], array) for label, array in zip(again, overlapping.values(), strict=True))
    assert np.array_equal(by_highdicom(seg), np.stack(list(overlapping.values())))
    assert complaints(written, tmp_path) == []
    with pytest.raises(ObjectError, match="kind='BINARY'"):
        write_seg(overlapping, vol, PROVENANCE, kind="LABELMAP")
    with pytest.raises(ObjectError, match="read_segments keeps them apart"):
        read_seg(seg, vol)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_that_do_not_overlap_are_a_mask(vol, kind):
    mask = two_labels()
    apart = write_seg({label: mask.where(label) for label in mask.labels}, vol, PROVENANCE, kind=kind)
    assert encoded(apart) == encoded(write_seg(mask, vol, PROVENANCE, kind=kind))


def test_what_is_read_can_be_written(vol, overlapping):
    seg = write_seg(overlapping, vol, PROVENANCE)
    again = write_seg(read_segments(seg, vol), vol, PROVENANCE)
    assert again.PixelData == seg.PixelData


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_colours_come_back(color):
    assert color_of(lab_of(color)) == color
    theirs = np.array(highdicom.color.CIELabColor.from_rgb(*color).value, int)
    assert np.abs(np.array(lab_of(color)) - theirs).max() <= 32, "its white has two digits less"


def test_labels_keep_their_meaning_and_colour(vol):
    labels = (replace(LABELS[0], color=(1, 200, 33)), LABELS[1])
    seg = write_seg(Mask(two_labels().array, PLACE, labels), vol, PROVENANCE)
    assert read_seg(seg, vol).labels == labels


class Counted(tuple):
    """Headers that note who looks at them."""

    def __new__(cls, headers):
        made = super().__new__(cls, headers)
        made.asked = set()
        return made

    def __getitem__(self, place):
        self.asked.add(place)
        return super().__getitem__(place)

    def __iter__(self):
        pytest.fail("every header was looked at")


def test_one_header_is_enough(vol):
    """Headers may be parsed when they are looked at: two hundred of them take longer than the SEG."""
    headers = Counted(vol.headers)
    seg = write_seg(two_labels(), replace(vol, headers=headers), PROVENANCE)
    write_sr(two_labels(), replace(vol, headers=headers), PROVENANCE, seg=seg)
    assert headers.asked == {0}


@pytest.mark.parametrize("meaning", ["PROBABILITY", "OCCUPANCY"])
def test_fractions_come_back(vol, meaning):
    values = np.random.default_rng(3).random(PLACE.shape, np.float32)
    values[0] = 0
    seg = read_dataset(encoded(write_seg({LABELS[0]: values}, vol, PROVENANCE, kind="FRACTIONAL", fractional=meaning)))
    assert (seg.SegmentationFractionalType, seg.MaximumFractionalValue) == (meaning, 255)
    found = read_segments(seg, vol, fractional=True)[next(iter(read_segments(seg, vol)))]
    assert found.dtype == np.float32
    assert np.abs(found - values).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(read_seg(seg, vol).array == 1, np.rint(values * 255) >= 127.5)


def test_labels_of_other_values_are_numbered_in_their_order(vol):
    mask = two_labels()
    array = np.select([mask.array == 1, mask.array == 2], [200, 7]).astype(np.uint8)
    other = Mask(array, PLACE, (replace(LABELS[0], index=200), replace(LABELS[1], index=7)))
    for kind in ("BINARY", "LABELMAP"):
        seg = write_seg(other, vol, PROVENANCE, kind=kind)
        assert np.array_equal(read_seg(seg, vol).array, mask.array)
        assert [label.name for label in read_segments(seg, vol)] == ["heart-wall", "heart-cavity"]


@pytest.mark.parametrize(("kind", "compression"), KINDS)
def test_a_repeat_is_equal_byte_for_byte(vol, kind, compression):
    one, other = (write_seg(two_labels(), v, PROVENANCE, kind=kind, compression=compression)
                  for v in (vol, volume_from_datasets(series(PLACE))))  # fmt: skip
    assert encoded(one) == encoded(other)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_nothing_found_is_a_result_of_every_type(vol, kind):
    empty = Mask(np.zeros(PLACE.shape, np.uint8), PLACE, LABELS)
    seg = read_dataset(encoded(write_seg(empty, vol, PROVENANCE, kind=kind)))
    assert seg.NumberOfFrames == (7 if kind == "LABELMAP" else 14)
    assert not read_seg(seg, vol).array.any()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "SURFACE"},
        {"kind": "LABELMAP", "compression": "JPEG"},
        {"kind": "BINARY", "compression": "RLE"},
        {"kind": "FRACTIONAL", "compression": "JPEG-LS"},
    ],
)
def test_types_that_do_not_exist_are_refused(vol, change):
    with pytest.raises(ObjectError, match="LABELMAP may be compressed"):
        write_seg(two_labels(), vol, PROVENANCE, **change)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("BINARY", 0.5),
        ("LABELMAP", 0.5),
        ("FRACTIONAL", 1.5),
        ("FRACTIONAL", -0.1),
        ("FRACTIONAL", np.nan),
    ],
)
def test_fractions_are_written_as_fractions_only(vol, kind, value):
    values = np.zeros(PLACE.shape, np.float32)
    values[3, 4, 5] = value
    with pytest.raises(ObjectError, match="choose a threshold"):
        write_seg({LABELS[0]: values}, vol, PROVENANCE, kind=kind)


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 8, 8), (4, 16, 24)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_voxels_are_counted_by_slice(shape, dtype):
    largest = 255 if dtype == np.uint8 else 700
    random = np.random.default_rng(2)
    array = random.integers(0, largest + 1, shape).astype(dtype) * (random.random(shape) < 0.3).astype(dtype)
    mask = Mask(array, grid(shape=shape), (replace(LABELS[0], index=900),))
    expected = np.stack([np.bincount(plane.ravel(), minlength=901) for plane in array])
    assert np.array_equal(mask.slice_counts, expected)
    assert np.array_equal(mask.counts, np.bincount(array.ravel(), minlength=901))


def test_a_label_beyond_every_value_is_a_segment_without_a_frame(vol):
    mask = Mask(two_labels().array, PLACE, (*LABELS, replace(LABELS[0], index=300, name="other")))
    seg = write_seg(mask, vol, PROVENANCE)
    assert [label.name for label in read_seg(seg, vol).labels] == ["heart-wall", "heart-cavity", "other"]
    assert seg.NumberOfFrames == 7


def test_labels_that_share_a_value_are_refused(vol):
    for labels in ((LABELS[0], replace(LABELS[1], index=1)), (LABELS[0], replace(LABELS[1], index=0))):
        with pytest.raises(ObjectError, match="a value of its own"):
            write_seg(Mask((two_labels().array == 1).astype(np.uint8), PLACE, labels), vol, PROVENANCE)


def test_segments_of_another_shape_are_refused(vol):
    with pytest.raises(ObjectError, match="resample"):
        write_seg({LABELS[0]: np.zeros((7, 10, 11), bool)}, vol, PROVENANCE)
    with pytest.raises(ObjectError, match="no labels"):
        write_seg({}, vol, PROVENANCE)


def test_groups_stay_bytes_until_they_are_asked_for(vol):
    """What makes thousands of frames fast; who asks gets pydicom's sequence."""
    seg = write_seg(two_labels(), vol, PROVENANCE)
    before = encoded(seg)
    assert isinstance(seg.get_item(0x52009230), RawDataElement)
    assert isinstance(read_dataset(before).get_item(0x52009230), RawDataElement)
    assert len(seg.PerFrameFunctionalGroupsSequence) == seg.NumberOfFrames
    assert encoded(seg) == before, "parsed and encoded again it is the same"


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_dcmqi_reads_what_is_written(vol, tmp_path, kind):
    mask = two_labels()
    (tmp_path / "seg.dcm").write_bytes(encoded(write_seg(mask, vol, PROVENANCE, kind=kind)))
    subprocess.run([Path(sys.executable).with_name("segimage2itkimage"), "--inputDICOM", tmp_path / "seg.dcm",
                    "--outputDirectory", tmp_path, "-t", "nifti"], check=True, capture_output=True)  # fmt: skip
    json.loads(next(tmp_path.glob("*.json")).read_text())
    found = np.zeros(PLACE.shape, np.uint8)
    for number, path in enumerate(sorted(tmp_path.glob("*.nii.gz")), 1):
        theirs = mask_from_nifti(path, ())
        values = theirs.array if kind == "LABELMAP" else number * (theirs.array > 0).astype(np.uint8)
        found += to_grid(values, theirs.grid, PLACE, mode="nearest")
    assert np.array_equal(found, mask.array)


def test_orthanc_gives_back_what_it_got(vol, tmp_path):
    written = [write_seg(two_labels(), vol, replace(PROVENANCE, made_from=(kind,)), kind=kind)
               for kind in ("BINARY", "LABELMAP", "FRACTIONAL")]  # fmt: skip
    with orthanc(tmp_path / "orthanc") as server:
        archive = open_archive(server.url)
        archive.store(written)
        found = archive.search_series(written[0].StudyInstanceUID)
        back = {str(seg.SOPInstanceUID): seg for one in found for seg in archive.retrieve(one)}
        for seg in written:
            assert np.array_equal(read_seg(back[seg.SOPInstanceUID], vol).array, two_labels().array)


def test_a_seg_on_an_enhanced_image_refers_to_its_frames():
    source = enhanced()
    vol = volume_from_datasets([source])
    array = np.zeros(vol.grid.shape, np.uint8)
    array[1:3, 4:9, 5:11] = 1
    seg = read_dataset(encoded(write_seg(Mask(array, vol.grid, LABELS[:1]), vol, PROVENANCE)))
    assert np.array_equal(read_seg(seg, vol).array, array)
    referred = [group.DerivationImageSequence[0].SourceImageSequence[0] for group in seg.PerFrameFunctionalGroupsSequence]
    assert {one.ReferencedSOPInstanceUID for one in referred} == {source.SOPInstanceUID}
    positions = [source.PerFrameFunctionalGroupsSequence[one.ReferencedFrameNumber - 1].PlanePositionSequence[0]
                 .ImagePositionPatient for one in referred]  # fmt: skip
    assert np.allclose(positions, [(vol.affine_lps @ [n, 0, 0, 1])[:3] for n in (1, 2)], atol=1e-4)
