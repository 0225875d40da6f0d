"""SEGs as they come: frames in any order, direction and crop, off the grid, compressed, foreign, and lying."""

import time
import tracemalloc
from contextlib import suppress
from copy import deepcopy

import highdicom
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import DicomError, ObjectError
from ailab_kernel.objects.seg import read_seg, read_segments, seg_grid, write_seg
from ailab_kernel.objects.seg.elements import element, item
from ailab_kernel.objects.seg.groups import PER_FRAME
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.resample import to_grid
from ailab_kernel.volumes.series import volume_from_datasets, volumes_from_folder
from tests.objects.drawings import LABELS, PLACE, PROVENANCE, encoded, two_labels
from tests.objects.test_seg_sr import nrrd
from tests.objects.test_seg_writing import written_by_highdicom
from tests.volumes.synthetic import grid, series

VOL = volume_from_datasets(series(PLACE))
WRITTEN = {kind: encoded(write_seg(two_labels(), VOL, PROVENANCE, kind=kind))
           for kind in ("BINARY", "LABELMAP", "FRACTIONAL")}  # fmt: skip


def frames_changed(seg, order=None, rows=slice(None), columns=slice(None)):
    """The SEG with its frames in another order and cropped, their positions moved along."""
    order = list(range(seg.NumberOfFrames)) if order is None else order
    pixels = seg.pixel_array[order][:, rows, columns]
    groups = [deepcopy(seg.PerFrameFunctionalGroupsSequence[n]) for n in order]
    at = (PLACE.affine[:3, 1] * (rows.start or 0), PLACE.affine[:3, 2] * (columns.start or 0))
    for group in groups:
        plane = group.PlanePositionSequence[0]
        plane.ImagePositionPatient = [f"{v:.10g}" for v in np.array(plane.ImagePositionPatient, float) + sum(at)]
    seg.NumberOfFrames, seg.Rows, seg.Columns = pixels.shape
    seg.PerFrameFunctionalGroupsSequence = groups
    seg.PixelData = (np.packbits(pixels, bitorder="little") if seg.BitsAllocated == 1 else pixels).tobytes()
    seg.PixelData += b"\0" * (len(seg.PixelData) % 2)
    return seg


def parsed(data):
    """The data set with its frames' groups decoded by pydicom."""
    ds = read_dataset(data)
    assert len(ds.PerFrameFunctionalGroupsSequence) == ds.NumberOfFrames
    return ds


@pytest.mark.parametrize("kind", list(WRITTEN))
@pytest.mark.parametrize("read", [read_dataset, parsed])
def test_scanned_and_parsed_groups_are_the_same(kind, read):
    assert np.array_equal(read_seg(read(WRITTEN[kind]), VOL).array, two_labels().array)


@pytest.mark.parametrize("kind", list(WRITTEN))
@pytest.mark.parametrize("outside", [True, False])
def test_groups_of_undefined_length_are_read(kind, outside):
    """Other tools end sequences and items with delimiters (PS3.5 7.5.2)."""
    seg = read_dataset(WRITTEN[kind])
    seg["PerFrameFunctionalGroupsSequence"].is_undefined_length = outside
    for group in seg.PerFrameFunctionalGroupsSequence:
        group.is_undefined_length_sequence_item = True
        for one in group:
            one.is_undefined_length = True
    again = read_dataset(encoded(seg))
    assert isinstance(again.get_item(PER_FRAME), RawDataElement) is not outside
    assert np.array_equal(read_seg(again, VOL).array, two_labels().array)


@pytest.mark.parametrize("kind", list(WRITTEN))
def test_frames_in_any_order_and_cropped(kind):
    seg = read_dataset(WRITTEN[kind])
    order = np.random.default_rng(1).permutation(seg.NumberOfFrames).tolist()
    changed = frames_changed(seg, order, slice(2, 8), slice(3, 11))
    for read in (read_dataset, parsed):
        assert np.array_equal(read_seg(read(encoded(changed)), VOL).array, two_labels().array)


def test_empty_margins_may_reach_beyond_the_grid():
    small = Grid((4, 5, 8), PLACE.affine @ np.array([[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1.0]]))
    mask = two_labels().array[1:5, 2:7, 3:11]
    seg = read_dataset(WRITTEN["BINARY"])
    with pytest.raises(ObjectError, match="beyond this grid"):
        read_seg(seg, small)
    inside = Mask(np.where(np.arange(7)[:, None, None] < 5, two_labels().array, 0), PLACE, LABELS)
    assert np.array_equal(read_seg(write_seg(inside, VOL, PROVENANCE), small).array, mask)


