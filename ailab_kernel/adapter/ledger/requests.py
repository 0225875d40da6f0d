"""Requests for inference by name (ACR DSI): written down before they are answered, made work afterwards."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ailab_kernel.ground.errors import NotFound
from ailab_kernel.ground.ids import canonical_json

from .arrivals import INSERT, Ledger
from .tables import REQUESTS

NEW, QUEUED = "new", "queued"


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes
    ----------
    transaction
        The id that whoever asks gave it.
    caller
        Who asked.
    rule
        What is to run.
    asked
        ``studies`` (each with ``study_uid`` and ``series``, empty: the rule chooses), ``source`` (name of the archive
        that holds them; empty: they were received), ``send`` and ``priority``.
    work
        Ids of the work that it has become.
    """

    transaction: str
    caller: str
    rule: str
    asked: Mapping[str, Any]
    state: str = NEW
    work: tuple[str, ...] = ()


class Requests:
    """Every request for inference."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def put(self, new: Request) -> bool:
        """Write a request down; False where there is one of this transaction already."""
        row = {**vars(new), "asked": canonical_json(new.asked).decode(), "work": "[]", "at": time.time()}
        with self._ledger.engine.begin() as db:
            entered = db.execute(INSERT[db.dialect.name](REQUESTS).values(row).on_conflict_do_nothing())
        return bool(entered.rowcount)

    def get(self, transaction: str) -> Request:
        """Return one request; NotFound where there is none."""
        found = self._found(REQUESTS.c.transaction == transaction)
        if not found:
            msg = "there is no request of this transactionID"
            raise NotFound(msg)
        return found[0]

    def new(self) -> list[Request]:
        """Return those that have not become work yet, oldest first."""
        return self._found(REQUESTS.c.state == NEW)

    def queued(self, one: Request, work: Sequence[str]) -> None:
        """Note what work a request has become."""
        with self._ledger.engine.begin() as db:
            db.execute(REQUESTS.update().where(REQUESTS.c.transaction == one.transaction).values(
                state=QUEUED, work=json.dumps(list(work))))  # fmt: skip

    def _found(self, wished: sa.ColumnElement[bool]) -> list[Request]:
        chosen = [REQUESTS.c[name] for name in Request.__dataclass_fields__]
        with self._ledger.reader.connect() as db:
            rows = db.execute(sa.select(*chosen).where(wished).order_by(REQUESTS.c.at)).mappings().all()
        return [Request(**{**row, "asked": json.loads(row["asked"]), "work": tuple(json.loads(row["work"]))})
                for row in rows]  # fmt: skip
