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
from .tables import STUDIES, WORK

# What may follow what. A person may hold what is not over, and start anew what failed or is held.
NEXT: Mapping[str, tuple[str, ...]] = {
    # queued: back, to wait for off-peak hours; done: more of the study came before it had begun
    "queued": ("queued", "running", "failed", "held", "done"),
    "running": ("running", "delivering", "done", "failed", "held", "queued"),
    "delivering": ("done", "failed", "held"),
    "done": (),
    "failed": ("queued", "delivering"),
    "held": ("queued", "delivering", "done"),    # done: what was late went out after all
}
OPEN = ("queued", "running", "delivering")
# Literally so: a partial index is taken only where the plan can see the value.
UNLOOKED = sa.select(STUDIES.c.study_uid, STUDIES.c.kept).where(sa.text("open = 1")).order_by(STUDIES.c.last_at)


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


def work_of(row: sa.RowMapping) -> Work:
    """Return the work of a row of the table."""
    return Work(**{**row, "told": json.loads(row["told"])})


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
        return [work_of(row) for row in rows]

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

    def release(self, piece: str) -> None:
        """Note that work which waited for its hours was handed to the queue; what is under way already stays so."""
        with self._ledger.engine.begin() as db:
            told = db.scalar(sa.select(WORK.c.told).where(WORK.c.id == piece, WORK.c.state == "queued"))
            if told is not None:
                body = canonical_json(json.loads(told) | {"waits": False}).decode()
                db.execute(WORK.update().where(WORK.c.id == piece).values(told=body, reason=""))

    def supersede(self, new: Work) -> None:
        """End what a rule had queued for less of the same study and nobody has begun."""
        for one in self.all(study_uid=new.study_uid, rule=new.rule, state="queued"):
            if "until" in one.told and one.told["until"] < new.told.get("until", 0.0):
                self.move(one.id, "done", reason=f"more of the study came: {new.id} is done instead")

    def hold_overdue(self, now: float) -> list[Work]:
        """Hold what has passed its deadline, and return it."""
        late = self._found(WORK.c.state.in_(OPEN), WORK.c.deadline_at < now)
        return [self.move(one.id, "held", overdue=True, reason=f"not ended in time: it was {one.state}. {one.reason}"
                          .strip()) for one in late]  # fmt: skip

    # which studies have to be looked at
    def unlooked(self) -> list[tuple[str, int]]:
        """Return studies of which something arrived since the look that settled them, longest quiet first.

        With each comes how many instances it had, for :meth:`settled`.
        """
        with self._ledger.reader.connect() as db:
            return [(row.study_uid, row.kept) for row in db.execute(UNLOOKED)]

    def settled(self, study_uid: str, *, kept: int) -> None:
        """Note that a look settled a study as it was with so many instances; with more it stays open."""
        as_it_was = (STUDIES.c.study_uid == study_uid) & (STUDIES.c.kept == kept)
        with self._ledger.engine.begin() as db:
            db.execute(STUDIES.update().where(as_it_was).values(open=0))
