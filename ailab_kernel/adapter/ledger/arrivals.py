"""What arrived: one row an instance, in SQLite or PostgreSQL, written before any promise is made, and never changed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ailab_kernel.ground.database import open_engine
from ailab_kernel.ground.errors import CatalogError

from .tables import ARRIVALS, METADATA

KEPT, CONFLICT, ASIDE = "kept", "conflict", "aside"
_AT_ONCE = 400                                 # values in one IN (...): SQLite takes 999

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
            METADATA.create_all(db)

    def keep(self, new: Sequence[Arrival]) -> list[str]:
        """Write arrivals in one transaction and return the state of each; a repeat changes nothing.

        Raises
        ------
        CatalogError
            The database did not take them: none of them is kept.
        """
        try:
            with self.engine.begin() as db:
                known = self._known(db, [one.uid for one in new])
                states, rows = [], []
                for one in new:
                    there = known.setdefault(one.uid, {})
                    if one.content not in there:
                        clash = one.state == KEPT and any(state != ASIDE for state in there.values())
                        there[one.content] = CONFLICT if clash else one.state
                        rows.append(asdict(one) | {"state": there[one.content]})
                    states.append(there[one.content])
                if rows:
                    db.execute(ARRIVALS.insert(), rows)
        except DBAPIError as error:
            msg = f"the adapter's ledger did not take an arrival: {type(error.orig).__name__}; check disk and rights"
            raise CatalogError(msg) from error
        return states

    def arrivals(self, **match: str) -> list[Arrival]:
        """Return arrivals by column (``study_uid=``, ``uid=``, ``state=``), oldest first."""
        chosen = [ARRIVALS.c[name] for name in Arrival.__slots__]
        wished = [ARRIVALS.c[name] == value for name, value in match.items()]
        with self.reader.connect() as db:
            return [Arrival(*row) for row in db.execute(sa.select(*chosen).where(*wished).order_by(ARRIVALS.c.seq))]

    def close(self) -> None:
        """Let the database go."""
        self.engine.dispose()

    @staticmethod
    def _known(db: sa.Connection, uids: Sequence[str]) -> dict[str, dict[str, str]]:
        """States by UID and content."""
        found: dict[str, dict[str, str]] = {}
        chosen = sa.select(ARRIVALS.c.uid, ARRIVALS.c.content, ARRIVALS.c.state)
        for at in range(0, len(uids), _AT_ONCE):
            row: Any
            for row in db.execute(chosen.where(ARRIVALS.c.uid.in_(uids[at:at + _AT_ONCE]))):
                found.setdefault(row.uid, {})[row.content] = row.state
        return found
