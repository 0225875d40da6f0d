"""``folder:`` archive: ``<study>/<series>/<instance>.dcm`` in a plain directory, with an index beside it.

An instance counts as stored once its bytes, its name in the folder and its line in the index are on the disk, in
that order; a crash in between leaves at worst a whole file that the next :meth:`FolderArchive.store` or
:meth:`FolderArchive.reindex` takes up. Writers in any number of threads and processes take turns on the index's
write lock; readers never wait. All of them must be on one machine: SQLite's write-ahead log needs shared memory, so a
folder that several machines mount is for one of them to write, and a PACS or Orthanc is the archive for many.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from sqlite3 import Connection
from urllib.parse import unquote

from pydicom import Dataset

from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import ArchiveError, DicomError, SettingsError
from ailab_kernel.ground.store import sync_folder

from . import index as table
from .archive import Refused, Series, SeriesList, Stored, Studies
from .found import (
    absent,
    check_uids,
    series_of,
    sorted_series,
    sorted_studies,
    study_of,
    with_series_words,
)
from .index import Index, Row
from .instances import Instance, instance, same_content, uid_of
from .matching import accepted, series_conditions, study_conditions
from .qido import IDENTITY
from .reindex import CONFLICTS, INCOMING, INDEX, Reindexed, reindex
from .storing import Place

_BATCH = 128                   # instances between two index commits of one store
_SYNC_THREADS = 4              # fsyncs that wait together share the disk's flush
_STALE_S = 3600                # a batch takes seconds: what is older was left by a crash
_CONFLICT = "this SOP Instance UID is already stored with other content; the new one is kept aside in conflicts/"


@dataclass(frozen=True)
class _Written:
    """An instance whose bytes (no longer in ``instance``) wait in the incoming folder for their name."""

    instance: Instance
    path: Path
    synced: "Future[None]"


@dataclass(frozen=True)
class FolderArchive:
    """Archive in a folder. It is made by the first store; a folder that is not there is an empty archive."""

    root: Path = field(repr=False)
    url: str = field(init=False)
    _index: Index = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise SettingsError(f"folder:{self.root} is a file; a folder archive needs a folder")
        object.__setattr__(self, "url", f"folder:{self.root}")
        object.__setattr__(self, "_index", Index(self.root / INDEX))

    def search_studies(self, **match: object) -> Studies:
        """Studies that match; see :class:`.archive.Archive`."""
        words = with_series_words(self, match)
        if words is None:
            return Studies()
        conditions = study_conditions(words)
        rows = groupby(sorted(self._rows(conditions), key=itemgetter("StudyInstanceUID")),
                       key=itemgetter("StudyInstanceUID"))
        studies = (_study_attributes(list(series)) for _, series in rows)
        return sorted_studies(study_of(one, self) for one in studies if accepted(conditions, one))

    search = search_studies

    def search_series(self, study_uid: str = "", **match: object) -> SeriesList:
        """Series that match; see :class:`.archive.Archive`."""
        conditions = series_conditions(match | ({"study": study_uid} if study_uid else {}))
        return sorted_series(series_of(row, self) for row in self._rows(conditions) if accepted(conditions, row))

    def retrieve(self, series: Series) -> Iterator[Dataset]:
        """Instances file by file, in the order of Instance Number (0020,0013)."""
        return (self._read(row) for row in self._instances(series))

    def retrieve_files(self, series: Series) -> Iterator[Path]:
        """Where the files are, in the order of Instance Number (0020,0013); for reading only."""
        return (self._checked(row) for row in self._instances(series))

    def store(self, datasets: Iterable[Dataset]) -> Stored:
        """Keep instances, durable when this returns; repeated stores change nothing.

        Returns
        -------
        Stored
            Known UID with the same content: ``already``. Known UID with other content: refused, and kept aside under
            ``conflicts/``. UIDs that are none: refused.
        """
        total, rest = Stored(), iter(datasets)
        while True:
            first = list(islice(rest, 1))
            if not first:
                return total
            total += self._store_batch(chain(first, islice(rest, _BATCH - 1)))

    def delete(self, study_uid: str, series_uid: str = "") -> None:
        """Remove a study or one series, with what lies aside in ``conflicts/`` of it."""
        check_uids(study_uid, series_uid)
        rows: list[Row] = []
        if self._opened():
            with self._filing("delete"), self._index.writing() as db:
                rows = table.rows_of(db, study_uid, series_uid)
                self._unlink(rows)
                table.drop(db, rows)
        if not rows:
            raise absent(self, study_uid, series_uid)

    def known(self, new: list[Instance]) -> dict[str, Place]:
        """Where these SOP Instance UIDs are, in whatever series; ``path`` leads to the file below `root`."""
        if not self._opened():
            return {}
        with self._index.reading() as db:
            rows = [row for row in (table.row_of(db, one.uid) for one in new) if row]
        columns = (*IDENTITY, "path")
        return {row.uid: dict(zip(columns, (row.study_uid, row.series_uid, row.uid, row.path), strict=True))
                for row in rows if (self.root / row.path).exists()}

    def held(self, places: Mapping[str, Place]) -> dict[str, Path]:
        """Where the files of known UIDs are; for reading only."""
        return {uid: self.root / str(place["path"]) for uid, place in places.items()}

    def reindex(self) -> Reindexed:
        """Make the index agree with the files: those put there by hand are found, whatever their layout or name."""
        self._index.create()
        return reindex(self.root, self._index)

    def _opened(self) -> bool:
        """Whether there is an archive; its index is made when it is missing."""
        if not self.root.is_dir():
            return False
        self._open()
        return True

    def _open(self) -> None:
        with self._filing("open"):
            self.root.mkdir(parents=True, exist_ok=True)
        if not self._index.ready():
            self.reindex()

    def _rows(self, conditions: Iterable) -> list[dict]:
        if not self._opened():
            return []
        studies = chain(*(one.values for one in conditions if one.keyword == "StudyInstanceUID"))
        with self._index.reading() as db:
            return table.series_rows(db, studies)

    def _instances(self, series: Series) -> list[Row]:
        rows: list[Row] = []
        if self._opened():
            with self._index.reading() as db:
                rows = table.rows_of(db, series.study_uid, series.uid)
        if not rows:
            raise absent(self, series.study_uid, series.uid)
        return rows

    def _read(self, row: Row) -> Dataset:
        with self._reading(row):
            return read_dataset(self._checked(row))

    def _checked(self, row: Row) -> Path:
        path = self.root / row.path
        with self._reading(row):
            if path.stat().st_size != row.size:
                raise DicomError(f"the file changed since it was stored, {row.size} bytes then")
        return path

    @contextmanager
    def _reading(self, row: Row) -> Iterator[None]:
        try:
            yield
        except (DicomError, FileNotFoundError) as error:
            raise ArchiveError(f"instance {row.uid} in {self.url} cannot be read ({error}); restore the file, or call "
                               "reindex() to take the folder as it is") from error

    def _store_batch(self, datasets: Iterable[Dataset]) -> Stored:
        self._open()
        with self._incoming() as folder, ThreadPoolExecutor(_SYNC_THREADS) as pool:
            with self._index.reading() as db:
                taken = [self._take(ds, folder / f"{number}.part", db=db, pool=pool)
                         for number, ds in enumerate(datasets)]
            written = [one for one in taken if isinstance(one, _Written)]
            with self._filing("store"):
                for one in written:
                    one.synced.result()
                published = self._publish(written)
            return sum((one for one in taken if isinstance(one, Stored)), published)

    def _take(self, ds: Dataset, path: Path, *, db: Connection, pool: ThreadPoolExecutor) -> "_Written | Stored":
        """Write an instance that the index does not know, and let the pool wait for the disk."""
        try:
            new = instance(ds)
        except DicomError as error:
            return Stored(refused=(Refused(uid_of(ds), str(error)),))
        row = table.row_of(db, new.uid)
        if row and row.content == new.content and (self.root / row.path).exists():
            return Stored(already=1)
        with self._filing("store"), path.open("wb") as file:
            file.write(new.data)
            synced = pool.submit(_sync_and_close, os.dup(file.fileno()))
        return _Written(replace(new, data=b""), path, synced)

    def _publish(self, written: list[_Written]) -> Stored:
        """Give the written files their names, make the folders durable, then the index; under the write lock."""
        total = Stored()
        folders: set[Path] = set()
        with self._index.writing() as db:
            for one in written:
                total += self._place(db, one, folders)
            for folder in sorted(folders):
                sync_folder(folder)
        return total

    def _place(self, db: Connection, one: _Written, folders: set[Path]) -> Stored:
        new = one.instance
        row = table.row_of(db, new.uid)
        path = Path(row.path) if row else Path(new.study_uid, new.series_uid, f"{new.uid}.dcm")
        if not (self.root / path).exists():
            path = Path(new.study_uid, new.series_uid, f"{new.uid}.dcm")
            folders |= self._move(one.path, path)
            table.add(db, self._row(new, path), new.shown)
            return Stored(stored=1)
        if (row and row.content == new.content) or _same_files(one.path, self.root / path):
            if row is None:                    # a crash came between its name and its line in the index
                table.add(db, self._row(new, path), new.shown)
            return Stored(already=1)
        folders |= self._move(one.path, Path(CONFLICTS, new.study_uid, new.series_uid,
                                             f"{new.uid}.{new.content[:16]}.dcm"))
        return Stored(refused=(Refused(new.uid, _CONFLICT),))

    def _row(self, new: Instance, path: Path) -> Row:
        found = (self.root / path).stat()
        return Row(new.uid, new.study_uid, new.series_uid, new.number, path.as_posix(),
                   found.st_size, found.st_mtime_ns, new.content)

    def _move(self, source: Path, path: Path) -> set[Path]:
        """Rename into the archive; answers the folders whose entries changed."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        return {parent for parent in target.parents if parent == self.root or self.root in parent.parents}

    def _unlink(self, rows: list[Row]) -> None:
        for row in rows:
            (self.root / row.path).unlink(missing_ok=True)
        for study_uid, series_uid in {(row.study_uid, row.series_uid) for row in rows}:
            shutil.rmtree(self.root / CONFLICTS / study_uid / series_uid, ignore_errors=True)
        for folder in {(self.root / row.path).parent for row in rows}:
            _remove_empty(folder, self.root)

    @contextmanager
    def _incoming(self) -> Iterator[Path]:
        """A folder of one's own for unfinished files; what crashed writers left is swept."""
        incoming = self.root / INCOMING
        with self._filing("store"):
            incoming.mkdir(exist_ok=True)
            for left in incoming.iterdir():
                if _age_s(left) > _STALE_S:
                    shutil.rmtree(left, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(dir=incoming))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _filing(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArchiveError(f"{self.url} cannot {verb} ({error.strerror}); check permissions and free space, and "
                               "repeat: what is there already is not stored twice") from error


def open_url(url: str) -> FolderArchive:
    """``folder:PATH`` (relative or absolute) or ``folder:///PATH``."""
    path = unquote(url.partition(":")[2])
    path = path.removeprefix("//") if path.startswith("///") else path
    if not path:
        raise SettingsError("folder: names no folder; write for example folder:archive")
    return FolderArchive(Path(path).expanduser().absolute())


def _same_files(one: Path, other: Path) -> bool:
    try:
        return same_content(one.read_bytes(), other.read_bytes())
    except DicomError:
        return False


def _sync_and_close(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _study_attributes(series: list[dict]) -> dict:
    """What a study's series say together: the first value given, all modalities, the sum of instances."""
    given = {key: next((one[key] for one in series if one[key]), "") for key in series[0]}
    modalities = tuple(sorted({one["Modality"] for one in series} - {""}))
    return given | {"ModalitiesInStudy": modalities, "instances": sum(one["instances"] for one in series)}
