"""A whole archive into another one: real Orthancs, killed and gone on with, nothing lost, nothing twice, all proven."""

import json
import os
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from ailab_kernel.archives import open_archive
from ailab_kernel.datasets.deidentified import Stored, _calls_back, deidentify_place, place_of
from ailab_kernel.ground.errors import ArchiveRefused, ArchiveUnreachable, SettingsError, WrongUse
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.privacy.bulk import JOURNAL, Line, Made, Treatment
from ailab_kernel.privacy.pixels.redact import Pixels
from ailab_kernel.privacy.rules.profile import profile_of
from ailab_kernel.privacy.rules.standins import StandIns, keyed
from ailab_kernel.volumes.series import volume_from_datasets
from tests.archives.samples import HOSPITAL, hospital, make
from tests.privacy.battery.studies import ROOT, Person, drawing, objects
from tests.privacy.objects import KEY, ct
from tests.privacy.test_objects_stay_whole import references
from tests.services import Orthanc, orthanc

TREATMENT = Treatment(profile_of("research"), KEY, pixels=Pixels.OFF)
UID = StandIns(keyed(KEY)).uid


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A hospital's archive, and an empty one for research."""
    with (
        orthanc(tmp_path_factory.mktemp("clinic")) as clinic,
        orthanc(tmp_path_factory.mktemp("research")) as research,
    ):
        yield clinic, research


@pytest.fixture
def clinic(pair) -> Orthanc:
    pair[0].wipe()
    return pair[0]


@pytest.fixture
def research(pair) -> Orthanc:
    pair[1].wipe()
    return pair[1]


@pytest.fixture
def key(tmp_path) -> Path:
    path = tmp_path / "site.key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    return path


def command(*words: object) -> list[str]:
    return [sys.executable, "-c", "from ailab_kernel.cli.main import main; main()", *map(str, words)]


def ailab(*words: object, home: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "AILAB_HOME": str(home)}
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=300, env=environment)


def held(url: str) -> dict[str, bytes]:
    """Every instance of an archive, by SOP Instance UID."""
    archive = open_archive(url)
    files = [one if isinstance(one, bytes) else one.read_bytes() for study in archive.search()
             for series in study.series for one in archive.retrieve_files(series)]  # fmt: skip
    found = {str(dcmread(BytesIO(one), stop_before_pixels=True).SOPInstanceUID): one for one in files}
    assert len(found) == len(files)
    return found


def lines_of(journal: Path) -> list[dict]:
    return [json.loads(line) for line in (journal / JOURNAL).read_text().splitlines()[1:]]


@pytest.mark.slow
def test_killed_and_gone_on_with_the_other_archive_holds_everything_once(clinic, research, tmp_path, key):
    people = [Person(7, number) for number in range(1, 21)]
    given = {person: objects(person) for person in people}
    everything = [ds for held in given.values() for _, ds in held]
    assert open_archive(clinic.url).store(everything).stored == len(everything) == 180
    journal = tmp_path / "journal"
    words = ("deidentify", clinic.url, research.url, "--key-file", key, "--journal", journal, "--pixels", "off",
             "--processes", 2, "--json")  # fmt: skip
    kills, environment = 0, {**os.environ, "AILAB_HOME": str(tmp_path / "lab")}
    for more in (20, 60):
        running = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   start_new_session=True, env=environment)
        wanted, until = research.rest("/statistics")["CountInstances"] + more, time.monotonic() + 120
        while running.poll() is None and time.monotonic() < until and research.rest("/statistics")["CountInstances"] < wanted:
            time.sleep(0.02)
        kills += running.poll() is None
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert kills == 2
    done = ailab(*words, home=tmp_path / "lab")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert (report["files"], report["written"], report["refused"]) == (180, 180, [])
    made = held(research.url)
    assert set(made) == {UID(str(ds.SOPInstanceUID)) for ds in everything}, "none lost, none more"
    lines = [one for one in lines_of(journal) if "file" in one]
    assert len({one["file"] for one in lines}) == len(lines) == 180, "none twice"
    assert {Path(one["output"]).stem for one in lines} == set(made)
    told = b"".join(made.values()) + b"".join(path.read_bytes() for path in journal.iterdir())
    assert ROOT.encode() not in told
    assert not [person.last for person in people if person.last.encode() in told or person.id.encode() in told]
    for kind, file in ((kind, made[UID(str(ds.SOPInstanceUID))]) for held in given.values() for kind, ds in held):
        named = references(dcmread(BytesIO(file)))
        assert kind in {"CT", "MR", "US"} or set(named) & set(made), "every object still refers to what is there"
    before = (journal / JOURNAL).read_bytes()
    again = ailab(*words, home=tmp_path / "lab")
    assert (again.returncode, json.loads(again.stdout)) == (0, report)
    assert (journal / JOURNAL).read_bytes() == before
    on_its_images(given[people[4]], made)


