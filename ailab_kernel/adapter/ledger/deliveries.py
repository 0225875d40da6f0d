"""What is to go where: one row an object and destination, until the destination itself lists the object."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from .arrivals import Ledger
from .tables import DELIVERIES

PENDING, CONFIRMED, DEAD = "pending", "confirmed", "failed"
_FIRST_WAIT_S, _LONGEST_WAIT_S = 2.0, 900.0


@dataclass(frozen=True)
class Delivery:
    """One object for one destination.

    Attributes
    ----------
    uid
        SOP Instance UID (0008,0018): sent twice it is there once.
    state
        ``pending``, ``confirmed`` by the destination's own list, or ``failed`` for good, until somebody sends it again.
    not_before
        When it is tried next, seconds since 1970.
    """

    uid: str
    destination: str
    work: str
    path: str
    state: str = PENDING
    tries: int = 0
    not_before: float = 0.0
    reason: str = ""
    changed_at: float = 0.0


def wait_s(tries: int) -> float:
    """Return how long to wait after so many tries: twice as long each time, at most a quarter of an hour."""
    return min(_FIRST_WAIT_S * 2.0 ** (tries - 1), _LONGEST_WAIT_S)


class Outbox:
    """Every delivery of an adapter."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def put(self, work: str, objects: Iterable[tuple[str, Path]], destinations: Iterable[str]) -> None:
        """Enter objects, by UID and file, for destinations; what is there already stays as it is."""
        with self._ledger.engine.begin() as db:
            there = {(row.uid, row.destination) for row in db.execute(
                sa.select(DELIVERIES.c.uid, DELIVERIES.c.destination).where(DELIVERIES.c.work == work))}  # fmt: skip
            rows = [vars(Delivery(uid, name, work, str(path), changed_at=time.time()))
                    for uid, path in objects for name in destinations if (uid, name) not in there]  # fmt: skip
            if rows:
                db.execute(DELIVERIES.insert(), rows)

    def all(self, **match: str) -> list[Delivery]:
        """Return deliveries by column (``work=``, ``state=``, ``destination=``)."""
        return self._found(*(DELIVERIES.c[name] == value for name, value in match.items()))

    def due(self, destination: str, now: float) -> list[Delivery]:
        """Return what is to be sent to a destination now."""
        return self._found(DELIVERIES.c.destination == destination, DELIVERIES.c.state == PENDING,
                           DELIVERIES.c.not_before <= now)  # fmt: skip

    def _found(self, *wished: sa.ColumnElement[bool]) -> list[Delivery]:
        with self._ledger.reader.connect() as db:
            return [Delivery(**row) for row in db.execute(sa.select(DELIVERIES).where(*wished).order_by(
                DELIVERIES.c.work, DELIVERIES.c.uid)).mappings()]  # fmt: skip

    def settle(self, one: Delivery, state: str, *, reason: str = "") -> None:
        """Write down what became of a try; a pending one waits longer each time."""
        tries, now = one.tries + 1, time.time()
        values = {"state": state, "reason": reason, "tries": tries, "changed_at": now,
                  "not_before": now + wait_s(tries) if state == PENDING else 0.0}  # fmt: skip
        this = [DELIVERIES.c[name] == getattr(one, name) for name in ("uid", "destination", "work")]
        with self._ledger.engine.begin() as db:
            db.execute(DELIVERIES.update().where(*this).values(values))

    def again(self, work: str) -> int:
        """Let what failed for good be tried again, and return how many those are."""
        with self._ledger.engine.begin() as db:
            return db.execute(DELIVERIES.update().where(DELIVERIES.c.work == work, DELIVERIES.c.state == DEAD).values(
                state=PENDING, tries=0, not_before=0.0, changed_at=time.time())).rowcount  # fmt: skip
