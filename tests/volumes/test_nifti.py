import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ailab_kernel.dicom.codes import LUNG
from ailab_kernel.ground.errors import VolumeError
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.nifti import mask_from_nifti, mask_to_nifti, volume_from_nifti, volume_to_nifti
from ailab_kernel.volumes.resample import to_grid
from ailab_kernel.volumes.series import volume_from_datasets, volumes_from_folder

from .synthetic import grid, series


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_round_trip(tmp_path, name):
    vol = volume_from_datasets(series())
    volume_to_nifti(vol, tmp_path / name)
    again = volume_from_nifti(tmp_path / name)
    assert np.array_equal(again.array, vol.array)
    assert np.allclose(again.values, vol.values)
    assert again.grid.matches(vol.grid)


def test_masks_are_equal_byte_for_byte(tmp_path):
    label = Label(1, "lung", LUNG)
    array = np.zeros(grid().shape, np.uint8)
    array[1:3, 2:5, 1:6] = 1
    for name in ("a.nii.gz", "b.nii.gz"):
        mask_to_nifti(Mask(array, grid(), (label,)), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    again = mask_from_nifti(tmp_path / "a.nii.gz", (label,))
    assert np.array_equal(again.array, array)
    assert again.grid.matches(grid())


def test_what_is_no_nifti_is_told(tmp_path):
    (tmp_path / "x.nii").write_bytes(b"hello")
    (tmp_path / "y.txt").write_text("hello")
    for name in ("x.nii", "y.txt", "absent.nii"):
        with pytest.raises(VolumeError, match="NIfTI"):
            volume_from_nifti(tmp_path / name)


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_a_cut_off_nifti_is_told(tmp_path, name):
    volume_to_nifti(volume_from_datasets(series()), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for length in range(0, len(whole) - 8, 7):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(VolumeError):
            volume_from_nifti(tmp_path / name)
        with pytest.raises(VolumeError):
            mask_from_nifti(tmp_path / name, ())


def dcm2niix(folder: Path, out: Path) -> Path:
    subprocess.run([Path(sys.executable).with_name("dcm2niix"), "-z", "n", "-o", out, "-f", "x", folder], check=True,
                   capture_output=True)  # fmt: skip
    return out / "x.nii"


def same_in_the_world(ours, theirs, tolerance_mm):
    """Equal voxels at equal places, whichever way the axes run."""
    turned = to_grid(theirs.array, theirs.grid, ours.grid, mode="nearest")
    assert np.array_equal(turned * theirs.slope + theirs.intercept, ours.values)
    corners = [g.affine @ np.array([[*np.multiply(at, np.subtract(g.shape, 1)), 1] for at in np.ndindex(2, 2, 2)]).T
               for g in (ours.grid, theirs.grid)]
    lows, highs = ([c[:3].min(1) for c in corners], [c[:3].max(1) for c in corners])
    assert lows[0] == pytest.approx(lows[1], abs=tolerance_mm)
    assert highs[0] == pytest.approx(highs[1], abs=tolerance_mm)


@pytest.mark.parametrize("turn", [(0, 0, 0), (12, -7, 23)])
def test_dcm2niix_agrees_on_a_phantom_series(tmp_path, turn):
    place = grid(turn=turn, shape=(6, 8, 10))
    (tmp_path / "in").mkdir()
    for number, ds in enumerate(series(place)):
        ds.save_as(tmp_path / "in" / f"{number}.dcm", enforce_file_format=True)
    ours = volumes_from_folder(tmp_path / "in").volumes[0]
    same_in_the_world(ours, volume_from_nifti(dcm2niix(tmp_path / "in", tmp_path)), 1e-3)


def test_dcm2niix_agrees_on_a_real_series(shared_data, tmp_path):
    folder = shared_data / "cip_chest" / "ct-64Dicom"
    ours = volumes_from_folder(folder).volumes[0]
    # dcm2niix takes the spacing of the first two slices, whose positions are rounded to 1 micrometre; over 78 slices.
    same_in_the_world(ours, volume_from_nifti(dcm2niix(folder, tmp_path)), 0.03)