@pytest.mark.parametrize("kind", list(WRITTEN))
@pytest.mark.parametrize(("shape", "spacing", "turn"), [
    ((13, 20, 24), (1.85, 0.65, 0.45), (12, -7, 23)), ((6, 9, 11), (4, 1.5, 1.1), (12, -7, 23)),
    ((9, 13, 11), (3, 1.1, 1.0), (-5, 9, 40)),
])  # fmt: skip
def test_another_grid_is_refused_or_resampled_on_request(kind, shape, spacing, turn):
    other = grid(shape=shape, spacing=spacing, turn=turn, origin=(-30.6, 17.2, 211.9))
    seg = read_dataset(WRITTEN[kind])
    with pytest.raises(ObjectError, match="resample=True"):
        read_seg(seg, other)
    expected = to_grid(two_labels().array, PLACE, other, mode="nearest")
    assert expected.any()
    assert np.array_equal(read_seg(seg, other, resample=True).array, expected)
    apart = read_segments(seg, other, resample=True)
    assert all(np.array_equal(array, expected == label.index) for label, array in apart.items())


def test_twice_the_pixel_size_is_another_resolution():
    """Every second voxel of the grid would be hit exactly: still not this grid."""
    coarse = Grid((7, 5, 6), PLACE.affine @ np.diag([1, 2, 2, 1.0]))
    mask = Mask(two_labels().array[:, ::2, ::2].copy(), coarse, LABELS)
    seg = write_seg(mask, volume_from_datasets(series(coarse)), PROVENANCE)
    with pytest.raises(ObjectError, match="resample=True"):
        read_seg(seg, PLACE)
    assert np.array_equal(read_seg(seg, PLACE, resample=True).array, to_grid(mask.array, coarse, PLACE, mode="nearest"))


def test_the_grid_of_a_seg_ends_with_its_frames():
    found = seg_grid(read_dataset(WRITTEN["BINARY"]))
    expected = Grid((5, 10, 12), PLACE.affine @ np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    assert found.matches(expected)


def test_frames_of_two_orientations_make_no_grid():
    seg = read_dataset(WRITTEN["BINARY"])
    turned = Dataset()
    turned.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    seg.PerFrameFunctionalGroupsSequence[2].PlaneOrientationSequence = [turned]
    with pytest.raises(ObjectError, match="make no grid"):
        seg_grid(seg)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segs_of_highdicom(kind):
    seg = read_dataset(encoded(written_by_highdicom(two_labels(), VOL, kind)))
    assert np.array_equal(read_seg(seg, VOL).array, two_labels().array)


def test_fractions_of_highdicom():
    values = np.random.default_rng(5).random(PLACE.shape)
    description = highdicom.seg.SegmentDescription(1, "a", highdicom.sr.CodedConcept("1", "SCT", "a"),
                                                   highdicom.sr.CodedConcept("1", "SCT", "a"), "MANUAL")  # fmt: skip
    seg = highdicom.seg.Segmentation(list(VOL.headers), values, "FRACTIONAL", [description], highdicom.UID(), 1,
                                     highdicom.UID(), 1, "m", "m", "1", "1", max_fractional_value=100)  # fmt: skip
    found = read_segments(read_dataset(encoded(seg)), VOL, fractional=True)
    assert np.abs(next(iter(found.values())) - values).max() <= 0.5 / 100 + 1e-6


def test_overlapping_segments_of_dcmqi(shared_data):
    folder = shared_data / "dcmqi_seg" / "data" / "segmentations"
    vol = volumes_from_folder(folder / "ct-3slice").volumes[0]
    found = read_segments(read_dataset(folder / "partial_overlaps.dcm"), vol)
    drawn = [nrrd(folder / f"partial_overlaps-{n}.nrrd") for n in (1, 2, 3)]
    theirs = [to_grid(np.ascontiguousarray(mask.array == value), mask.grid, vol.grid, mode="nearest")
              for mask in drawn for value in range(1, int(mask.array.max()) + 1)]  # fmt: skip
    assert len(found) == len([array for array in theirs if array.any()]) == 5
    assert sorted(array.tobytes() for array in found.values()) == sorted(a.tobytes() for a in theirs if a.any())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("", 512),
        ("_expb", 512),
        ("_rle", 512),
        ("_j2k", 512),
        ("_deflate", 512),
        ("_nonbyte_aligned", 510),
        ("_nonbyte_aligned_rle", 510),
        ("_nonbyte_aligned_j2k", 510),
        ("_nonbyte_aligned_deflate", 510),
    ],
)
def test_one_segmentation_in_every_syntax(shared_data, name, shape):
    seg = read_dataset(shared_data / "pydicom_data" / "data_store" / "data" / f"liver{name}.dcm")
    mask = read_seg(seg, seg_grid(seg))
    plain = read_dataset(shared_data / "dcmqi_seg" / "data" / "segmentations" / "liver.dcm")
    expected = read_seg(plain, seg_grid(plain)).array
    edge = (512 - shape) // 2
    assert mask.array.shape[1:] == (shape, shape)
    assert int(mask.array.sum()) == 107098
    cropped = [
        expected[:, top : top + shape, left : left + shape]
        for top in (0, edge, 2 * edge)
        for left in (0, edge, 2 * edge)
    ]
    assert any(np.array_equal(mask.array, one) for one in cropped)


