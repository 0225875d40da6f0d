"""Real series of several makers against the NIfTI of dcm2niix and dicom2nifti: same voxels, same places.

docs/conformance.md tells the differences line by line.
"""

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ailab_kernel.ground.errors import MixedSeries
from ailab_kernel.volumes.series import volume_from_files, volumes_from_files, volumes_from_folder

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NIH, BITS, SYNTAXES, ENHANCED, D2N = "dcm_qa_nih", "dcm_qa_12bit", "dcm_qa_ts", "dcm_qa_enh", "dicom2nifti/tests/data"
# Input (a folder, or one file), the parts of it that the reference holds, the reference.
CASES = [
    (f"{NIH}/In/20180918GE/mr_0004", "", f"{NIH}/Ref/DCM2NIIX_regression_test_4.nii"),
    (f"{NIH}/In/20180918Si/mr_0003", "", f"{NIH}/Ref/EPI_PE=AP_3.nii"),
    (f"{NIH}/In/20180918Si/mr_0004", "", f"{NIH}/Ref/EPI_PE=PA_4.nii"),
    (f"{NIH}/In/20180918Si/mr_0005", "", f"{NIH}/Ref/EPI_PE=RL_5.nii"),
    (f"{NIH}/In/20180918Si/mr_0006", "", f"{NIH}/Ref/EPI_PE=LR_6.nii"),
    (f"{BITS}/In/12bitUnsigned.dcm", "", f"{BITS}/Ref/2.nii"),
    (f"{BITS}/In/12bitUnsigned_0x0F0F.dcm", "", f"{BITS}/Ref/3.nii"),
    (f"{BITS}/In/12bitSigned_0x0F0F.dcm", "", f"{BITS}/Ref/4.nii"),
    *((f"{SYNTAXES}/In/{n}.dcm", "", f"{SYNTAXES}/Ref/{n}.nii") for n in range(1, 10)),
    (f"{ENHANCED}/In/Siemens/XA10", "", f"{ENHANCED}/Ref/Siemens_REST1_w_SMS_PF7-8_6.nii"),
    (f"{ENHANCED}/In/Philips", "/M", f"{ENHANCED}/Ref/Philips_WIP_B0_NS_801_e1.nii"),
    (f"{ENHANCED}/In/Philips", "/FIELD_MAP", f"{ENHANCED}/Ref/Philips_WIP_B0_NS_801_e2_fieldmaphz.nii"),
    *((f"{D2N}/{name}", "", f"{D2N}/{name}_ground_truth{suffix}.nii.gz") for name, suffix in (
        ("anatomical/001", ""), ("anatomical/001_implicit", ""), ("ge/anatomical/001", ""),
        ("ge/anatomical/001_implicit", ""), ("generic/anatomical/001", ""),
        ("generic/anatomical/001_implicit", ""), ("generic/anatomical/002_non_isotropic", ""),
        ("generic/anatomical/002_non_isotropic", "_reoriented"), ("generic/compressed/001", ""),
        ("generic/compressed_j2k/001", ""), ("generic/compressed_jpeg/001", ""), ("generic/compressed_jpegls/001", ""),
        ("generic/compressed_rle/001", ""), ("hitachi/anatomical/001", ""), ("hitachi/anatomical/001", "_reoriented"),
        ("hitachi/anatomical/001_implicit", ""), ("hyperfine/anatomical/001", ""),
        ("hyperfine/anatomical/001", "_reoriented"))),
]  # fmt: skip


def read(path: Path):
    found = volumes_from_files([path]) if path.is_file() else volumes_from_folder(path)
    assert not [one for one in found.refused if "not a DICOM file" not in one.reason]
    return found.volumes


