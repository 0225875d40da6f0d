import json
from datetime import UTC, datetime

import numpy as np
import pytest

from ailab_kernel.archives.instances import encode
from ailab_kernel.dicom.codes import LUNG, MYOCARDIUM
from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.objects.provenance import Provenance
from ailab_kernel.objects.seg import read_seg, write_seg
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.nifti import mask_from_nifti, mask_to_nifti
from ailab_kernel.volumes.series import volume_from_datasets
from tests.volumes.synthetic import grid, series

from .running import ailab

LABELS = (Label(1, "lung", LUNG), Label(2, "heart-wall", MYOCARDIUM))
PLACE = grid(shape=(7, 10, 12))
PROVENANCE = Provenance("test", "3", ("1.2.3",), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.fixture
def mask():
    array = np.zeros(PLACE.shape, np.uint8)
    array[1:4, 2:7, 3:9] = 1
    array[2:6, 3:5, 4:11] = 2
    return Mask(array, PLACE, LABELS)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ct").mkdir()
    for number, ds in enumerate(series(PLACE)):
        ds.save_as(tmp_path / "ct" / f"{number}.dcm", enforce_file_format=True)
    return tmp_path / "ct"


@pytest.fixture
def seg(tmp_path, mask):
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode(write_seg(mask, volume_from_datasets(series(PLACE)), PROVENANCE)))
    return path


def test_info(seg, mask, capsys):
    assert ailab("seg", "info", seg, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["type"] == "BINARY"
    assert told["references"] == [{"series": volume_from_datasets(series(PLACE)).series_uid, "instances": 7}]
    for one, label in zip(told["segments"], LABELS, strict=True):
        assert one["number"] == label.index
        assert one["type"] == f"{label.code.meaning} (SCT {label.code.value})"
        assert one["voxels"] == int(mask.where(label).sum())
        assert one["ml"] == pytest.approx(mask.volumes_ml()[label.name], rel=1e-6)
    assert ailab("seg", "info", seg) == 0
    shown = capsys.readouterr().out
    assert "lung" in shown
    assert "Synthetic" not in shown


def test_to_nifti_on_the_source_grid_and_back(seg, folder, mask, tmp_path):
    assert ailab("seg", "to-nifti", seg, tmp_path / "map.nii.gz", "--source", folder) == 0
    found = mask_from_nifti(tmp_path / "map.nii.gz", LABELS)
    assert np.array_equal(found.array, mask.array)
    assert found.grid.matches(PLACE)
    words = (tmp_path / "map.nii.gz", tmp_path / "again.dcm", "--source", folder, "--labels", tmp_path / "map.json")
    assert ailab("seg", "from-nifti", *words) == 0
    ds = read_dataset(tmp_path / "again.dcm")
    again = read_seg(ds, volume_from_datasets(series(PLACE)))
    assert np.array_equal(again.array, mask.array)
    assert [label.code for label in again.labels] == [label.code for label in LABELS]
    assert ds.SegmentSequence[0].SegmentAlgorithmType == "MANUAL"


def test_to_nifti_on_its_own_grid(seg, mask, tmp_path):
    assert ailab("seg", "to-nifti", seg, tmp_path / "map.nii") == 0
    found = mask_from_nifti(tmp_path / "map.nii", LABELS)
    assert found.grid.shape == (5, 10, 12), "the slices it has frames on"
    assert np.array_equal(found.array, mask.array[1:6])
    assert np.abs(found.grid.affine[:3, 3] - (PLACE.affine @ [1, 0, 0, 1])[:3]).max() < 1e-3


def test_segments_that_overlap_go_into_a_file_each(folder, mask, tmp_path, capsys):
    parts = {LABELS[0]: mask.array == 1, LABELS[1]: mask.array > 0}
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode(write_seg(parts, volume_from_datasets(series(PLACE)), PROVENANCE)))
    assert ailab("seg", "to-nifti", path, tmp_path / "map.nii.gz", "--source", folder, "--json") == 0
    written = json.loads(capsys.readouterr().out)
    assert [one["labels"] for one in written] == [["lung"], ["heart-wall"]]
    for one, where in zip(written, parts.values(), strict=True):
        assert np.array_equal(mask_from_nifti(tmp_path / one["file"], ()).array, where)


