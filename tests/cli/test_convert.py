import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ailab_kernel.archives.archive import open_archive
from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.volumes.nifti import volume_from_nifti
from ailab_kernel.volumes.series import volume_from_datasets, volumes_from_folder
from tests.volumes.synthetic import grid, series

from .running import ailab


def named_series(number: int, **more):
    uid = derived_uid("cli", str(number))
    for ds in series(grid(shape=(4 + number, 6, 7)), **more):
        ds.SeriesInstanceUID, ds.SeriesNumber = uid, number
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = derived_uid(ds.SOPInstanceUID, str(number))
        yield ds


def saved(folder: Path, datasets, *, skip=()) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, ds in enumerate(datasets):
        if number not in skip:
            ds.save_as(folder / f"Doe^Jane-{number}.dcm", enforce_file_format=True)
    return folder


def test_one_series_into_a_file(tmp_path, capsys):
    source = saved(tmp_path / "in", named_series(1))
    assert ailab("convert", source, tmp_path / "out" / "ct.nii.gz") == 0
    assert derived_uid("cli", "1") in capsys.readouterr().out
    vol = volume_from_datasets(named_series(1))
    again = volume_from_nifti(tmp_path / "out" / "ct.nii.gz")
    assert np.array_equal(again.array, vol.array)
    assert again.grid.matches(vol.grid)
    told = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert told["Modality"] == "CT"
    assert "SeriesInstanceUID" not in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ct.json", "ct.nii.gz"]


def test_sidecars_are_as_asked(tmp_path):
    source = saved(tmp_path / "in", named_series(1))
    assert ailab("convert", source, tmp_path / "a.nii", "--no-sidecar") == 0
    assert not (tmp_path / "a.json").exists()
    assert ailab("convert", source, tmp_path / "b.nii", "--identifying") == 0
    assert json.loads((tmp_path / "b.json").read_text())["SeriesInstanceUID"] == derived_uid("cli", "1")
    assert (tmp_path / "a.nii").read_bytes() == (tmp_path / "b.nii").read_bytes()


def test_every_series_of_a_tree(tmp_path, capsys):
    for number in (1, 2, 3):
        saved(tmp_path / "in" / "Doe^Jane" / f"s{number}", named_series(number))
    saved(tmp_path / "in" / "Doe^Jane" / "s4", named_series(4), skip=(2, 5))  # a gap
    (tmp_path / "in" / "notes").mkdir()
    (tmp_path / "in" / "notes" / "Doe^Jane.txt").write_text("not DICOM")
    assert ailab("convert", tmp_path / "in", tmp_path / "out", "--json") == 1
    done = capsys.readouterr()
    body = json.loads(done.out)
    assert [one["series"] for one in body["written"]] == [derived_uid("cli", str(n)) for n in (1, 2, 3)]
    assert {derived_uid("cli", "4") in one["what"] or one["what"].startswith("file") for one in body["refused"]} == {True}
    assert any("spacing" in one["reason"] for one in body["refused"])
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 6
    assert all(name.startswith("CT-") for name in names)
    assert "Jane" not in "".join(names) + done.out.replace(str(tmp_path), "") + done.err
    for one in body["written"]:
        assert nibabel.load(one["file"]).shape[2] == one["slices"]


def test_a_batch_is_the_same_every_time(tmp_path):
    for number in range(5):
        saved(tmp_path / "in" / f"s{number}", named_series(number))
    for out in ("a", "b"):
        assert ailab("convert", tmp_path / "in", tmp_path / out) == 0
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 10
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_series_in_several_folders_is_one(tmp_path, capsys):
    for number, ds in enumerate(named_series(3)):
        saved(tmp_path / "in" / f"part{number % 2}", [ds])
        (tmp_path / "in" / f"part{number % 2}" / "Doe^Jane-0.dcm").rename(tmp_path / "in" / f"part{number % 2}" / f"{number}.dcm")
    saved(tmp_path / "in" / "other", named_series(1))
    assert ailab("convert", tmp_path / "in", tmp_path / "out", "--json") == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert {one["series"]: one["slices"] for one in written} == {derived_uid("cli", "3"): 7, derived_uid("cli", "1"): 5}
    whole = next(one["file"] for one in written if one["slices"] == 7)
    assert np.array_equal(volume_from_nifti(Path(whole)).array, volume_from_datasets(named_series(3)).array)


