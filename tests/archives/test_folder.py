"""The folder archive: crash-safe, shared by processes, its index only a cache."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import Dataset

from ailab_kernel.archives import FolderArchive, open_archive
from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import ArchiveError, NotFound, SettingsError
from tests.archives.samples import HOSPITAL, Sample, hospital, make

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from dataclasses import replace
from ailab_kernel.archives import open_archive
from tests.archives.samples import Sample, make
archive, name, rounds = open_archive(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    datasets = make(Sample(name, str(number), slices=3, size=64))
    stored = archive.store(datasets)
    assert stored.stored + stored.already == 3, stored
    print(*(ds.SOPInstanceUID for ds in datasets), flush=True)
"""


@pytest.fixture
def archive(tmp_path: Path) -> FolderArchive:
    return open_archive(f"folder:{tmp_path / 'archive'}")


@pytest.fixture
def filled(archive: FolderArchive) -> FolderArchive:
    archive.store(hospital())
    return archive


def writer(archive: FolderArchive, name: str, rounds: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WRITER, archive.url, name, str(rounds)], cwd=ROOT,
                            stdout=subprocess.PIPE, text=True)


def files(archive: FolderArchive) -> list[Path]:
    return sorted(archive.root.rglob("*.dcm"))


def test_layout_is_plain(filled: FolderArchive) -> None:
    sample = HOSPITAL[0]
    names = {path.name for path in (filled.root / sample.study_uid / sample.series_uid).iterdir()}
    assert names == {f"{ds.SOPInstanceUID}.dcm" for ds in make(sample)}


def test_bytes_are_the_same_every_time(filled: FolderArchive, tmp_path: Path) -> None:
    again = open_archive(f"folder:{tmp_path / 'again'}")
    again.store(reversed(hospital()))
    assert [path.read_bytes() for path in files(filled)] == [path.read_bytes() for path in files(again)]


def test_series_comes_in_order(archive: FolderArchive) -> None:
    archive.store(reversed(make(Sample("a", "long", slices=12))))
    series, = archive.search_series()
    assert [ds.InstanceNumber for ds in archive.retrieve(series)] == list(range(1, 13))


def test_nothing_is_made_before_the_first_store(archive: FolderArchive) -> None:
    assert archive.search() == ()
    assert not archive.root.exists()


@pytest.mark.parametrize("url", ["folder:{}", "folder://{}"])
def test_relative_and_absolute_urls(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_archive(url.format(tmp_path / "x")).root == tmp_path / "x"
    assert open_archive("folder:x").root == tmp_path / "x"


@pytest.mark.parametrize(("url", "says"), [
    ("dimsy://host", "begins with one of dicomweb[+]http:, dicomweb[+]https:, dimse:, dimse[+]tls:, folder:; got dimsy:"),
    ("archive", "got no scheme"),
    ("folder:", "names no folder"),
    (f"folder:{__file__}", "is a file"),
])
def test_wrong_urls(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        open_archive(url)


def test_conflict_is_kept_aside_once(filled: FolderArchive) -> None:
    changed = make(HOSPITAL[0])[0]
    changed.PatientComments = "changed"
    for _ in range(2):
        assert len(filled.store([changed]).refused) == 1
    aside, = (filled.root / "conflicts").rglob("*.dcm")
    assert read_dataset(aside).PatientComments == "changed"
    assert filled.reindex().refused == ()


def test_delete_series_and_study(filled: FolderArchive) -> None:
    lung, soft = HOSPITAL[0], HOSPITAL[1]
    filled.delete(lung.study_uid, lung.series_uid)
    assert [one.uid for one in filled.search_series(lung.study_uid)] == [soft.series_uid]
    filled.delete(lung.study_uid)
    assert filled.search(study=lung.study_uid) == ()
    assert not (filled.root / lung.study_uid).exists()
    assert filled.store(hospital()).stored == 5


def test_delete_takes_what_was_aside(filled: FolderArchive) -> None:
    changed = make(HOSPITAL[0])[0]
    changed.PatientComments = "changed"
    filled.store([changed])
    filled.delete(HOSPITAL[0].study_uid)
    assert not list((filled.root / "conflicts").rglob("*.dcm"))


def test_delete_of_nothing(filled: FolderArchive) -> None:
    with pytest.raises(NotFound, match=r"no study 1\.2\.3"):
        filled.delete("1.2.3")


def test_lost_index_is_made_again(filled: FolderArchive) -> None:
    before = filled.search()
    for path in filled.root.glob("index.sqlite*"):
        path.unlink()
    assert filled.search() == before


def test_damaged_index_is_named_with_its_cure(filled: FolderArchive) -> None:
    for path in filled.root.glob("index.sqlite*"):
        path.unlink()
    (filled.root / "index.sqlite").write_bytes(b"no database at all" * 1000)
    with pytest.raises(ArchiveError, match=r"damaged.*delete index.sqlite"):
        filled.search()


def test_files_put_there_by_hand_are_found(filled: FolderArchive, tmp_path: Path) -> None:
    elsewhere = open_archive(f"folder:{tmp_path / 'elsewhere'}")
    elsewhere.store(make(Sample("hand", "hand", slices=2)))
    (filled.root / "CD" / "IMAGES").mkdir(parents=True)
    for number, path in enumerate(files(elsewhere)):
        shutil.copy(path, filled.root / "CD" / "IMAGES" / f"IM{number}")
    (filled.root / "CD" / "README.TXT").write_text("no DICOM")
    answer = filled.reindex()
    assert (answer.added, answer.removed) == (2, 0)
    assert [one.what for one in answer.refused] == ["CD/README.TXT"]
    series, = filled.search_series(Sample("hand", "").study_uid)
    assert len(list(filled.retrieve(series))) == 2
    assert filled.store(make(Sample("hand", "hand", slices=2))).already == 2
    filled.delete(series.study_uid)
    assert not (filled.root / "CD" / "IMAGES").exists()


def test_files_taken_away_are_forgotten(filled: FolderArchive) -> None:
    shutil.rmtree(filled.root / HOSPITAL[2].study_uid)
    assert filled.reindex().removed == 2
    assert filled.search(study=HOSPITAL[2].study_uid) == ()


def test_a_file_taken_away_can_be_stored_again(filled: FolderArchive) -> None:
    files(filled)[0].unlink()
    answer = filled.store(hospital())
    assert (answer.stored, answer.already) == (1, len(hospital()) - 1)


def test_a_second_file_of_one_instance_is_reported(filled: FolderArchive) -> None:
    shutil.copy(files(filled)[0], filled.root / "copy.dcm")
    answer = filled.reindex()
    assert [one.what for one in answer.refused] == ["copy.dcm"]
    assert "the same content" in answer.refused[0].reason


def test_torn_file_is_named(filled: FolderArchive) -> None:
    torn = filled.root / HOSPITAL[3].study_uid
    for path in torn.rglob("*.dcm"):
        path.write_bytes(path.read_bytes()[:300])
    series, = filled.search_series(HOSPITAL[3].study_uid)
    with pytest.raises(ArchiveError, match=r"cannot be read.*reindex"):
        list(filled.retrieve(series))
    assert len(filled.reindex().refused) == 2
    assert filled.search(study=HOSPITAL[3].study_uid) == ()


def test_only_old_leftovers_are_swept(filled: FolderArchive) -> None:
    old, new = filled.root / ".incoming" / "old", filled.root / ".incoming" / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "0.part").write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    filled.store(make(HOSPITAL[0]))
    assert not old.exists()
    assert new.exists()


def test_a_crash_between_name_and_index_is_healed(filled: FolderArchive) -> None:
    for path in filled.root.glob("index.sqlite*"):
        path.unlink()
    empty = open_archive(filled.url)
    empty.reindex()
    with empty._index.writing() as db:
        db.execute("DELETE FROM instances")
        db.execute("DELETE FROM series")
    assert empty.store(hospital()).already == len(hospital())
    assert len(empty.search()) == 4


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="check permissions and free space"):
        open_archive(f"folder:{tmp_path}/file/below").store(hospital())


