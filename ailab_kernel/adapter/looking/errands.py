"""Turns requests for inference into work: one piece a study, the same again after a kill."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ailab_kernel.adapter.ledger import Ledger, Request, Requests, Work, Worklist
from ailab_kernel.adapter.ledger.work import work_id
from ailab_kernel.adapter.rules import Plan


@dataclass(frozen=True)
class Errands:
    """One round at a time.

    Attributes
    ----------
    submit
        Queues a piece of work; again, it changes nothing. False: it could not yet, come again.
    """

    ledger: Ledger
    plan: Plan
    submit: Callable[[Work], bool | None]

    def round(self, now: float | None = None) -> int:
        """Queue what was asked for and return how many pieces of work that is."""
        now, made = time.time() if now is None else now, 0
        book, worklist = Requests(self.ledger), Worklist(self.ledger)
        for one in book.new():
            work = [worklist.offer(self._work(one, study, now)) for study in one.asked["studies"]]
            if all([self.submit(piece) is not False for piece in work if piece.state == "queued"]):
                book.queued(one, [piece.id for piece in work])
                made += len(work)
        return made

    def _work(self, asked: Request, study: Mapping[str, Any], now: float) -> Work:
        rule = next((one for one in self.plan.rules if one.name == asked.rule), None)
        told = {"series": study["series"], "asked": asked.transaction}
        told |= {name: value for name, value in asked.asked.items() if name != "studies"}
        state, reason = ("queued", "") if rule else ("failed", f"rule {asked.rule} is no longer in the plan")
        return Work(work_id(study["study_uid"], asked.rule, [asked.transaction]), study["study_uid"], asked.rule, state,
                    reason, now, now, now + (rule.minutes if rule else 0) * 60, told)  # fmt: skip
