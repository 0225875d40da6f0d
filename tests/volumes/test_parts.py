"""Series that are more than one volume, objects that are many slices, stacks that need correcting."""

import copy

import numpy as np
import pytest

from ailab_kernel.ground.errors import IrregularSlices, VolumeError
from ailab_kernel.volumes.series import volume_from_datasets, volume_from_files, volumes_from_files, volumes_from_folder

from .hostile import enhanced, written
from .synthetic import SHAPE, grid, series

ARRAY = np.arange(np.prod(SHAPE)).reshape(SHAPE)


def ordered(place=None, **options):
    return sorted(series(place, **options), key=lambda ds: -ds.InstanceNumber)


def again(datasets, **changes):
    """The same slices as another acquisition: own UIDs, other values, changed attributes."""
    made = []
    for number, ds in enumerate(copy.deepcopy(datasets)):
        ds.SOPInstanceUID = f"{ds.SOPInstanceUID[:40]}.{abs(hash(str(changes))) % 10**6}.{number}"
        ds.PixelData = (np.frombuffer(ds.PixelData, np.int16) + 7).tobytes()
        for keyword, value in changes.items():
            setattr(ds, keyword, value)
        made.append(ds)
    return made


@pytest.mark.parametrize(("keyword", "first", "second", "said"), [
    ("EchoTime", 4.9, 12.3, ["echo time 4.9", "echo time 12.3"]),
    ("EchoNumbers", 1, 2, ["echo 1", "echo 2"]),
    ("TemporalPositionIdentifier", 2, 10, ["time 2", "time 10"]),
    ("DiffusionBValue", 0.0, 1000.0, ["b-value 0.0", "b-value 1000.0"]),
    ("ImageType", ["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"],
     ["type ORIGINAL/PRIMARY/M", "type ORIGINAL/PRIMARY/P"]),
])  # fmt: skip
def test_images_in_one_place_are_told_apart_by_their_attribute(keyword, first, second, said):
    slices = ordered()
    for ds in slices:
        setattr(ds, keyword, first)
    found = volumes_from_files([*again(slices, **{keyword: second}), *slices])
    assert [vol.facts["part"] for vol in found.volumes] == said
    assert np.array_equal(found.volumes[1].array, found.volumes[0].array + 7)
    with pytest.raises(IrregularSlices, match="lie where another one is"):
        volume_from_datasets([*again(slices, **{keyword: second}), *slices])


def test_what_only_the_instance_number_tells_apart_is_a_time():
    slices = ordered()
    found = volumes_from_files(slices + [ds for n in (1, 2) for ds in renumbered(again(slices, AcquisitionNumber=n), n)])
    assert found.volumes[0].facts["part"].startswith("acquisition")
    for ds in (everything := slices + renumbered(again(slices, InstanceNumber=0), 3)):
        ds.AcquisitionNumber = None
    assert [vol.facts["part"] for vol in volumes_from_files(everything).volumes] == ["time 1 of 2", "time 2 of 2"]


def renumbered(datasets, phase):
    for number, ds in enumerate(datasets):
        ds.InstanceNumber = 1000 * phase + number
    return datasets


def test_a_clinical_time_goes_into_no_name():
    slices = ordered()
    for ds in slices:
        ds.AcquisitionTime = "103045.2"
    found = volumes_from_files([*again(slices, AcquisitionTime="103112.9"), *slices])
    assert [vol.facts["part"] for vol in found.volumes] == ["acquisition time 1", "acquisition time 2"]
    assert np.array_equal(found.volumes[1].array, found.volumes[0].array + 7)


def test_several_frames_of_reference_are_refused():
    slices = ordered()
    slices[2].FrameOfReferenceUID = "1.2.3"
    found = volumes_from_files(slices)
    assert not found.volumes
    assert "differ in FrameOfReferenceUID" in found.refused[0].reason


def test_a_lone_second_slice_is_no_time_point():
    slices = ordered()
    found = volumes_from_files([*slices, again(slices[2:3])[0]])
    assert not found.volumes
    assert "not at every place" in found.refused[0].reason


def test_localizers_are_set_aside_and_orientations_kept_apart():
    slices = ordered()
    scout = copy.deepcopy(slices[0])
    scout.SOPInstanceUID, scout.ImageType = "1.2.3.4", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient, scout.PixelSpacing = [1, 0, 0, 0, 0, -1], [2, 2]
    found = volumes_from_files([*slices, scout])
    assert [vol.array.shape for vol in found.volumes] == [SHAPE]
    assert ["a localizer" in one.reason for one in found.refused] == [True]
    scout.ImageType = ["ORIGINAL", "PRIMARY"]
    found = volumes_from_files([*slices, scout])
    assert [vol.facts["part"] for vol in found.volumes] == ["orientation 1", "orientation 2"]


