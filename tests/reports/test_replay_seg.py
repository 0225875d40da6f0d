"""A SEG of the archive made again: identical, or by how much it differs and why; also in the environment of then."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, version
from pathlib import Path

import numpy as np
import pytest

from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.ground import surroundings
from ailab_kernel.ground.errors import ModelChanged, NotFound, ReportError, WrongUse
from ailab_kernel.inference import Predictor, series
from ailab_kernel.lab import open_lab
from ailab_kernel.reports.replaying import finding, rebuilding
from ailab_kernel.volumes.masks import Mask
from tests.cli.running import ailab
from tests.reports.work import ROOT
from tests.services import orthanc

pytestmark = pytest.mark.slow
SIZE = {"style": "general-hospital", "size": (24, 96, 96), "spacing_mm": (10.0, 3.9, 3.7)}


def objects(seed=3):
    return make_objects(seed, truth=False, **SIZE)


def infer(lab, instances, model="lungs@general", **asked):
    lab.archive.store(instances)
    bundle = lab.models.get(model)
    return series.infer_series(lab.workspace, bundle.digest, str(instances[0].SeriesInstanceUID), **asked)


@pytest.fixture
def lab(workspace, tmp_path):
    return open_lab(tmp_path)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A lab with one SEG, and what its inference said; for tests that leave both as they are."""
    folder = tmp_path_factory.mktemp("one")
    lab = open_lab(folder, home=folder / "lab")
    return lab, infer(lab, objects())


def test_a_seg_of_a_pacs_is_identical_and_stands_in_ledger_and_trail(tmp_path, workspace):
    with orthanc(tmp_path / "orthanc") as pacs:
        lab = open_lab(tmp_path, archive=pacs.url)
        done = lab.infer(model="lungs@general", studies=_stored(lab), store=True)
        assert done.metrics["failed"] == 0
        found, = (ds for one in lab.archive.search_series(modality="SEG") for ds in lab.archive.retrieve(one))
        again = lab.replay(str(found.SOPInstanceUID))
        assert (again.identical, again.differences, again.causes) == (True, (), ())
        assert [row["dice"] for row in again.labels] == [1.0] * len(again.labels)
        assert again.notes[:2] == ("the SEG in the archive is what was stored",
                                   "made with the recorded time it has the same UID")
        assert "identical, voxel for voxel" in again._repr_html_()
        record, = lab.workspace.catalog.query("replay", name=str(found.SOPInstanceUID))
        assert record.body["identical"] is True
        assert json.loads(lab.workspace.catalog.audit_trail()[-1]["detail"])["what"] == str(found.SOPInstanceUID)
        assert lab.replay(done).identical, "its report as well"
        pacs.wipe()
        with pytest.raises(NotFound, match="is not in the archive"):
            lab.replay(str(found.SOPInstanceUID))


def _stored(lab):
    lab.archive.store(objects())
    return lab.archive.search(modality="CT")


def test_a_seg_whose_result_was_never_kept_is_found_by_its_uid(one, monkeypatch):
    monkeypatch.setattr(finding, "RESULT", "result-of-nobody")
    lab, done = one
    again = lab.replay(done["seg"])
    assert again.identical
    assert again.notes[1] == "made with the recorded time it has the same UID"


def test_by_another_engine_the_difference_is_counted_and_the_engine_named(one, monkeypatch):
    lab, done = one
    assert done["engine"] == "openvino"
    plain = Predictor.predict

    def touched(self, vol):
        mask = plain(self, vol)
        if self.engine != "torch":
            return mask
        array = mask.array.copy()
        array.reshape(-1)[np.flatnonzero(array == 1)[:10]] = 0
        return Mask(array, mask.grid, mask.labels)

    monkeypatch.setattr(Predictor, "predict", touched)
    again = lab.replay(done["seg"], engine="torch")
    row = again.labels[0]
    assert (row["changed"], row["voxels_before"] - row["voxels_now"]) == (10, 10)
    assert row["dice"] == pytest.approx(1 - 10 / (row["voxels_before"] + row["voxels_now"]))
    assert again.differences[0].startswith(f"{row['label']}: Dice 0.99")
    assert again.causes == ("likely cause: the engine: openvino then, torch now",)
    assert again.notes[-1] == "a second run by openvino, as then, gives every voxel as it was: the engine is the cause"


