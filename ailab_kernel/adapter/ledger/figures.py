"""How an adapter stands, in numbers: from sums and indexes, so that looking costs the same however much has come."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .arrivals import ASIDE, CONFLICT, KEPT, Ledger
from .commitments import PENDING
from .tables import COMMITMENTS, DELIVERIES, MINUTES, STUDIES, WORK
from .work import NEXT, OPEN, Work, work_of

_SUMMED = (KEPT, CONFLICT, ASIDE, "bytes", "open")
CURVE = 60                                     # minutes
_FAILURES = 200                                # newest of what failed or is held; the count says how many there are


@dataclass(frozen=True)
class Figures:
    """How it stands at a moment.

    Attributes
    ----------
    at
        Seconds since 1970.
    received
        Instances by what became of them: ``kept``, ``conflict``, ``aside``.
    received_bytes
        Of all of them.
    looking
        Studies that are not settled: not quiet yet, or not whole.
    minutes
        Instances that came in each of the last `CURVE` minutes, the running one last.
    work
        Pieces of work by state.
    done_last_hour
        How many ended as they should within an hour.
    oldest
        Of the work that is under way.
    deliveries
        Objects by destination and state.
    commitments
        Answers to storage commitment requests that nobody has taken yet.
    failures
        The newest work that failed or is held.
    """

    at: float
    received: Mapping[str, int]
    received_bytes: int
    looking: int
    minutes: tuple[int, ...]
    work: Mapping[str, int]
    done_last_hour: int
    oldest: Work | None
    deliveries: Mapping[tuple[str, str], int]
    commitments: int
    failures: tuple[Work, ...]

    @property
    def oldest_s(self) -> float:
        """Age of the oldest work under way, seconds; 0 where there is none."""
        return max(0.0, self.at - self.oldest.made_at) if self.oldest else 0.0

    def told(self) -> dict[str, Any]:
        """Return it as JSON values; UIDs and names of rules and destinations, nothing of a patient."""
        return {
            "at": self.at, "received": dict(self.received), "received_bytes": self.received_bytes,
            "looking": self.looking, "minutes": list(self.minutes), "work": dict(self.work),
            "done_last_hour": self.done_last_hour, "oldest": _told(self.oldest) if self.oldest else None,
            "oldest_s": self.oldest_s,
            "deliveries": [{"destination": name, "state": state, "objects": count}
                           for (name, state), count in sorted(self.deliveries.items())],
            "commitments": self.commitments, "failures": [_told(one) for one in self.failures],
        }  # fmt: skip


def figures(ledger: Ledger, *, now: float | None = None) -> Figures:
    """Return how an adapter stands."""
    now = time.time() if now is None else now
    first = int(now) // 60 - CURVE + 1
    count = sa.func.count()
    with ledger.reader.connect() as db:
        totals = [sa.func.coalesce(sa.func.sum(STUDIES.c[name]), 0).label(name) for name in _SUMMED]
        sums = db.execute(sa.select(*totals)).mappings().one()
        came = {row.minute: row.instances for row in db.execute(
            sa.select(MINUTES.c.minute, MINUTES.c.instances).where(MINUTES.c.minute >= first))}  # fmt: skip
        states = {row.state: row.number for row in db.execute(
            sa.select(WORK.c.state, count.label("number")).group_by(WORK.c.state))}  # fmt: skip
        done = db.scalar(sa.select(count).where(WORK.c.state == "done", WORK.c.changed_at > now - 3600))
        oldest = db.execute(sa.select(WORK).where(WORK.c.state.in_(OPEN)).order_by(WORK.c.made_at).limit(1)).mappings()
        failures = db.execute(sa.select(WORK).where(WORK.c.state.in_(("failed", "held"))).order_by(
            WORK.c.changed_at.desc()).limit(_FAILURES)).mappings()  # fmt: skip
        by_place = db.execute(sa.select(DELIVERIES.c.destination, DELIVERIES.c.state, count.label("number")).group_by(
            DELIVERIES.c.destination, DELIVERIES.c.state))  # fmt: skip
        return Figures(
            now, {name: int(sums[name]) for name in (KEPT, CONFLICT, ASIDE)}, int(sums["bytes"]), int(sums["open"]),
            tuple(came.get(first + number, 0) for number in range(CURVE)),
            {state: states.get(state, 0) for state in NEXT}, int(done or 0),
            next((work_of(row) for row in oldest), None),
            {(row.destination, row.state): row.number for row in by_place},
            int(db.scalar(sa.select(count).where(COMMITMENTS.c.state == PENDING)) or 0),
            tuple(work_of(row) for row in failures),
        )  # fmt: skip


def _told(one: Work) -> dict[str, Any]:
    return {"work": one.id, "study": one.study_uid, "rule": one.rule, "state": one.state, "reason": one.reason,
            "made_at": one.made_at, "changed_at": one.changed_at}  # fmt: skip
