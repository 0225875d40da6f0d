"""What arrived: one row an instance, in SQLite or PostgreSQL, written before any promise is made, and never changed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.exc import DBAPIError

from ailab_kernel.ground.database import open_engine
from ailab_kernel.ground.errors import CatalogError

from .tables import ARRIVALS, METADATA, MINUTES, STUDIES

KEPT, CONFLICT, ASIDE = "kept", "conflict", "aside"
# Their `on_conflict_...` clauses are alike; SQLAlchemy has no common name for them.
INSERT: Mapping[str, Callable[[sa.Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_NAMED: Mapping[str, sa.Dialect] = {"sqlite": sqlite.dialect(paramstyle="named"), "postgresql": psycopg.dialect()}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One instance that arrived.

    Attributes
    ----------
    uid
        SOP Instance UID (0008,0018) as the sender named it.
    content
        SHA-256 of transfer syntax and data set, which names the file; empty where nothing was kept.
    sender
        Calling AE title and address.
    at
        When its last byte came, seconds since 1970.
    state
        ``kept``; ``conflict``: kept beside another of the same UID with other bytes; ``aside``: kept, and not to be
        used, for the reason given.
    """

    uid: str
    content: str
    study_uid: str
    series_uid: str
    sop_class: str
    syntax: str
    size: int
    sender: str
    at: float
    state: str = KEPT
    reason: str = ""