def test_full_disk_is_named_and_nothing_is_lost(filled: FolderArchive) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(ArchiveError, match="cannot store"):
            filled.store(make(Sample("large", "large", size=512)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((filled.root / ".incoming").iterdir())
    assert filled.store(hospital()).already == len(hospital())
    assert filled.store(make(Sample("large", "large", size=512))).stored == 3


def test_a_source_that_breaks_off_leaves_no_rubbish(filled: FolderArchive) -> None:
    def source() -> Iterator[Dataset]:
        yield from make(Sample("broken", "broken"))
        raise ConnectionError("the other archive went away")

    with pytest.raises(ConnectionError):
        filled.store(source())
    assert not list((filled.root / ".incoming").iterdir())
    assert filled.search(study=Sample("broken", "").study_uid) == ()


def test_many_instances_are_stored_in_parts(archive: FolderArchive) -> None:
    assert archive.store(iter(make(Sample("long", "long", slices=300, size=2)))).stored == 300
    series, = archive.search_series()
    assert series.instances == 300


def test_threads_share_an_archive(archive: FolderArchive) -> None:
    def work(number: int) -> int:
        stored = archive.store(make(Sample(f"t{number % 4}", f"s{number}", slices=3)))
        assert all(len(list(archive.retrieve(series))) == 3 for series in archive.search_series())
        return stored.stored

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(16))) == 48
    assert sum(study.instances for study in archive.search()) == 48


def test_processes_share_an_archive_from_its_first_moment(archive: FolderArchive) -> None:
    writers = [writer(archive, name, 6) for name in ("same", "same", "other", "more")]
    seen: set[int] = set()
    while any(one.poll() is None for one in writers):
        seen.add(sum(study.instances or 0 for study in archive.search()))
    assert [one.wait() for one in writers] == [0] * 4
    for one in writers:
        one.communicate()
    assert {study.instances for study in archive.search()} == {18}
    assert all(count % 3 == 0 for count in seen)          # a store shows whole or not at all
    assert archive.reindex().added == 0


def test_kill_9_loses_nothing_acknowledged(archive: FolderArchive) -> None:
    chance = random.Random(1)
    acknowledged: set[str] = set()
    for number in range(6):
        one = writer(archive, f"run{number}", 10_000)
        first = one.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.25))
        one.send_signal(signal.SIGKILL)
        acknowledged |= {uid for line in [first, *one.stdout.read().split("\n")[:-1]] for uid in line.split()}
        one.communicate()
    found = {ds.SOPInstanceUID for series in archive.search_series() for ds in archive.retrieve(series)}
    assert acknowledged <= found
    assert len(acknowledged) > 18
    assert all(read_dataset(path).PixelData for path in files(archive))          # no torn file under its name
    assert archive.reindex().refused == ()
