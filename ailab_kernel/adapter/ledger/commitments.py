"""Requests for storage commitment (PS3.4 annex J): pending until the one who asked has taken the answer."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from .arrivals import Ledger
from .deliveries import wait_s
from .tables import COMMITMENTS

PENDING, TOLD = "pending", "told"
Reference = tuple[str, str]


@dataclass(frozen=True)
class Commitment:
    """One request.

    Attributes
    ----------
    transaction
        Transaction UID (0008,1195).
    asked
        SOP class and instance UID of each object.
    caller
        AE title that asked.
    """

    transaction: str
    caller: str
    asked: tuple[Reference, ...]
    state: str = PENDING
    tries: int = 0
    not_before: float = 0.0
    reason: str = ""


class Commitments:
    """Every request for storage commitment."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def ask(self, transaction: str, caller: str, asked: Sequence[Reference]) -> None:
        """Write a request down; the same transaction again is answered again."""
        row = {"transaction": transaction, "caller": caller, "asked": json.dumps(list(asked)), "state": PENDING,
               "tries": 0, "not_before": 0.0, "reason": "", "changed_at": time.time()}  # fmt: skip
        same = (COMMITMENTS.c.transaction == transaction) & (COMMITMENTS.c.caller == caller)
        with self._ledger.engine.begin() as db:
            db.execute(COMMITMENTS.delete().where(same))
            db.execute(COMMITMENTS.insert().values(row))

    def due(self, now: float) -> list[Commitment]:
        """Return the requests that are to be answered now."""
        return self._found(COMMITMENTS.c.state == PENDING, COMMITMENTS.c.not_before <= now)

    def all(self) -> list[Commitment]:
        """Return every request, oldest first."""
        return self._found()

    def _found(self, *wished: sa.ColumnElement[bool]) -> list[Commitment]:
        chosen = [COMMITMENTS.c[name] for name in Commitment.__dataclass_fields__]
        with self._ledger.reader.connect() as db:
            rows = db.execute(sa.select(*chosen).where(*wished).order_by(COMMITMENTS.c.changed_at)).mappings().all()
        return [Commitment(**{**row, "asked": tuple((kind, uid) for kind, uid in json.loads(row["asked"]))})
                for row in rows]  # fmt: skip

    def settle(self, one: Commitment, *, reason: str = "") -> None:
        """Write down that the answer was taken, or why not: then it waits longer each time."""
        now, tries = time.time(), one.tries + 1
        values = {"state": PENDING if reason else TOLD, "tries": tries, "reason": reason, "changed_at": now,
                  "not_before": now + wait_s(tries) if reason else 0.0}  # fmt: skip
        with self._ledger.engine.begin() as db:
            db.execute(COMMITMENTS.update().where(COMMITMENTS.c.transaction == one.transaction,
                                                  COMMITMENTS.c.caller == one.caller).values(values))  # fmt: skip
