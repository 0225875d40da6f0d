"""Ends work whose job has ended without saying so: its worker died too often, or something went wrong unforeseen."""

import time
from dataclasses import dataclass

from ailab_kernel.adapter.ledger import Ledger, Work, Worklist
from ailab_kernel.ground.errors import NotFound
from ailab_kernel.work.jobs import Jobs

from .worker import job_of

_PATIENCE_S = 10.0                             # from one question about a piece of work to the next
_ENDED = ("done", "failed", "held")


@dataclass
class Overseer:
    """One round at a time."""

    ledger: Ledger
    jobs: Jobs
    _due: float = 0.0

    def round(self, now: float | None = None) -> list[Work]:
        """Fail what is running in the ledger and not in the queue, and return it."""
        now = time.time() if now is None else now
        if now < self._due:
            return []
        self._due, worklist = now + _PATIENCE_S, Worklist(self.ledger)
        running = [one for one in worklist.all(state="running") if now - one.changed_at > _PATIENCE_S]
        lost = [(one, reason) for one in running if (reason := self._ended(one))]
        # Work says how it ended before its job does: what still runs now has not said it.
        return [worklist.move(one.id, "failed", reason=reason) for one, reason in lost
                if worklist.get(one.id).state == "running"]  # fmt: skip

    def _ended(self, work: Work) -> str:
        """Why a job ended; empty while it is under way."""
        try:
            job = self.jobs.get(job_of(work))
        except NotFound:
            return "it is no longer in the queue"
        return (job.reason or "its worker ended without a result") if job.state in _ENDED else ""