def test_torch_and_openvino_as_they_are(one):
    lab, done = one
    again = lab.replay(done["seg"], engine="torch")
    assert all(row["dice"] > 0.9999 for row in again.labels)
    told = again.causes if again.differences else again.notes
    assert any("the engine: openvino then, torch now" in line for line in told)
    if again.identical:
        assert "made now it would have another UID, since what goes into the UID changed" in again.notes


def test_changed_data_and_a_changed_archive_are_told_apart_from_a_changed_library(lab, tmp_path, monkeypatch):
    instances = objects()
    done = infer(lab, instances)
    lab.archive.delete(done["study"])
    for ds in instances:
        pixels = ds.pixel_array.copy()
        pixels[30:60, 30:60] += 400
        ds.PixelData = pixels.tobytes()
    lab.archive.store(instances)
    again = lab.replay(done["seg"])
    assert not again.identical
    assert again.causes == ("likely cause: the data: the series in the archive is not what it was; its voxels, place or "
                            "rescaling changed",)
    assert again.notes[0].startswith("the archive no longer has the SEG")
    assert all(0 < row["dice"] < 1 for row in again.labels)


def test_a_changed_model_a_wrong_engine_and_an_unknown_seg_are_each_one_line(one, capsys, monkeypatch):
    lab, done = one
    with pytest.raises(WrongUse, match="engine 'tensorrt': one of openvino, torch, torch-cuda is expected"):
        lab.replay(done["seg"], engine="tensorrt")
    with pytest.raises(WrongUse, match="an engine is chosen for a SEG only"):
        lab.replay("validate-00000000", engine="torch")
    monkeypatch.setenv("AILAB_HOME", str(lab.home))
    assert ailab("report", "replay", "1.2.3") == 1
    assert "no inference of this lab made a SEG 1.2.3" in capsys.readouterr().err
    weights = lab.workspace.catalog.path(lab.models.get("lungs@general").weights_digest)
    kept = weights.read_bytes()
    weights.chmod(0o644)
    weights.write_bytes(kept[:-1] + b"\x00")
    with pytest.raises(ModelChanged, match="changed since it was recorded"):
        lab.replay(done["seg"])
    weights.write_bytes(kept)


def wheel(folder: Path, name: str, number: str) -> Path:
    """An installed pure library as a wheel of another version."""
    found, info = distribution(name), f"{name}-{number}.dist-info"
    files = {str(path): path.read_binary() for path in found.files or ()
             if path.suffix == ".py" and ".." not in path.parts and ".dist-info" not in str(path)}
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n".encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    listed = [f"{path},sha256={_hash(data)},{len(data)}" for path, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*listed, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"{name}-{number}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        for inner, data in files.items():
            made.writestr(inner, data)
    return path


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder of wheels, and pip without any other index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def older(folder: Path) -> Path:
    """An AI-LAB of before: it saw the background stronger, and its lock names another tqdm."""
    shutil.copytree(ROOT / "ailab_kernel", folder / "ailab_kernel", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "notebooks" / "reports", folder / "notebooks" / "reports")
    pinned = rebuilding.pins(surroundings.lock_text()) | {"tqdm": "4.1.0"}
    (folder / "requirements.lock").write_text("".join(f"{name}=={number}\n" for name, number in pinned.items()))
    place = folder / "ailab_kernel" / "inference" / "predict.py"
    text, now = place.read_text(), "labels_from_logits(answer, grid"
    assert now in text
    place.write_text(text.replace(now, "labels_from_logits(answer + np.float32([2] + [0] * (len(answer) - 1)).reshape(-1, 1, 1, 1), grid"))
    return folder