def test_a_copy_is_set_aside_and_a_changed_copy_refuses_the_series():
    slices = ordered()
    found = volumes_from_files([*slices, copy.deepcopy(slices[1])])
    assert len(found.volumes) == 1
    assert "came twice" in found.refused[0].reason
    other = copy.deepcopy(slices[1])
    other.PixelData = bytes(len(other.PixelData))
    found = volumes_from_files([*slices, other])
    assert not found.volumes
    assert "share a SOPInstanceUID" in found.refused[0].reason


def test_uneven_spacing_is_interpolated_when_asked():
    place = grid(shape=(9, 6, 7))
    ramp = np.broadcast_to(np.arange(9)[:, None, None] * 100, place.shape)
    slices = ordered(place, array=ramp)
    del slices[4], slices[2]
    with pytest.raises(IrregularSlices, match="resample=True"):
        volume_from_datasets(slices)
    vol = volume_from_datasets(slices, resample=True)
    assert vol.facts["corrected"] == "uneven spacing"
    assert vol.grid.matches(place, tolerance_mm=1e-4)
    assert np.array_equal(vol.array, ramp)
    assert not vol.headers
    assert vol.instance_uids == ()


@pytest.mark.parametrize("lean", [(0.65, 0.0), (-1.3, 0.0), (0.0, 0.9), (0.52, -0.36)])
def test_a_tilted_gantry_is_sheared_upright_when_asked(lean):
    """A ramp in the world stays that ramp: what is at a place in the patient is there afterwards."""
    place = grid(shape=(5, 30, 28))
    affine = place.affine.copy()
    affine[:3, 0] += lean[0] * affine[:3, 1] + lean[1] * affine[:3, 2]
    index = np.indices(place.shape).reshape(3, -1)
    world = (affine @ np.vstack([index, np.ones(index.shape[1])]))[:3]
    ramp = lambda points: 500 + points.T @ [3.0, 5.0, 2.0]  # noqa: E731
    tilted = type(place)(place.shape, affine)
    slices = ordered(tilted, array=np.rint(ramp(world)).reshape(place.shape))
    with pytest.raises(IrregularSlices, match="correct_tilt=True"):
        volume_from_datasets(slices)
    vol = volume_from_datasets(slices, correct_tilt=True)
    axes = vol.affine_lps[:3, :3] / np.linalg.norm(vol.affine_lps[:3, :3], axis=0)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-5)
    inside = np.indices((place.shape[0], 20, 18)).reshape(3, -1) + np.array([[0], [6], [6]])
    expected = ramp((vol.affine_lps @ np.vstack([inside, np.ones(inside.shape[1])]))[:3])
    assert np.abs(vol.array[tuple(inside)] - expected).max() <= 1.01
    assert vol.facts["corrected"] == "gantry tilt"


def test_the_frames_of_an_enhanced_image_are_slices_by_their_own_places(tmp_path):
    expected = volume_from_datasets(ordered(grid(shape=(4, 24, 20))))
    (tmp_path / "a.dcm").write_bytes(written(enhanced()))
    for vol in (volume_from_files([tmp_path / "a.dcm"]), volume_from_datasets([enhanced()])):
        assert vol.grid.matches(expected.grid, tolerance_mm=1e-4)
        assert np.array_equal(vol.array, expected.array)
        assert (vol.slope, vol.intercept) == (expected.slope, expected.intercept)
        assert vol.facts["Modality"] == "MR"


def test_an_enhanced_image_of_two_times_is_two_volumes():
    ds = enhanced()
    frames = ds.PerFrameFunctionalGroupsSequence
    for group in copy.deepcopy(list(frames)):
        group.FrameContentSequence[0].TemporalPositionIndex = 2
        frames.append(group)
    ds.NumberOfFrames, ds.PixelData = 8, ds.PixelData + bytes(len(ds.PixelData))
    found = volumes_from_files([ds])
    assert [vol.facts["part"] for vol in found.volumes] == ["time 1", "time 2"]
    assert found.volumes[0].array.any()
    assert not found.volumes[1].array.any()


def test_frames_without_their_groups_are_refused():
    ds = enhanced()
    del ds.PerFrameFunctionalGroupsSequence[3]
    with pytest.raises(VolumeError, match="without functional groups for each"):
        volume_from_datasets([ds])


def test_pet_keeps_each_slices_own_scale(tmp_path):
    slices = ordered()
    for number, ds in enumerate(slices):
        ds.RescaleSlope, ds.Modality = 1 + number / 7, "PT"
        ds.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    (vol,) = volumes_from_folder(tmp_path).volumes
    assert vol.slope.shape == (SHAPE[0], 1, 1)
    assert np.allclose(vol.values[3], vol.array[3] * (1 + 3 / 7) - 10, rtol=1e-6)