@pytest.mark.parametrize("name", ["liver_1frame", "liver_expb_1frame"])
def test_a_seg_with_fewer_frames_than_groups_is_refused(shared_data, name):
    folder = shared_data / "pydicom_data" / "src" / "pydicom" / "data" / "test_files"
    with pytest.raises(ObjectError, match="describes more"):
        seg_grid(read_dataset(folder / f"{name}.dcm"))


def lie(keyword, value):
    return lambda seg: setattr(seg, keyword, value)


def other_segment(seg):
    seg.PerFrameFunctionalGroupsSequence[1].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 77


def fewer_groups(seg):
    del seg.PerFrameFunctionalGroupsSequence[3:]


def twins(seg):
    seg.SegmentSequence[1].SegmentNumber = 1


def no_place(seg):
    del seg.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence


def not_a_place(seg):
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0, 1]


def far_away(seg):
    seg.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient = [1e15, 0, 0]


@pytest.mark.parametrize(("kind", "change", "said"), [
    ("BINARY", lie("NumberOfFrames", 2**31 - 1), "frames of"), ("BINARY", lie("NumberOfFrames", 5), "describes more"),
    ("BINARY", lie("Rows", 65535), "frames of"), ("BINARY", lie("Columns", 0), "frames of"),
    ("BINARY", other_segment, r"segments \[77\]"), ("BINARY", no_place, "no PlanePositionSequence"),
    ("BINARY", not_a_place, "no place in a patient"), ("BINARY", far_away, "between the voxels"),
    ("BINARY", lie("SegmentationType", "SURFACE"), "not a DICOM Segmentation"),
    ("FRACTIONAL", lie("MaximumFractionalValue", 0), "no scale"), ("FRACTIONAL", lie("BitsAllocated", 32), "bytes"),
    ("LABELMAP", lie("NumberOfFrames", 10**9), "frames of"), ("LABELMAP", lie("PixelData", b"\x09" * 600), r"values \[9\]"),
    ("LABELMAP", lie("Rows", 1 << 15), "frames of"), ("BINARY", twins, "same number"),
    ("BINARY", fewer_groups, "describes 3"),
])  # fmt: skip
def test_headers_that_lie_end_in_one_error(kind, change, said):
    seg = read_dataset(WRITTEN[kind])
    change(seg)
    started = time.perf_counter()
    tracemalloc.start()
    with pytest.raises((ObjectError, DicomError), match=said):
        read_seg(seg, VOL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("content", [b"", element("PlanePositionSequence", b""), b"\x00"])
def test_a_million_empty_groups_cost_nothing(content):
    """One pixel a frame, so that a small file may well say so many frames."""
    seg = read_dataset(WRITTEN["BINARY"])
    seg.Rows = seg.Columns = 1
    seg.NumberOfFrames, seg.PixelData = 10**6, bytes(125000)
    groups = item(content) * 10**6
    seg[PER_FRAME] = RawDataElement(seg.get_item(PER_FRAME).tag, "SQ", len(groups), groups, 0, False, True)
    started = time.perf_counter()
    tracemalloc.start()
    with pytest.raises((ObjectError, DicomError)):
        read_seg(seg, VOL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
    assert time.perf_counter() - started < 1


def test_a_compressed_frame_that_announces_more_is_refused():
    import imagecodecs

    seg = read_dataset(WRITTEN["LABELMAP"])
    seg.file_meta.TransferSyntaxUID = JPEGLSLossless
    large = imagecodecs.jpegls_encode(np.zeros((4000, 4000), np.uint8))
    seg.PixelData = encapsulate([large] * seg.NumberOfFrames)
    seg["PixelData"].is_undefined_length = True
    with pytest.raises(DicomError):
        read_seg(seg, VOL)
    seg.PixelData = encapsulate([large] * 2)
    with pytest.raises(ObjectError, match=r"encoded frames|describes"):
        read_seg(seg, VOL)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(list(WRITTEN)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6)
)
def test_damaged_bytes_are_one_error_or_none(kind, changes):
    data = bytearray(WRITTEN[kind])
    for place, value in changes:
        data[132 + int(place * (len(data) - 133))] = value
    with suppress(ObjectError, DicomError):
        read_seg(read_dataset(bytes(data)), PLACE)
    with suppress(ObjectError, DicomError):
        read_seg(read_dataset(bytes(data)), PLACE, resample=True)


@pytest.mark.parametrize("source", [b"", b"DICM", b"\0" * 128 + b"DICM"])
def test_what_is_no_dicom_is_told(source, tmp_path):
    with pytest.raises((DicomError, ObjectError)):
        read_seg(read_dataset(source), PLACE)
    with pytest.raises(DicomError, match="cannot be read"):
        read_dataset(tmp_path / "nothing.dcm")
    with pytest.raises(DicomError, match="raise max_bytes"):
        read_dataset(WRITTEN["BINARY"], max_bytes=100)