def test_a_seg_of_an_older_ailab_differs_today_and_is_identical_in_the_environment_of_then(lab, wheels, tmp_path, capsys):
    code, instances = older(tmp_path / "older"), objects()
    lab.archive.store(instances)
    digest, uid = lab.models.get("lungs@general").digest, str(instances[0].SeriesInstanceUID)
    run = ("import json; from ailab_kernel.workspace import open_workspace; from ailab_kernel.inference.series import infer_series;"
           f"print(json.dumps(infer_series(open_workspace(), {digest!r}, {uid!r})))")
    done = subprocess.run([sys.executable, "-c", run], text=True, capture_output=True, check=True, cwd=tmp_path,
                          env=os.environ | lab.workspace.environment() | {"PYTHONPATH": str(code)})
    seg = json.loads(done.stdout.splitlines()[-1])["seg"]
    today = lab.replay(seg)
    assert not today.identical
    assert all(0.9 < row["dice"] < 1 and row["voxels_before"] < row["voxels_now"] for row in today.labels)
    assert today.differences[0].startswith("right-lung: Dice 0.9") or "Dice 0.9" in today.differences[0]
    # How many threads torch has in this process depends on the tests before.
    causes = [line for line in today.causes if "number of threads" not in line]
    assert [line.partition(" then")[0].rpartition(":")[0] for line in causes] == [
        "likely cause: AI-LAB's code", "likely cause: the lock"]
    assert today.notes[0] == "the SEG in the archive is what was stored"
    wheel(wheels, "tqdm", "4.1.0")
    then = lab.replay(seg, rebuild=True, code=code)
    assert then.identical, then.lines()
    assert then.notes == ("the SEG in the archive is what was stored", "made with the recorded time it has the same UID")
    place, = (lab.workspace.cache / "environments").iterdir()
    assert json.loads((place / "built.json").read_text())["installed"] == ["tqdm==4.1.0"]
    for path in wheels.iterdir():
        path.unlink()
    assert ailab("report", "replay", seg, "--rebuild", "--code", code) == 0, "an environment is made once"
    assert "identical, voxel for voxel" in capsys.readouterr().out


def test_what_cannot_be_rebuilt_is_refused_by_name(one, wheels, tmp_path):
    with pytest.raises(ReportError, match=r"names evil==1\.0, which this AI-LAB does not use; .*--allow NAME"):
        rebuilding.build(tmp_path / "e", b"evil==1.0\n")
    with pytest.raises(ReportError, match=r"pip could not install evil==1\.0: ERROR: No matching distribution.*PIP_FIND_LINKS"):
        rebuilding.build(tmp_path / "e", b"evil==1.0\n", allow=["evil"])
    assert list((tmp_path / "e").iterdir()) == [], "nothing half-made stays"
    for line in (b"evil @ https://example.org/evil.whl", b"--index-url https://example.org", b"tqdm>=4", b"-e ."):
        with pytest.raises(ReportError, match="holds a line that is no name==version; nothing was installed"):
            rebuilding.build(tmp_path / "e", line)
    lab, done = one
    with pytest.raises(ReportError, match=r"wheels does not hold the code that ran .*: give a checkout of that version"):
        lab.replay(done["seg"], rebuild=True, code=wheels)
    with pytest.raises(WrongUse, match="belong to rebuild"):
        lab.replay(done["seg"], code=wheels)
    old = {"lock": "0" * 64, "versions": {"python": "2.7.18"}}
    with pytest.raises(ReportError, match=r"it ran under Python 2\.7\.18, and this is 3\."):
        rebuilding.replay_elsewhere(lab.workspace, ["x"], surroundings=old)
    with pytest.raises(NotFound, match="was not kept: it is of an AI-LAB older"):
        rebuilding.replay_elsewhere(lab.workspace, ["x"], surroundings={"lock": "0" * 64})


def test_a_local_build_of_the_locked_version_is_that_version():
    assert rebuilding.missing({"torch": version("torch").partition("+")[0]}) == []
    assert rebuilding.missing({"torch": "0.1"}) == ["torch==0.1"]
