"""Index of a folder archive: SQLite beside the files, a cache that can be made again from them.

Columns are named by DICOM keyword, so that a row is judged by the matching keys as it is.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path

from ailab_kernel.ground.errors import ArchiveError

from .instances import SHOWN

_VERSION = 1
_PATIENCE_S = 60
_NAMED_AT_MOST = 500           # SQLite allows so many variables at least; of more, all rows are judged anyway
_SCHEMA = (
    f"""CREATE TABLE IF NOT EXISTS series (StudyInstanceUID TEXT, SeriesInstanceUID TEXT,
        {', '.join(f'{name} TEXT' for name in SHOWN)}, PRIMARY KEY (StudyInstanceUID, SeriesInstanceUID))""",
    """CREATE TABLE IF NOT EXISTS instances (uid TEXT PRIMARY KEY, study_uid TEXT, series_uid TEXT, number INTEGER,
        path TEXT UNIQUE, size INTEGER, mtime_ns INTEGER, content TEXT)""",
    "CREATE INDEX IF NOT EXISTS instances_by_series ON instances (study_uid, series_uid, number, uid)",
)


@dataclass(frozen=True)
class Row:
    """One indexed file; ``path`` is relative to the archive's root."""

    uid: str
    study_uid: str
    series_uid: str
    number: int | None
    path: str
    size: int
    mtime_ns: int
    content: str


class Index:
    """Connections to the index, one per use, so that threads and processes never share one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ready(self) -> bool:
        """Whether the tables are there and filled from the files."""
        with self._connected() as db:
            return db.execute("PRAGMA user_version").fetchone()[0] == _VERSION

    def create(self) -> None:
        """Make the tables where they are missing."""
        with self._connected() as db:
            _write_ahead(db)
            for statement in _SCHEMA:
                db.execute(statement)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Connection that sees one consistent state."""
        with self._connected() as db:
            db.execute("BEGIN")
            yield db
            db.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Connection that is the archive's only writer until the block ends; durable once it has ended."""
        with self._connected() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")               # left undone by an error: closing the connection rolls back

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_PATIENCE_S, isolation_level=None)) as db:
                db.row_factory = sqlite3.Row
                db.execute("PRAGMA synchronous = FULL")
                yield db
        except sqlite3.OperationalError as error:
            raise ArchiveError(f"the index {self.path.name} of the folder archive cannot be used ({error}); check the "
                               "folder's permissions and free space, and try again") from error
        except sqlite3.DatabaseError as error:
            raise ArchiveError(f"the index {self.path.name} of the folder archive is damaged ({error}); the images are "
                               "not: delete index.sqlite* while nobody uses the archive, and open it again") from error


def mark_ready(db: sqlite3.Connection) -> None:
    """Say that the index now holds every file."""
    db.execute(f"PRAGMA user_version = {_VERSION}")


def row_of(db: sqlite3.Connection, uid: str) -> Row | None:
    """Row of one SOP Instance UID."""
    found = db.execute("SELECT * FROM instances WHERE uid = ?", (uid,)).fetchone()
    return Row(**dict(found)) if found else None


def all_rows(db: sqlite3.Connection) -> list[Row]:
    """Every indexed file."""
    return [Row(**dict(one)) for one in db.execute("SELECT * FROM instances")]


def rows_of(db: sqlite3.Connection, study_uid: str, series_uid: str = "") -> list[Row]:
    """Rows of a study, or of one of its series in the order of Instance Number (0020,0013)."""
    found = db.execute("SELECT * FROM instances WHERE study_uid = ? AND ? IN ('', series_uid) "
                       "ORDER BY series_uid, number, uid", (study_uid, series_uid))
    return [Row(**dict(one)) for one in found]


def has_series(db: sqlite3.Connection, study_uid: str, series_uid: str) -> bool:
    """Whether it is recorded what a series is."""
    asked = "SELECT 1 FROM series WHERE StudyInstanceUID = ? AND SeriesInstanceUID = ?"
    return db.execute(asked, (study_uid, series_uid)).fetchone() is not None


def add(db: sqlite3.Connection, row: Row, shown: tuple[str, ...]) -> None:
    """Record a file; the first instance of a series says what the series is; others may leave it out."""
    db.execute("INSERT OR REPLACE INTO instances VALUES (?, ?, ?, ?, ?, ?, ?, ?)", astuple(row))
    if shown:
        db.execute(f"INSERT OR IGNORE INTO series VALUES ({', '.join('?' * (2 + len(SHOWN)))})",
                   (row.study_uid, row.series_uid, *shown))


def drop(db: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Forget files, and series of which none is left."""
    db.executemany("DELETE FROM instances WHERE uid = ?", [(row.uid,) for row in rows])
    db.execute("DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM instances WHERE study_uid = StudyInstanceUID "
               "AND series_uid = SeriesInstanceUID)")


def series_rows(db: sqlite3.Connection, study_uids: Iterable[str] = ()) -> list[dict[str, str | int]]:
    """Every series by keyword, with ``instances`` counted; of these studies only, where they are few."""
    wanted = tuple(islice(study_uids, _NAMED_AT_MOST + 1))
    wanted = wanted if len(wanted) <= _NAMED_AT_MOST else ()
    where = f"WHERE StudyInstanceUID IN ({', '.join('?' * len(wanted))})" if wanted else ""
    found = db.execute("SELECT series.*, count(*) AS instances FROM series JOIN instances ON study_uid = "
                       f"StudyInstanceUID AND series_uid = SeriesInstanceUID {where} "
                       "GROUP BY StudyInstanceUID, SeriesInstanceUID", wanted)
    return [dict(one) for one in found]


def _write_ahead(db: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; SQLite does not queue for this switch as it does for writes."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
