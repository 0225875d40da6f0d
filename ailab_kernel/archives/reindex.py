"""Make a folder archive's index agree with its files, however they came there."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import islice
from pathlib import Path
from sqlite3 import Connection

from ailab_kernel.dicom.parsing import guarded, read_header
from ailab_kernel.dicom.scan import scan
from ailab_kernel.dicom.uids import check_uid
from ailab_kernel.ground.errors import DicomError
from ailab_kernel.ground.progress import track

from . import index as table
from .archive import Refused, refused_table
from .index import Index, Row
from .instances import IDENTITY, fingerprint, identity, number_of, shown

INDEX, INCOMING, CONFLICTS = "index.sqlite", ".incoming", "conflicts"
_READ_AT_ONCE = 512            # files between two index commits


@dataclass(frozen=True)
class Reindexed:
    """What a reindex did: files newly indexed, files that are gone, and those that are no usable DICOM."""

    added: int = 0
    removed: int = 0
    refused: tuple[Refused, ...] = ()

    def __str__(self) -> str:
        return f"{self.added} added, {self.removed} removed, {len(self.refused)} refused"

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>{refused_table('file', self.refused)}"


def reindex(root: Path, index: Index) -> Reindexed:
    """Take up files that are new or changed, forget those that are gone; files that are no DICOM are reported."""
    with index.reading() as db:
        known = {row.path: row for row in table.all_rows(db)}
    files = [path for path in _files(root) if _changed(root / path, known.get(path))]
    added, refused = 0, []
    reading = (_read(root, path) for path in (track(files, what="files indexed") if files else ()))
    while read := list(islice(reading, _READ_AT_ONCE)):
        refused += [one for one in read if isinstance(one, Refused)]
        with index.writing() as db:
            table.drop(db, (known[path] for path in _paths(read) if path in known))
            answers = [_take_up(db, root, *one) for one in read if not isinstance(one, Refused)]
        refused += [one for one in answers if one]
        added += answers.count(None)
    return Reindexed(added, _forget_missing(root, index), tuple(refused))


def _forget_missing(root: Path, index: Index) -> int:
    with index.writing() as db:
        gone = [row for row in table.all_rows(db) if not (root / row.path).exists()]
        table.drop(db, gone)
        table.mark_ready(db)
    return len(gone)


def _files(root: Path) -> Iterator[str]:
    for top in sorted(root.iterdir()):
        if top.name in (INCOMING, CONFLICTS) or top.name.startswith(INDEX):
            continue
        inside = sorted(top.rglob("*")) if top.is_dir() else [top]
        yield from (path.relative_to(root).as_posix() for path in inside if path.is_file())


def _changed(path: Path, row: Row | None) -> bool:
    found = path.stat()
    return row is None or (row.size, row.mtime_ns) != (found.st_size, found.st_mtime_ns)


def _read(root: Path, path: str) -> tuple[Row, tuple[str, ...]] | Refused:
    """A file's row and what is shown of its series; the latter is empty where the file was only looked at."""
    try:
        found = (root / path).stat()
        data = (root / path).read_bytes()
        with guarded("file"):
            known, values = _looked_at(data), tuple[str, ...]()
            if known is None:
                header = read_header(data)
                known, values = (*identity(header), number_of(header)), shown(header)
            study_uid, series_uid, uid, number = known
            return Row(uid, study_uid, series_uid, number, path, found.st_size, found.st_mtime_ns,
                       fingerprint(data)), values  # fmt: skip
    except DicomError as error:
        return Refused(path, str(error))
    except OSError as error:
        return Refused(path, f"cannot be read ({error.strerror}); check its permissions")


def _looked_at(data: bytes) -> tuple[str, str, str, int | None] | None:
    """Study, series and instance UID and Instance Number (0020,0013) of a plain file; None: pydicom must read it."""
    found = scan(data, len(data))
    if found is None:
        return None
    try:
        study_uid, series_uid, uid, _ = (check_uid(found.text(keyword)) for keyword in IDENTITY)
        number = found.text("InstanceNumber")
        return study_uid, series_uid, uid, int(number) if number else None
    except (ValueError, DicomError):
        return None


def _paths(read: Iterable[tuple[Row, tuple[str, ...]] | Refused]) -> Iterator[str]:
    yield from (one.what if isinstance(one, Refused) else one[0].path for one in read)


def _take_up(db: Connection, root: Path, row: Row, values: tuple[str, ...]) -> Refused | None:
    """Index one file; a second file of the same UID is left out."""
    other = table.row_of(db, row.uid)
    if other and other.path != row.path and (root / other.path).exists():
        content = "the same" if other.content == row.content else "other"
        return Refused(row.path, f"instance {row.uid} is already at {other.path} with {content} content; "
                                 "remove one of the two and reindex")
    try:
        if not values and not table.has_series(db, row.study_uid, row.series_uid):
            values = shown(read_header(root / row.path))
    except DicomError as error:
        return Refused(row.path, str(error))
    table.add(db, row, values)
    return None