def on_its_images(given: list, made: dict[str, bytes]) -> None:
    """The SEG lies on the CT as it lay."""
    after = [(kind, dcmread(BytesIO(made[UID(str(ds.SOPInstanceUID))]))) for kind, ds in given]
    vol = volume_from_datasets([ds for kind, ds in after if kind == "CT"])
    seg = next(ds for kind, ds in after if kind == "SEG")
    assert np.array_equal(read_seg(seg, vol).array, drawing().array)


@pytest.mark.parametrize("way", ["url", "dimse"])
def test_an_archive_into_a_folder_and_a_folder_into_an_archive(way, clinic, research, tmp_path, workspace):
    open_archive(clinic.url).store(hospital())
    report = deidentify_place(open_archive(getattr(clinic, way)), tmp_path / "out", TREATMENT, processes=1,
                              audit=workspace.catalog.audit)  # fmt: skip
    assert (report["files"], report["written"], report["refused"]) == (13, 13, [])
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 13
    expected = {UID(str(ds.SOPInstanceUID)) for ds in hospital()}
    assert {path.stem for path in (tmp_path / "out").rglob("*.dcm")} == expected
    trail = [(line["event"], json.loads(line["detail"])) for line in workspace.catalog.audit_trail()]
    assert {event for event, _ in trail} == {"deidentify"}
    assert sorted(one["study"] for _, one in trail) == sorted({one.study_uid for one in HOSPITAL}), "one a study"
    assert sum(int(one["instances"]) for _, one in trail) == 13
    (tmp_path / "in").mkdir()
    for number, ds in enumerate(hospital()):
        ds.save_as(tmp_path / "in" / f"{number}.dcm", enforce_file_format=True)
    back = deidentify_place(tmp_path / "in", open_archive(getattr(research, way)), TREATMENT, processes=1,
                            journal=tmp_path / "journal", audit=workspace.catalog.audit)  # fmt: skip
    assert (back["files"], back["written"], back["refused"]) == (13, 13, [])
    assert set(held(research.url)) == expected
    last = workspace.catalog.audit_trail()[-1]
    assert json.loads(last["detail"])["instances"] == "13"
    assert not [word for word in ("Adler", "ACC-a", HOSPITAL[0].study_uid) if word in str(lines_of(tmp_path / "journal"))]


def test_folder_archives_and_what_a_study_gained(tmp_path):
    source, target = (open_archive(f"folder:{tmp_path / name}") for name in ("clinic", "research"))
    a, b = make(HOSPITAL[0]), make(HOSPITAL[2])
    source.store([*a[:2], *b])
    run = {"journal": tmp_path / "journal", "processes": 1}
    assert deidentify_place(source, target, TREATMENT, **run)["written"] == 4
    source.store(a[2:])
    assert deidentify_place(source, target, TREATMENT, **run)["written"] == 5
    assert len(held(target.url)) == 5
    names = [one["file"] for one in lines_of(tmp_path / "journal") if "file" in one]
    assert len(set(names)) == len(names) == 5