def test_a_large_folder_is_sorted_before_it_is_read(tmp_path, capsys, monkeypatch):
    from ailab_kernel.cli import batch

    monkeypatch.setattr(batch, "_AT_ONCE_BYTES", 1000)
    for number in (1, 2, 3):
        for place, ds in enumerate(named_series(number)):
            folder = tmp_path / "in" / ("" if place % 2 else "below")
            folder.mkdir(parents=True, exist_ok=True)
            ds.save_as(folder / f"{number}-{place}.dcm", enforce_file_format=True)
    (tmp_path / "in" / "notes.txt").write_text("not DICOM")
    assert ailab("convert", tmp_path / "in", tmp_path / "out", "--json") == 1
    body = json.loads(capsys.readouterr().out)
    assert {one["series"]: one["slices"] for one in body["written"]} == {derived_uid("cli", str(n)): 4 + n for n in (1, 2, 3)}
    assert len(body["refused"]) == 1


def test_several_series_and_one_file(tmp_path, capsys):
    for number in (1, 2):
        saved(tmp_path / "in" / str(number), named_series(number))
    assert ailab("convert", tmp_path / "in", tmp_path / "x.nii") == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert all(derived_uid("cli", str(number)) in told for number in (1, 2))
    assert "--series" in told
    assert not (tmp_path / "x.nii").exists()
    assert ailab("convert", tmp_path / "in", tmp_path / "x.nii", "--series", derived_uid("cli", "2")) == 0
    assert nibabel.load(tmp_path / "x.nii").shape == (7, 6, 6)


def test_a_series_of_the_archive(tmp_path, capsys):
    open_archive(f"folder:{tmp_path / 'archive'}").store(named_series(2))
    url = f"folder:{tmp_path / 'archive'}"
    for out in (tmp_path / "x.nii.gz", tmp_path / "out"):
        assert ailab("convert", derived_uid("cli", "2"), out, "--url", url) == 0
    assert np.array_equal(volume_from_nifti(tmp_path / "x.nii.gz").array, volume_from_datasets(named_series(2)).array)
    assert len(list((tmp_path / "out").glob("CT-2-*.nii.gz"))) == 1
    assert ailab("convert", "1.2.3.4", tmp_path / "y.nii.gz", "--url", url) == 1
    assert "not in the archive" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "code"), [
    (("nowhere", "x.nii"), 2), (("empty", "x.nii"), 1), (("empty", "out"), 1), (("in", "out", "--name", "{patient}.nii"), 2),
    (("in", "out", "--name", "{modality}.nii"), 2), (("in", "out", "--name", "../{uid}.nii"), 2),
    (("in", "out", "--name", "{uid}.png"), 2), (("in", "x.nii", "--series", "1.2.3"), 1),
])  # fmt: skip
def test_wrong_use_is_one_line(tmp_path, capsys, monkeypatch, words, code):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "in", named_series(1))
    (tmp_path / "empty").mkdir()
    assert ailab("convert", *words) == code
    told = capsys.readouterr().err
    assert told.startswith("ailab: ")
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["rle", "jpegls", "j2k", "jpeg"])
def test_every_codec_in_a_process_of_its_own(shared_data, tmp_path, kind):
    """The terminal's process imports pydicom without its decoders."""
    source = shared_data / "dicom2nifti" / "tests" / "data" / "generic" / f"compressed_{kind}"
    tool = Path(sys.executable).with_name("ailab")
    done = subprocess.run([tool, "convert", source, tmp_path, "--json"], capture_output=True, text=True, check=False)
    (written,) = json.loads(done.stdout)["written"]
    (vol,) = volumes_from_folder(source).volumes
    assert np.array_equal(volume_from_nifti(Path(written["file"])).array, vol.array)


def test_one_file(tmp_path):
    source = saved(tmp_path / "in", [next(named_series(1))])
    assert ailab("convert", source / "Doe^Jane-0.dcm", tmp_path / "x.nii") == 0
    assert nibabel.load(tmp_path / "x.nii").shape == (7, 6, 1)


def test_uneven_slices_only_on_request(tmp_path, capsys):
    source = saved(tmp_path / "in", sorted(named_series(3), key=lambda ds: ds.InstanceNumber), skip=(2,))
    assert ailab("convert", source, tmp_path / "x.nii") == 1
    assert "spacing" in capsys.readouterr().err
    assert ailab("convert", source, tmp_path / "x.nii", "--resample") == 0
    assert nibabel.load(tmp_path / "x.nii").shape[2] == 7
