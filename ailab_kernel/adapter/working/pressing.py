"""How pressing work is, and that what is not pressing waits for its hours."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ailab_kernel.adapter.ledger import Ledger, Work, Worklist
from ailab_kernel.adapter.rules import Plan, Priority

# The queue's: lower is sooner.
PRIORITIES: Mapping[Priority, int] = {"urgent": 1, "normal": 10, "off-peak": 100}


def priority_of(plan: Plan, work: Work) -> int:
    """Return the queue's priority of a piece of work: a request's own, else its rule's."""
    by_rule = next((PRIORITIES[one.priority] for one in plan.rules if one.name == work.rule), 0)
    return int(work.told.get("priority", by_rule))


def waits_until(plan: Plan, work: Work, *, now: float) -> float:
    """Return when a piece of work may run, seconds since 1970; ``now`` where that is at once."""
    if plan.hours is None or priority_of(plan, work) < PRIORITIES["off-peak"]:
        return now
    return plan.hours.begin(now)


@dataclass(frozen=True)
class Gate:
    """Stands before the queue.

    Attributes
    ----------
    queue
        Queues a piece of work; again, it changes nothing.
    """

    ledger: Ledger
    plan: Plan
    queue: Callable[[Work], None]

    def submit(self, work: Work) -> None:
        """Queue a piece of work, or let it wait for its hours."""
        now = time.time()
        if waits_until(self.plan, work, now=now) <= now:
            self.queue(work)
        elif not work.told.get("waits"):
            wait(self.ledger, self.plan, work, now=now)

    def round(self, now: float | None = None) -> int:
        """Queue what has waited for its hours and return how much that is."""
        now = time.time() if now is None else now
        if self.plan.hours is None or self.plan.hours.begin(now) > now:
            return 0
        worklist = Worklist(self.ledger)
        waiting = [one for one in worklist.all(state="queued") if one.told.get("waits")]
        for one in waiting:
            self.queue(one)
            worklist.release(one.id)
        return len(waiting)


def wait(ledger: Ledger, plan: Plan, work: Work, *, now: float) -> Work:
    """Let a piece of work wait for its hours, in which it has until their end, and its own time beyond it."""
    assert plan.hours is not None
    begin = waits_until(plan, work, now=now)
    minutes = next((one.minutes for one in plan.rules if one.name == work.rule), 0.0)
    reason = f"waits for off-peak hours, from {datetime.fromtimestamp(begin):%a %H:%M}"
    deadline_at = begin + plan.hours.length_s + minutes * 60
    return Worklist(ledger).move(work.id, "queued", reason=reason, deadline_at=deadline_at, waits=True,
                                 waited=work.told.get("waited", 0) + 1)  # fmt: skip