def test_overlaps_of_dcmqi(shared_data, tmp_path, capsys):
    (path,) = (shared_data / "dcmqi_seg").rglob("partial_overlaps.dcm")
    assert ailab("seg", "info", path, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["segments"]) == 5
    assert ailab("seg", "to-nifti", path, tmp_path / "map.nii.gz") == 0
    assert len(list(tmp_path.glob("map-*.nii.gz"))) == 5


def test_a_map_of_other_axes_finds_its_place(folder, mask, tmp_path):
    """A viewer's map: axes in another order and direction, the same voxels."""
    step = np.array([[0, 0, -1.0, 6], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    turned = Mask(np.ascontiguousarray(mask.array[::-1].transpose(2, 1, 0)), Grid((12, 10, 7), PLACE.affine @ step), LABELS)
    mask_to_nifti(turned, tmp_path / "map.nii.gz")
    words = ("--source", folder, "--label", "1,lung,39607008,SCT,Lung", "--label", "2,heart-wall,74281007,SCT,Myocardium")
    assert ailab("seg", "from-nifti", tmp_path / "map.nii.gz", tmp_path / "s.dcm", *words, "--algorithm", "net", "--labelmap") == 0
    ds = read_dataset(tmp_path / "s.dcm")
    assert ds.SegmentationType == "LABELMAP"
    assert np.array_equal(read_seg(ds, PLACE).array, mask.array)


def test_a_map_of_another_grid_only_on_request(folder, mask, tmp_path, capsys):
    shifted = PLACE.affine.copy()
    shifted[:3, 3] += PLACE.affine[:3, 2] * 0.5
    mask_to_nifti(Mask(mask.array, Grid(PLACE.shape, shifted), LABELS), tmp_path / "map.nii.gz")
    words = (tmp_path / "map.nii.gz", tmp_path / "s.dcm", "--source", folder, "--label", "1,lung,39607008,SCT,Lung",
             "--label", "2,heart-wall,74281007,SCT,Myocardium")  # fmt: skip
    assert ailab("seg", "from-nifti", *words) == 1
    assert "not those of the images" in capsys.readouterr().err
    assert ailab("seg", "from-nifti", *words, "--resample") == 0


@pytest.mark.parametrize(("words", "code"), [
    (("info", "absent.dcm"), 2), (("info", "ct/0.dcm"), 1), (("to-nifti", "ct/0.dcm", "x.nii"), 1),
    (("to-nifti", "seg.dcm", "x.nii", "--source", "nowhere"), 2), (("to-nifti", "seg.dcm", "x.png"), 2),
    (("from-nifti", "map.nii", "s.dcm", "--source", "ct"), 2),
    (("from-nifti", "map.nii", "s.dcm", "--source", "ct", "--label", "1,lung"), 2),
    (("from-nifti", "map.nii", "s.dcm", "--source", "ct", "--label", "1,lung,39607008,SCT,Lung"), 1),
    (("from-nifti", "absent.nii", "s.dcm", "--source", "ct", "--label", "1,lung,39607008,SCT,Lung"), 1),
])  # fmt: skip
def test_wrong_use_is_one_line(tmp_path, capsys, monkeypatch, seg, folder, mask, words, code):
    monkeypatch.chdir(tmp_path)
    mask_to_nifti(mask, tmp_path / "map.nii")
    assert ailab("seg", *words) == code
    told = capsys.readouterr().err
    assert told.startswith("ailab: ")
    assert told.count("\n") == 1
    assert not (tmp_path / "s.dcm").exists()
