"""A whole folder: in parallel, killed and gone on with, nothing lost and nothing mapped twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydicom import Sequence, dcmread

from ailab_kernel.ground.errors import SettingsError, WrongUse
from ailab_kernel.privacy.folder import JOURNAL, REPORT, Treatment, deidentify_folder
from ailab_kernel.privacy.rules.profile import profile_of

from .burned import US, Line, anatomy, drawn, image
from .objects import KEY, ct, file_of
from .test_scrub import item

TREATMENT = Treatment(profile_of("research"), KEY)


def fill(folder: Path, studies: int = 3, slices: int = 4) -> Path:
    for study in range(studies):
        for number in range(slices):
            ds = ct(f"1.2.276.0.77.{study}.{number}", PatientID=f"MRN-{study}", PatientName=f"Quixano^Alonso{study}")
            ds.StudyInstanceUID, ds.SeriesInstanceUID = f"1.2.276.0.88.{study}", f"1.2.276.0.99.{study}"
            path = folder / f"Quixano {study}" / f"{number}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file_of(ds))
    return folder


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.dcm"))}


def ailab(*words: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from ailab_kernel.cli.main import main; main()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def key(tmp_path) -> Path:
    path = tmp_path / "site.key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    return path


def test_a_folder_is_de_identified(tmp_path):
    report = deidentify_folder(fill(tmp_path / "in"), tmp_path / "out", TREATMENT, processes=1)
    assert (report["files"], report["written"], report["refused"]) == (12, 12, [])
    assert report["values_searched"] > 12 * 10
    made = bytes_below(tmp_path / "out")
    assert len({path.split("/")[0] for path in made}) == 3
    everything = b"".join(made.values()) + b"".join(path.read_bytes() for path in (tmp_path / "out").glob("*.json*"))
    everything += str(sorted((tmp_path / "out").rglob("*"))).encode()
    assert not [one for one in (b"uixano", b"MRN-", b"Argamasilla", b"1.2.276.0.77") if one in everything]
    assert "CT chest for [removed], ordered by [removed] on [removed]" in report["texts_to_review"]


def test_one_process_or_two_and_again_are_equal(tmp_path):
    fill(tmp_path / "in")
    for name, processes in (("one", 1), ("two", 2)):
        deidentify_folder(tmp_path / "in", tmp_path / name, TREATMENT, processes=processes)
    assert bytes_below(tmp_path / "one") == bytes_below(tmp_path / "two")
    before = (tmp_path / "one" / JOURNAL).read_bytes()
    again = deidentify_folder(tmp_path / "in", tmp_path / "one", TREATMENT, processes=1)
    assert again["written"] == 12
    assert (tmp_path / "one" / JOURNAL).read_bytes() == before, "nothing was done twice"


def test_a_name_that_one_object_knows_goes_from_all(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(file_of(ct("1.2.276.0.77.1", SeriesDescription="protocol of Ginesillo")))
    (folder / "b.dcm").write_bytes(file_of(ct("1.2.276.0.77.2", OperatorsName="Ginesillo^X")))
    deidentify_folder(folder, tmp_path / "out", TREATMENT, processes=1)
    said = {dcmread(path).SeriesDescription for path in (tmp_path / "out").rglob("*.dcm")}
    assert said == {"protocol of [removed]", "Chest 1.5 mm lung kernel"}


def test_what_cannot_be_done_is_told_by_number_and_the_rest_goes_on(tmp_path):
    folder = fill(tmp_path / "in", 1, 2)
    (folder / "Alonso.txt").write_text("no image")
    (folder / "Zorro.dcm").write_bytes(file_of(ct())[:900])
    (folder / "Zz.dcm").write_bytes(file_of(ct("1.2.276.0.77.50", EncapsulatedDocument=b"%PDF")))
    same = ct("1.2.276.0.77.0.0", PatientID="MRN-0", KVP="80")
    same.StudyInstanceUID, same.SeriesInstanceUID = "1.2.276.0.88.0", "1.2.276.0.99.0"
    (folder / "twin.dcm").write_bytes(file_of(same))
    report = deidentify_folder(folder, tmp_path / "out", TREATMENT, processes=1)
    assert [one["number"] for one in report["refused"]] == [1, 4, 5, 6]
    reasons = [one["reason"] for one in report["refused"]]
    assert reasons[0] == "no DICOM file"
    assert "Alonso" not in json.dumps(report)
    assert "1.2.276.0.77" not in json.dumps(report), "no UID of an original"
    assert any("cut off" in one or "malformed" in one for one in reasons)
    assert any("holds a document" in one for one in reasons)
    assert any("another object with the same SOP Instance UID" in one for one in reasons)
    assert report["written"] == 2


def test_another_key_or_profile_does_not_go_on(tmp_path):
    fill(tmp_path / "in", 1, 1)
    deidentify_folder(tmp_path / "in", tmp_path / "out", TREATMENT, processes=1)
    for other in (Treatment(profile_of("research"), bytes(32)), Treatment(profile_of("basic"), KEY)):
        with pytest.raises(SettingsError, match="another key or profile"):
            deidentify_folder(tmp_path / "in", tmp_path / "out", other)
    assert KEY.hex() not in (tmp_path / "out" / JOURNAL).read_text()


def test_folders_that_lie_in_each_other_or_hold_something_are_refused(tmp_path):
    fill(tmp_path / "in", 1, 1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for source, target in (("in", "in"), ("in", "in/out"), ("in/Quixano 0", "in"), ("in", "full"), ("none", "out")):
        with pytest.raises(WrongUse):
            deidentify_folder(tmp_path / source, tmp_path / target, TREATMENT)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["full", "in"], "nothing was begun"


@pytest.mark.slow
def test_killed_and_gone_on_with_gives_the_same(tmp_path, key):
    fill(tmp_path / "in", 20, 20)
    deidentify_folder(tmp_path / "in", tmp_path / "whole", TREATMENT, processes=2)
    words = ["deidentify", tmp_path / "in", tmp_path / "out", "--key-file", key, "--processes", "2"]
    command = [sys.executable, "-c", "from ailab_kernel.cli.main import main; main()", *map(str, words)]
    kills = 0
    for _ in range(3):
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        had = len(list((tmp_path / "out").rglob("*.dcm")))
        until = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < until and len(list((tmp_path / "out").rglob("*.dcm"))) < had + 70:
            time.sleep(0.02)
        kills += running.poll() is None
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    done = ailab(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert kills >= 2
    assert json.loads(done.stdout)["written"] == 400
    assert bytes_below(tmp_path / "out") == bytes_below(tmp_path / "whole")
    lines = (tmp_path / "out" / JOURNAL).read_text().splitlines()[1:]
    assert len({json.loads(line)["file"] for line in lines}) == len(lines) == 400, "none lost, none twice"


def test_the_command_line(tmp_path, key):
    fill(tmp_path / "in", 1, 2)
    done = ailab("deidentify", tmp_path / "in", tmp_path / "out", "--key-file", key)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 of 2 files de-identified")
    assert (tmp_path / "out" / REPORT).is_file()
    key.chmod(0o644)
    assert ailab("deidentify", tmp_path / "in", tmp_path / "o2", "--key-file", key).returncode == 2
    key.chmod(0o600)
    wrong = ailab("deidentify", tmp_path / "in", tmp_path / "o3", "--key-file", key, "--profile", "none")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr + done.stderr


def test_burned_in_names_are_masked_and_shown_for_review(tmp_path, key):
    folder = tmp_path / "in"
    folder.mkdir()
    picture, _ = drawn(anatomy(240, 320), (Line("QUIXANO ALONSO", 12, 16), Line("MRN-4711-77", 12, 200)))
    (folder / "us.dcm").write_bytes(file_of(image(picture[None], sop_class=US, modality="US")))
    (folder / "ct.dcm").write_bytes(file_of(ct("1.2.276.0.77.9", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])))
    sheets = tmp_path / "sheets"
    done = ailab("deidentify", folder, tmp_path / "out", "--key-file", key, "--sheets", sheets, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["pixels"] == {"read": 1, "masked": 1}
    assert [one.name for one in sheets.iterdir()] == ["000002.html"]
    assert sheets.stat().st_mode & 0o777 == 0o700
    masked, = [ds for path in (tmp_path / "out").rglob("*.dcm") if (ds := dcmread(path)).Modality == "US"]
    assert masked.BurnedInAnnotation == "NO"
    assert masked.pixel_array[:40].max() < 150, "the name at the top is gone"
    inside = ailab("deidentify", folder, tmp_path / "o2", "--key-file", key, "--sheets", tmp_path / "o2" / "sheets")
    assert inside.returncode == 2
    assert ailab("deidentify", folder, tmp_path / "o3", "--key-file", key, "--pixels", "magic").returncode == 2


def test_references_hold_across_files(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(file_of(ct("1.2.276.0.77.1")))
    (folder / "b.dcm").write_bytes(file_of(ct("1.2.276.0.77.2", SourceImageSequence=Sequence([
        item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID="1.2.276.0.77.1")]))))
    deidentify_folder(folder, tmp_path / "out", TREATMENT, processes=1)
    made = [dcmread(path) for path in (tmp_path / "out").rglob("*.dcm")]
    uids = {ds.SOPInstanceUID for ds in made}
    referring, = [ds for ds in made if "SourceImageSequence" in ds]
    assert referring.SourceImageSequence[0].ReferencedSOPInstanceUID in uids