class Ledger:
    """The database of one adapter, and its arrivals.

    Parameters
    ----------
    url
        SQLAlchemy URL: ``sqlite:///...`` or ``postgresql+psycopg://...``.

    Attributes
    ----------
    engine, reader
        To write in a transaction, and to read without waiting for writers.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url, pooled=True)
        self.reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with self.engine.begin() as db:
            counted = sa.inspect(db).has_table(STUDIES.name)
            METADATA.create_all(db)
            if not counted:                    # a ledger of before there were sums
                db.execute(STUDIES.insert().from_select([one.name for one in STUDIES.c], _sums()))

    def keep(self, new: Sequence[Arrival]) -> list[str]:
        """Write arrivals in one transaction and return the state of each; a repeat changes nothing.

        Raises
        ------
        CatalogError
            The database did not take them: none of them is kept.
        """
        try:
            with self._writing() as cursor:
                states, rows = self._sorted(cursor, new)
                if rows:
                    self._put(cursor, rows)
        except self._broken as error:
            msg = f"the adapter's ledger did not take an arrival: {type(error).__name__}; check disk and rights"
            raise CatalogError(msg) from error
        return states

    def arrivals(self, **match: str) -> list[Arrival]:
        """Return arrivals by column (``study_uid=``, ``uid=``, ``state=``), oldest first."""
        chosen = [ARRIVALS.c[name] for name in Arrival.__slots__]
        wished = [ARRIVALS.c[name] == value for name, value in match.items()]
        with self.reader.connect() as db:
            return [Arrival(*row) for row in db.execute(sa.select(*chosen).where(*wished).order_by(ARRIVALS.c.seq))]

    def by_study(self, **match: str) -> list[Mapping[str, Any]]:
        """Return of each study ``study_uid``, ``series``, ``kept``, ``conflict``, ``aside``, ``bytes``, ``last_at``."""
        wished = [ARRIVALS.c[name] == value for name, value in match.items()]
        asked = _sums().add_columns(sa.func.count(ARRIVALS.c.series_uid.distinct()).label("series")).where(*wished)
        with self.reader.connect() as db:
            return [dict(row) for row in db.execute(asked.order_by(sa.func.min(ARRIVALS.c.seq))).mappings()]

    def close(self) -> None:
        """Let the database go."""
        self.engine.dispose()

    @property
    def _broken(self) -> tuple[type[Exception], ...]:
        """What goes wrong in a database: as the driver says it, and as SQLAlchemy says it while it connects."""
        return self.engine.dialect.loaded_dbapi.Error, DBAPIError

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """A cursor in a transaction, of the driver itself: SQLAlchemy takes longer for an instance than a database."""
        with closing(self.engine.raw_connection()) as connection:      # closed, it is rolled back and kept in the pool
            cursor = connection.cursor()
            if self.engine.dialect.name == "sqlite":
                cursor.execute("BEGIN IMMEDIATE")
            yield cursor
            connection.commit()

    def _sorted(self, cursor: Any, new: Sequence[Arrival]) -> tuple[list[str], list[dict[str, Any]]]:
        """Return the state of each arrival, and the rows of those that are new."""
        known = {one.uid: self._known(cursor, one.uid) for one in new}
        states, rows = [], []
        for one in new:
            there = known[one.uid]
            if one.content not in there:
                clash = one.state == KEPT and any(state != ASIDE for state in there.values())
                there[one.content] = CONFLICT if clash else one.state
                rows.append({name: getattr(one, name) for name in Arrival.__slots__} | {"state": there[one.content]})
            states.append(there[one.content])
        return states, rows

    def _known(self, cursor: Any, uid: str) -> dict[str, str]:
        """States by content."""
        cursor.execute(_statements(self.engine.dialect.name).known, {"uid": uid})
        return dict(cursor.fetchall())

    def _put(self, cursor: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write new arrivals and add them to the sums; in one order, lest two receivers wait for each other."""
        run = _statements(self.engine.dialect.name)
        cursor.executemany(run.insert, rows)
        cursor.executemany(run.by_study, [_sum(study, some) for study, some in _grouped(rows, itemgetter("study_uid"))])
        cursor.executemany(run.by_minute, [{"minute": minute, "instances": len(some), "bytes": _bytes(some)}
                           for minute, some in _grouped(rows, lambda one: int(one["at"]) // 60)])  # fmt: skip


def _sums() -> sa.Select:
    """Sums of all arrivals by study, in the order of `STUDIES`' columns; whatever was kept is to be looked at."""
    states = [sa.func.sum(sa.case((ARRIVALS.c.state == state, 1), else_=0)).label(state)
              for state in (KEPT, CONFLICT, ASIDE)]  # fmt: skip
    kept = sa.func.max(sa.case((ARRIVALS.c.state == KEPT, 1), else_=0)).label("open")
    return sa.select(ARRIVALS.c.study_uid, *states, sa.func.sum(ARRIVALS.c.size).label("bytes"),
                     sa.func.max(ARRIVALS.c.at).label("last_at"), kept).group_by(ARRIVALS.c.study_uid)  # fmt: skip


@dataclass(frozen=True)
class _Statements:
    """What runs for every instance, as the driver takes it, with named parameters."""

    known: str
    insert: str
    by_study: str
    by_minute: str


@cache
def _statements(dialect: str) -> _Statements:
    """Return the statements of a dialect, written out once."""
    study, minute = INSERT[dialect](STUDIES), INSERT[dialect](MINUTES)
    more = {name: STUDIES.c[name] + study.excluded[name] for name in (KEPT, CONFLICT, ASIDE, "bytes")}
    more["open"] = STUDIES.c.open.op("|")(study.excluded.open)
    more["last_at"] = study.excluded.last_at
    known = sa.select(ARRIVALS.c.content, ARRIVALS.c.state).where(ARRIVALS.c.uid == sa.bindparam("uid"))
    return _Statements(*(str(one.compile(dialect=_NAMED[dialect])) for one in (
        known,
        ARRIVALS.insert().inline().values({name: sa.bindparam(name) for name in Arrival.__slots__}),
        study.on_conflict_do_update(index_elements=["study_uid"], set_=more),
        minute.on_conflict_do_update(index_elements=["minute"], set_={
            name: MINUTES.c[name] + minute.excluded[name] for name in ("instances", "bytes")}),
    )))  # fmt: skip


def _sum(study: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    states = {state: sum(one["state"] == state for one in rows) for state in (KEPT, CONFLICT, ASIDE)}
    return {"study_uid": study, **states, "open": min(states[KEPT], 1), "bytes": _bytes(rows),
            "last_at": max(one["at"] for one in rows)}  # fmt: skip


def _grouped(
    rows: Iterable[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], Any]
) -> list[tuple[Any, list[Mapping[str, Any]]]]:
    return [(value, list(some)) for value, some in groupby(sorted(rows, key=key), key)]


def _bytes(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum(one["size"] for one in rows)
