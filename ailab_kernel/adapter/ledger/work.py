"""What is to be done on each study, and how it stands: every piece ends done, failed or held, with the reason."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ailab_kernel.ground.errors import NotFound, WrongUse
from ailab_kernel.ground.ids import canonical_json, sha256

from .arrivals import Ledger
from .tables import ARRIVALS, LOOKS, WORK

# What may follow what. A person may hold what is not over, and start anew what failed or is held.
NEXT: Mapping[str, tuple[str, ...]] = {
    "queued": ("running", "failed", "held"),
    "running": ("running", "delivering", "done", "failed", "held", "queued"),
    "delivering": ("done", "failed", "held"),
    "done": (),
    "failed": ("queued", "delivering"),
    "held": ("queued", "delivering", "done"),    # done: what was late went out after all
}
OPEN = ("queued", "running", "delivering")


@dataclass(frozen=True)
class Work:
    """One rule's work on one study.

    Attributes
    ----------
    id
        Made from study, rule and the instances: the same again is the same work.
    state
        See `NEXT`.
    reason
        Why it failed or is held.
    deadline_at
        Until when it must have ended, seconds since 1970; then it is held.
    told
        Whatever else is to be shown: series, seconds, results.
    """

    id: str
    study_uid: str
    rule: str
    state: str
    reason: str
    made_at: float
    changed_at: float
    deadline_at: float
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def may_leave(self) -> bool:
        """Whether its results are delivered: also when they are late, not when a person holds them."""
        return self.state == "delivering" or (self.state == "held" and bool(self.told.get("overdue")))


def work_id(study_uid: str, rule: str, contents: Sequence[str]) -> str:
    """Return the id of a rule's work on a study with these instances."""
    return sha256(canonical_json([study_uid, rule, sorted(contents)]))[:32]


class Worklist:
    """Every piece of work of an adapter."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def offer(self, new: Work) -> Work:
        """Enter a piece of work and return it, or the same one as it stands."""
        row = {**vars(new), "told": canonical_json(new.told).decode()}
        with self._ledger.engine.begin() as db:
            if db.execute(sa.select(WORK.c.id).where(WORK.c.id == new.id)).first() is None:
                db.execute(WORK.insert().values(row))
        return self.get(new.id)

    def get(self, piece: str) -> Work:
        """Return one piece of work; NotFound where there is none."""
        found = self.all(id=piece)
        if not found:
            msg = f"there is no work {piece} (ailab adapter status)"
            raise NotFound(msg)
        return found[0]

    def all(self, **match: str) -> list[Work]:
        """Return work by column (``state=``, ``study_uid=``, ``rule=``), oldest first."""
        return self._found(*(WORK.c[name] == value for name, value in match.items()))

    def _found(self, *wished: sa.ColumnElement[bool]) -> list[Work]:
        with self._ledger.reader.connect() as db:
            rows = db.execute(sa.select(WORK).where(*wished).order_by(WORK.c.made_at, WORK.c.id)).mappings().all()
        return [Work(**{**row, "told": json.loads(row["told"])}) for row in rows]

    def move(
        self, piece: str, state: str, *, reason: str = "", deadline_at: float | None = None, **told: Any
    ) -> Work:
        """Let a piece of work go on to a state; what is told is added to what was.

        Raises
        ------
        WrongUse
            It cannot become that from what it is.
        """
        self.get(piece)                        # NotFound where there is none
        with self._ledger.engine.begin() as db:
            row = db.execute(sa.select(WORK.c.state, WORK.c.told).where(WORK.c.id == piece)).one()
            if state not in NEXT[row.state]:
                msg = f"work {piece} is {row.state}: it cannot become {state}"
                raise WrongUse(msg)
            body = canonical_json(json.loads(row.told) | told).decode()
            values = {"state": state, "reason": reason, "told": body, "changed_at": time.time()}
            values |= {"deadline_at": deadline_at} if deadline_at is not None else {}
            db.execute(WORK.update().where(WORK.c.id == piece).values(values))
        return self.get(piece)

    def hold_overdue(self, now: float) -> list[Work]:
        """Hold what has passed its deadline, and return it."""
        late = self._found(WORK.c.state.in_(OPEN), WORK.c.deadline_at < now)
        return [self.move(one.id, "held", overdue=True, reason=f"not ended in time: it was {one.state}. {one.reason}"
                          .strip()) for one in late]  # fmt: skip

    # which studies have to be looked at
    def unlooked(self) -> list[tuple[str, int]]:
        """Return studies of which something arrived since the last look, or whose last look was not final.

        With each comes the number of its newest arrival, for :meth:`looked`.
        """
        newest = sa.select(ARRIVALS.c.study_uid, sa.func.max(ARRIVALS.c.seq).label("seq")).where(
            ARRIVALS.c.state == "kept").group_by(ARRIVALS.c.study_uid).subquery()
        last = LOOKS.c.study_uid == newest.c.study_uid
        asked = sa.select(newest.c.study_uid, newest.c.seq).outerjoin(LOOKS, last).where(
            LOOKS.c.seq.is_(None) | (LOOKS.c.seq < newest.c.seq) | (LOOKS.c.final == 0)).order_by(newest.c.seq)
        with self._ledger.reader.connect() as db:
            return [(row.study_uid, row.seq) for row in db.execute(asked)]

    def looked(self, study_uid: str, *, seq: int, final: bool) -> None:
        """Note that a study was looked at as it stood with its arrival ``seq``, and whether that settles it."""
        values = {"seq": seq, "final": int(final)}
        with self._ledger.engine.begin() as db:
            changed = db.execute(LOOKS.update().where(LOOKS.c.study_uid == study_uid).values(values))
            if not changed.rowcount:
                db.execute(LOOKS.insert().values(study_uid=study_uid, **values))
