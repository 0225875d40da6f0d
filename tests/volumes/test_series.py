import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset

from ailab_kernel.ground.errors import DicomError, IrregularSlices, MixedSeries, VolumeError
from ailab_kernel.volumes.series import volume_from_datasets, volumes_from_folder

from .synthetic import SHAPE, grid, series

ANGLES = st.floats(-60, 60)


@given(st.tuples(ANGLES, ANGLES, ANGLES), st.tuples(*[st.floats(0.3, 9)] * 3))
def test_every_voxel_keeps_its_place(turn, spacing):
    place = grid(turn=turn, spacing=spacing)
    vol = volume_from_datasets(series(place))
    assert vol.grid.matches(place, tolerance_mm=1e-4)
    assert np.array_equal(vol.array, np.arange(np.prod(SHAPE)).reshape(SHAPE) - 50)
    assert np.allclose(vol.values, vol.array * 2.0 - 10)
    assert vol.affine_ras[:2] == pytest.approx(-vol.affine_lps[:2])
    assert not vol.array.flags.writeable


def test_unsigned_values_and_overlay_bits():
    datasets = series(signed=False, array=np.full(SHAPE, 0xF123))
    for ds in datasets:
        ds.BitsStored, ds.HighBit = 12, 11
    assert (volume_from_datasets(datasets).array == 0x123).all()


def test_per_slice_rescale_as_pet_has_it():
    datasets = series()
    for ds in datasets:
        ds.RescaleSlope = 1 + (100 - ds.InstanceNumber)
    vol = volume_from_datasets(datasets)
    assert vol.slope.shape == (SHAPE[0], 1, 1)
    assert np.allclose(vol.values, vol.array * np.arange(1, 6).reshape(-1, 1, 1) - 10)


def test_headers_come_along_without_pixels_and_facts_name_nobody():
    vol = volume_from_datasets(series())
    assert len(vol.headers) == SHAPE[0]
    assert all("PixelData" not in ds for ds in vol.headers)
    assert [str(ds.SOPInstanceUID) for ds in vol.headers] == list(vol.instance_uids)
    assert "Synthetic" not in repr(vol) + str(vol.facts)
    assert vol.facts["Modality"] == "CT"


def shift(ds, millimetres, direction):
    ds.ImagePositionPatient = [a + millimetres * b for a, b in zip(ds.ImagePositionPatient, direction, strict=True)]


@pytest.mark.parametrize(("change", "error", "says"), [
    (lambda ds: ds.pop(2), IrregularSlices, "missing slices"),
    (lambda ds: ds.append(ds[0]), IrregularSlices, "duplicates"),
    (lambda ds: setattr(ds[0], "SeriesInstanceUID", "1.2.3"), MixedSeries, "SeriesInstanceUID"),
    (lambda ds: setattr(ds[0], "FrameOfReferenceUID", "1.2.3"), MixedSeries, "FrameOfReferenceUID"),
    (lambda ds: setattr(ds[0], "PixelSpacing", [1, 1]), MixedSeries, "PixelSpacing"),
    (lambda ds: setattr(ds[0], "ImageOrientationPatient", [1, 0, 0, 0, 1, 0]), MixedSeries, "localizer"),
    (lambda ds: delattr(ds[0], "ImagePositionPatient"), VolumeError, "lacks ImagePositionPatient"),
    (lambda ds: setattr(ds[0], "NumberOfFrames", 2), VolumeError, "multi-frame"),
    (lambda ds: setattr(ds[0], "ImageType", ["ORIGINAL", "PRIMARY", "MOSAIC"]), VolumeError, "mosaic"),
    (lambda ds: setattr(ds[0], "PixelData", b"short"), DicomError, "pixel data"),
    (lambda ds: ds.clear(), VolumeError, "no instances"),
])
def test_what_is_no_volume_is_refused_by_name(change, error, says):
    datasets = sorted(series(), key=lambda ds: -ds.InstanceNumber)
    change(datasets)
    with pytest.raises(error, match=says):
        volume_from_datasets(datasets)


def test_uneven_spacing_and_tilt_are_refused():
    place = grid()
    normal = place.affine[:3, 0] / place.spacing_mm[0]
    uneven = sorted(series(place), key=lambda ds: -ds.InstanceNumber)
    shift(uneven[-1], 0.5, normal)
    with pytest.raises(IrregularSlices, match=r"3\.700 to 4\.200 mm"):
        volume_from_datasets(uneven)
    tilted = sorted(series(place), key=lambda ds: -ds.InstanceNumber)
    for number, ds in enumerate(tilted):
        shift(ds, 0.4 * number, place.affine[:3, 1] / place.spacing_mm[1])
    with pytest.raises(IrregularSlices, match=r"tilted by 6\.2 degrees"):
        volume_from_datasets(tilted)


def test_a_folder_of_anything(tmp_path):
    for number, ds in enumerate(series()):
        ds.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    other = sorted(series(), key=lambda ds: ds.InstanceNumber)
    other[0].SOPInstanceUID = "1.2.3.4"
    for number, ds in enumerate(other[:1] + other[2:]):
        ds.SeriesInstanceUID = "1.2.9"
        ds.save_as(tmp_path / f"b{number}.dcm", enforce_file_format=True)
    (tmp_path / "Mustermann.txt").write_text("hello")
    found = volumes_from_folder(tmp_path)
    assert [vol.array.shape for vol in found.volumes] == [SHAPE]
    assert len(found.refused) == 2
    assert "series 1.2.9" in found.refused[1].what
    assert "Mustermann" not in str(found.refused)
    assert volumes_from_folder(tmp_path / "nothing") == type(found)((), ())