def test_what_stays_out_is_told_by_number_and_stand_in(tmp_path):
    source, target = (open_archive(f"folder:{tmp_path / name}") for name in ("clinic", "research"))
    document = ct("1.2.276.0.77.50", EncapsulatedDocument=b"%PDF")
    source.store([ct("1.2.276.0.77.1"), document, ct("1.2.276.0.77.9")])
    report = deidentify_place(source, target, TREATMENT, journal=tmp_path / "journal", processes=1)
    told, = report["refused"]
    assert (told["study"], told["number"], told["instance"]) == (1, 2, UID("1.2.276.0.77.50"))
    assert "holds a document" in told["reason"]
    assert "1.2.276.0.77" not in json.dumps(report), "no UID of an original"
    assert len(held(target.url)) == report["written"] == 2


def test_what_the_archive_does_not_take_is_told_and_tried_again(tmp_path):
    source, target = (open_archive(f"folder:{tmp_path / name}") for name in ("clinic", "research"))
    source.store([ct("1.2.276.0.77.1"), ct("1.2.276.0.77.2")])
    other = ct(UID("1.2.276.0.77.2"), KVP="80")
    target.store([other])
    for _ in range(2):
        report = deidentify_place(source, target, TREATMENT, journal=tmp_path / "journal", processes=1)
        assert [one["instance"] for one in report["refused"]] == [UID("1.2.276.0.77.2")]
        assert "already stored with other content" in report["refused"][0]["reason"]
    target.delete(str(other.StudyInstanceUID))
    report = deidentify_place(source, target, TREATMENT, journal=tmp_path / "journal", processes=1)
    assert (report["written"], report["refused"]) == (2, [])


def test_an_archive_that_breaks_off_is_told_and_tried_again(tmp_path):
    source, target = (open_archive(f"folder:{tmp_path / name}") for name in ("clinic", "research"))
    source.store([*make(HOSPITAL[0]), *make(HOSPITAL[2])])
    torn = next((tmp_path / "clinic").rglob(f"{HOSPITAL[0].series_uid}/*.dcm"))
    whole = torn.read_bytes()
    torn.write_bytes(whole[:-10])
    report = deidentify_place(source, target, TREATMENT, journal=tmp_path / "journal", processes=1)
    told, = report["refused"]
    assert told["reason"].startswith("broke off, the next run tries it again: instance (UID) in folder:")
    assert set(told) == {"study", "reason"}
    assert HOSPITAL[0].series_uid not in json.dumps(report)
    assert report["written"] == 2, "the other study is done"
    torn.write_bytes(whole)
    report = deidentify_place(source, target, TREATMENT, journal=tmp_path / "journal", processes=1)
    assert (report["written"], report["refused"]) == (5, [])


@pytest.mark.parametrize("processes", [1, 2])
def test_an_archive_that_does_not_answer_ends_the_run(tmp_path, processes):
    source = open_archive(f"folder:{tmp_path / 'clinic'}")
    source.store(hospital())
    gone = open_archive("dicomweb+http://127.0.0.1:9/x")
    with pytest.raises(ArchiveUnreachable):
        deidentify_place(source, gone, TREATMENT, journal=tmp_path / "journal", processes=processes)
    assert lines_of(tmp_path / "journal") == []


def test_an_archive_that_lets_nobody_in_says_so(tmp_path):
    source, folder = open_archive(f"folder:{tmp_path / 'clinic'}"), tmp_path / "in"
    source.store(make(HOSPITAL[2]))
    folder.mkdir()
    for number, ds in enumerate(make(HOSPITAL[2])):
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    with orthanc(tmp_path / "orthanc", users={"anna": "p"}) as closed:
        target = open_archive(closed.url.replace("anna:p@", ""))
        told, = deidentify_place(source, target, TREATMENT, journal=tmp_path / "journal", processes=1)["refused"]
        assert "does not accept the credentials" in told["reason"]
        with pytest.raises(ArchiveRefused, match="does not accept the credentials"):
            deidentify_place(folder, target, TREATMENT, journal=tmp_path / "other", processes=1)