def same(volumes, reference: Path, *, scaled: bool) -> None:
    """Every voxel of the reference is ours at the same place, within 1e-3 mm."""
    image = nibabel.load(reference)
    theirs = np.asanyarray(image.dataobj if scaled else image.dataobj.get_unscaled())
    theirs = theirs.reshape(*theirs.shape[:3], -1)
    ours = np.stack([vol.values if scaled else vol.array for vol in volumes], -1)
    index = np.indices(theirs.shape[:3]).reshape(3, -1)
    world = image.affine @ np.vstack([index, np.ones(index.shape[1])])
    affine = _TO_RAS @ volumes[0].grid.affine
    place = np.rint((np.linalg.inv(affine) @ world)[:3]).astype(int)
    assert np.abs(affine @ np.vstack([place, np.ones(place.shape[1])]) - world).max() < 1e-3
    assert ours.shape[:3] == tuple(place.max(1) + 1)
    assert ours.shape[3] == theirs.shape[3]
    found = ours[tuple(place)].reshape(theirs.shape)
    if scaled:
        assert np.allclose(found, theirs, rtol=1e-6, atol=1e-3)
    else:
        assert np.array_equal(found.astype(np.int64), theirs.astype(np.int64))


@pytest.mark.parametrize(("series", "part", "reference"), CASES, ids=[f"{a}{b}-{Path(c).name}" for a, b, c in CASES])
def test_the_references_voxels_and_places(shared_data, series, part, reference):
    volumes = [vol for vol in read(shared_data / series) if vol.facts.get("part", "").endswith(part)]
    rescaled = any(np.ndim(vol.slope) for vol in volumes)
    same(volumes, shared_data / reference, scaled=rescaled)


def test_the_failing_sets_are_refused_for_their_reason(shared_data):
    folder = shared_data / D2N / "failing"
    tilted = volumes_from_folder(folder / "gantrytilting" / "001")
    assert not tilted.volumes
    assert "the gantry was tilted by 14.0 degrees" in tilted.refused[0].reason
    oriented = volumes_from_folder(folder / "sliceorientation" / "001")
    assert [vol.facts["part"] for vol in oriented.volumes] == ["orientation 1", "orientation 2"]
    with pytest.raises(MixedSeries, match="differ in"):
        volume_from_files(sorted((folder / "sliceorientation" / "001").iterdir()))
    few = volumes_from_folder(folder / "slicecount" / "001")
    assert not few.volumes
    assert "2 slices without a thickness" in few.refused[0].reason


@pytest.mark.parametrize("suffix", ["", "_reoriented"])
def test_two_slices_are_taken_as_they_are_when_asked(shared_data, suffix):
    folder = shared_data / D2N / "failing" / "slicecount"
    same(volumes_from_folder(folder / "001", resample=True).volumes, folder / f"001_ground_truth{suffix}.nii.gz", scaled=False)


def test_a_real_tilted_gantry_is_corrected_when_asked(shared_data):
    folder = shared_data / D2N / "failing" / "gantrytilting" / "001"
    (vol,) = volumes_from_folder(folder, correct_tilt=True).volumes
    assert vol.facts["corrected"] == "gantry tilt"
    axes = vol.affine_lps[:3, :3] / np.linalg.norm(vol.affine_lps[:3, :3], axis=0)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)


def test_the_tilt_is_corrected_as_dcm2niix_does(shared_data, tmp_path):
    folder = shared_data / D2N / "failing" / "gantrytilting" / "001"
    subprocess.run([Path(sys.executable).with_name("dcm2niix"), "-z", "n", "-f", "out", "-o", tmp_path, folder],
                   check=True, capture_output=True)  # fmt: skip
    image = nibabel.load(tmp_path / "out_Tilt_1.nii")
    (vol,) = volumes_from_folder(folder, correct_tilt=True).volumes
    index = np.indices(image.shape).reshape(3, -1)
    world = image.affine @ np.vstack([index, np.ones(index.shape[1])])
    place = np.linalg.inv(vol.affine_ras) @ world
    assert np.abs(place - np.rint(place)).max() < 1e-3
    found = vol.values[tuple(np.rint(place[:3]).astype(int))].reshape(image.shape)
    apart = np.abs(found - np.asanyarray(image.dataobj))
    assert np.percentile(apart, 99) <= 1  # the rest are the edges, which dcm2niix fills otherwise