def test_real_data_without_uids(shared_data):
    found = volumes_from_folder(shared_data / "totalseg_ref" / "dicom20")
    (vol,) = found.volumes
    assert vol.array.shape == (20, 512, 512)
    assert vol.facts["uids"] == "derived"
    assert vol.series_uid.startswith("2.25.")
    again = volumes_from_folder(shared_data / "totalseg_ref" / "dicom20").volumes[0]
    assert again.series_uid == vol.series_uid


@pytest.mark.parametrize("name", ["gantry_tilting", "slice_count", "single_slice"])
def test_real_failing_sets_are_refused_or_read(shared_data, name):
    """The suite's failing sets never become a silently wrong volume."""
    folders = [path for path in (shared_data / "dicom2nifti").rglob("*") if path.is_dir() and name in path.name.lower()]
    for folder in folders:
        found = volumes_from_folder(folder)
        assert all(np.isfinite(vol.affine_lps).all() for vol in found.volumes)
        assert found.volumes or found.refused


def in_order(place=None):
    return sorted(series(place), key=lambda ds: -ds.InstanceNumber)


def test_a_little_tilt_over_many_slices_is_found():
    place = grid(shape=(60, 4, 4))
    datasets = in_order(place)
    for number, ds in enumerate(datasets):
        shift(ds, 0.02 * number, place.affine[:3, 1] / place.spacing_mm[1])
    with pytest.raises(IrregularSlices, match=r"tilted by 0\.3 degrees"):
        volume_from_datasets(datasets)


def test_a_drift_within_half_a_pixel_stays_in_the_affine():
    place = grid(shape=(60, 4, 4))
    datasets = in_order(place)
    for number, ds in enumerate(datasets):
        shift(ds, 0.005 * number, place.affine[:3, 1] / place.spacing_mm[1])
    last = volume_from_datasets(datasets).affine_lps @ [59, 0, 0, 1]
    assert last[:3] == pytest.approx(np.array(datasets[-1].ImagePositionPatient, float), abs=1e-6)


def test_a_slice_beside_the_others_is_found():
    place = grid()
    datasets = in_order(place)
    shift(datasets[2], 4, place.affine[:3, 2] / place.spacing_mm[2])
    with pytest.raises(IrregularSlices, match=r"slice 3 lies 4\.000 mm beside"):
        volume_from_datasets(datasets)


def test_color_and_other_lengths_are_refused():
    color = in_order()
    for ds in color:
        ds.SamplesPerPixel, ds.PixelData = 3, ds.PixelData * 3
    with pytest.raises(VolumeError, match="in color"):
        volume_from_datasets(color)
    for ds in color:
        ds.SamplesPerPixel = 1
    with pytest.raises(DicomError, match="not one frame"):
        volume_from_datasets(color)


def test_one_uid_at_two_places_is_refused():
    datasets = in_order()
    datasets[1].SOPInstanceUID = datasets[0].SOPInstanceUID
    with pytest.raises(IrregularSlices, match="share a SOPInstanceUID"):
        volume_from_datasets(datasets)


def test_a_file_cut_before_its_pixels_is_named_and_not_forgotten(tmp_path):
    datasets = in_order()
    for number, ds in enumerate(datasets):
        ds.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    whole = (tmp_path / "4.dcm").read_bytes()
    (tmp_path / "4.dcm").write_bytes(whole[: whole.index(b"\xe0\x7f\x10\x00")])
    report = Dataset()
    report.Modality, report.SOPClassUID, report.SOPInstanceUID = "SR", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.3"
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    report.save_as(tmp_path / "5.dcm", enforce_file_format=True)
    found = volumes_from_folder(tmp_path)
    assert [vol.array.shape[0] for vol in found.volumes] == [4]
    assert ["no pixel data" in refused.reason for refused in found.refused] == [True]


ODD = st.one_of(st.none(), st.just(""), st.integers(-(2**31), 2**31 - 1), st.floats(width=32), st.text("0123456789.-\\eE", max_size=8),
                st.lists(st.floats(width=32), max_size=7), st.sampled_from([0, 1, 7, 12, 16, 17, 65535]))
KEYWORDS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel", "NumberOfFrames",
            "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept",
            "SliceThickness", "SpacingBetweenSlices", "SeriesInstanceUID", "FrameOfReferenceUID", "PixelData")  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(KEYWORDS), ODD, st.booleans())
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom comments on the values that this test is about
def test_any_header_gives_a_finite_volume_or_a_named_error(keyword, value, everywhere):
    datasets = in_order()
    for ds in datasets if everywhere else datasets[:1]:
        try:
            setattr(ds, keyword, value)
        except (ValueError, TypeError, OverflowError):
            return                             # pydicom does not take it, so that no file can bring it
    try:
        vol = volume_from_datasets(datasets)
    except (VolumeError, DicomError):
        return
    assert np.isfinite(vol.affine_lps).all()
    assert np.linalg.det(vol.affine_lps) != 0
    assert np.isfinite(vol.values).all()