def test_two_objects_with_one_uid_are_not_taken_for_one(tmp_path):
    target = open_archive(f"folder:{tmp_path / 'research'}")
    files = []
    for kvp in ("80", "80", "100"):
        buffer = BytesIO()
        ct("2.25.7", KVP=kvp).save_as(buffer, enforce_file_format=True)
        files.append(buffer.getvalue())
    made = [Made(Line(str(number), number, "p/s/t/2.25.7.dcm", sha256=kind), file)
            for number, (file, kind) in enumerate(zip(files, "aab", strict=True), 1)]  # fmt: skip
    assert [bool(line.output) for line in Stored(target).kept(made)] == [True, True, False]
    assert len(held(target.url)) == 1


@pytest.mark.parametrize(("options", "once"), [("", False), ("?retrieve=move&listen=4244", True), ("?listen=4244", True)])
def test_a_pacs_that_calls_back_is_asked_by_one_process(options, once):
    assert _calls_back(open_archive(f"dimse://AILAB@127.0.0.1:4242/PACS{options}")) is once
    assert not _calls_back(open_archive("folder:x"))


def test_wrong_use_is_said(tmp_path, clinic):
    source, target = (open_archive(f"folder:{tmp_path / name}") for name in ("clinic", "research"))
    source.store(make(HOSPITAL[2]))
    for wrong in ({}, {"journal": tmp_path / "clinic" / "journal"}):
        with pytest.raises(WrongUse):
            deidentify_place(source, target, TREATMENT, **wrong)
    for same in (source, tmp_path / "clinic" / "out"):
        with pytest.raises(WrongUse):
            deidentify_place(source, same, TREATMENT, journal=tmp_path / "journal")
    deidentify_place(source, target, TREATMENT, journal=tmp_path / "journal", processes=1)
    another = open_archive(f"folder:{tmp_path / 'another'}")
    for wrong in ((target, Treatment(profile_of("research"), bytes(32))), (another, TREATMENT)):
        with pytest.raises(SettingsError, match="begun with another key or profile, or for another archive"):
            deidentify_place(source, *wrong, journal=tmp_path / "journal")
    assert place_of(f"folder:{tmp_path}").url == f"folder:{tmp_path}"
    assert place_of("./a:b") == Path("./a:b")
    with pytest.raises(SettingsError):
        place_of("ftp://somewhere")
    with pytest.raises(SettingsError, match="password_env") as caught:
        place_of("dicomweb+http://anna:very-secret@127.0.0.1/x")
    assert "very-secret" not in str(caught.value)


def test_the_command_line_with_a_lab_and_without_a_server(tmp_path, key, workspace):
    source = open_archive(f"folder:{tmp_path / 'clinic'}")
    source.store(make(HOSPITAL[2]))
    workspace.catalog.audit("import", n="1")
    words = ("deidentify", source.url, f"folder:{tmp_path / 'research'}", "--key-file", key)
    assert "--journal" in ailab(*words, home=workspace.home).stderr
    done = ailab(*words, "--journal", tmp_path / "journal", "--processes", 1, home=workspace.home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 of 2 files de-identified")
    assert [line["event"] for line in workspace.catalog.audit_trail()] == ["import", "deidentify"]
    gone = ailab("deidentify", "dicomweb+http://127.0.0.1:9/x", tmp_path / "out", "--key-file", key, home=workspace.home)
    assert gone.returncode == 1
    assert "no answer from 127.0.0.1:9" in gone.stderr
    assert not (tmp_path / "none").exists()
