"""A real chest CT through a real Orthanc: stored by dcmtk, segmented by a model that saw phantoms only, read back.

Smoke tests on one or two real patients, phantoms for scale; nothing clinical follows from them.
"""

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ailab_kernel.inference.predict import Predictor
from ailab_kernel.lab import open_lab
from ailab_kernel.models import base_bundle
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.objects.sr import read_sr_volumes
from ailab_kernel.validation.metrics import dice
from ailab_kernel.volumes.nifti import mask_from_nifti, volume_from_nifti
from ailab_kernel.volumes.resample import to_grid
from tests.services import need_service, orthanc

pytestmark = pytest.mark.slow


def nrrd(path: Path) -> np.ndarray:
    """Values of a gzip NRRD file of unsigned shorts, shape (slices, rows, columns)."""
    import gzip

    head, _, data = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode("latin1").splitlines() if ": " in line)
    assert (fields["type"], fields["encoding"]) == ("unsigned short", "gzip")
    shape = tuple(int(n) for n in fields["sizes"].split())[::-1]
    return np.frombuffer(gzip.decompress(data), "<u2").reshape(shape)


def test_cip_chest_to_orthanc_and_back(shared_data, tmp_path, monkeypatch):
    need_service("storescu", package="dcmtk")
    monkeypatch.chdir(tmp_path)
    folder = shared_data / "cip_chest" / "ct-64Dicom"
    with orthanc(tmp_path / "orthanc") as server:
        subprocess.run(["storescu", "127.0.0.1", str(server.dicom_port), "+sd", str(folder)], check=True,
                       env={"TCP_NODELAY": "1", "PATH": "/usr/bin"}, capture_output=True, timeout=120)  # fmt: skip
        lab = open_lab(home=tmp_path / "lab", archive=server.url)
        (study,) = lab.archive.search(modality="CT")
        report = lab.infer(model="lungs@general", studies=[study])
        assert report.metrics["series"] == 1

        (study,) = lab.archive.search(study=study.uid)
        by_modality = {series.modality: series for series in study.series}
        assert set(by_modality) == {"CT", "SEG", "SR"}
        vol = lab.volume(by_modality["CT"])
        (seg,), (sr,) = (list(lab.archive.retrieve(by_modality[name])) for name in ("SEG", "SR"))
        again = lab.replay(report)
        assert again.identical
        assert len(lab.archive.search(study=study.uid)[0].series) == 3, "a repeat duplicates nothing"

    mask = read_seg(seg, vol)
    assert mask.grid.matches(vol.grid)
    truth = (nrrd(shared_data / "cip_chest" / "lm-64.nrrd") & 0xFF) > 0
    assert truth.shape == vol.grid.shape
    found = dice(mask.array > 0, truth)
    sys.stdout.write(f"\nlung Dice on the real cip_chest: {found:.4f}\n")
    assert found >= 0.95
    (name, ml), = read_sr_volumes(sr).items()
    assert name == "lung"
    assert ml == pytest.approx(mask.volumes_ml()["lung"], abs=0.01)
    _read_by_dcmqi(seg, folder, mask, tmp_path)


def _read_by_dcmqi(seg, folder: Path, mask, tmp_path: Path) -> None:
    """Another tool finds the same voxels in the same place."""
    program = Path(sys.executable).with_name("segimage2itkimage")
    assert program.is_file(), "dcmqi is in the lock"
    seg.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    subprocess.run([program, "--inputDICOM", tmp_path / "seg.dcm", "--outputDirectory", tmp_path, "-t", "nifti"],
                   check=True, capture_output=True, timeout=120)  # fmt: skip
    (written,) = sorted(tmp_path.glob("*.nii.gz"))
    theirs = mask_from_nifti(written, ())
    ours = to_grid((theirs.array > 0).astype(np.float32), theirs.grid, mask.grid, mode="nearest") > 0
    assert np.array_equal(ours, mask.array > 0)


def test_whole_heart_on_a_real_ct_is_printed(shared_data):
    """Not asserted to be good: the base heart model has seen one made-up hospital's phantoms only."""
    folder = shared_data / "totalseg_ref" / "heart_pa"
    vol = volume_from_nifti(folder / "ct_cropped.nii.gz")
    mask = Predictor(base_bundle("heart-wall")).predict(vol)
    image = nibabel.load(folder / "heart.nii.gz")
    whole = mask_from_nifti(folder / "heart.nii.gz", ())
    assert image.shape == whole.grid.shape[::-1]
    truth = to_grid((whole.array > 0).astype(np.float32), whole.grid, vol.grid) > 0.5
    found = dice(mask.array > 0, truth)
    sys.stdout.write(f"\nwhole-heart Dice on the real heart_pa: {found:.4f}\n")
    assert 0 <= found <= 1
