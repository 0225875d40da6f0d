"""Looks at every study that changed, and turns a rule that fires into work."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ailab_kernel.adapter.ledger import Work, Worklist
from ailab_kernel.adapter.ledger.work import work_id
from ailab_kernel.adapter.receive import Inbox
from ailab_kernel.adapter.rules import Judgement, Plan, Rule, StudyFacts, facts_of, judge
from ailab_kernel.ground.errors import DicomError

_QUIET_S = 60.0                                # of a study for which no rule is


@dataclass(frozen=True)
class Dispatcher:
    """One look at a time.

    Attributes
    ----------
    submit
        Queues a piece of work; again, it changes nothing. False: it could not yet, the study is looked at again.
    listed
        How many instances the archive lists for a study; None where it does not say.
    audit
        Writes a line of the trail: that a study was received, once it is settled (PS3.15 A.5.3.7).
    """

    inbox: Inbox
    plan: Plan
    submit: Callable[[Work], bool | None]
    listed: Callable[[str], int | None] = lambda _: None
    audit: Callable[..., object] = lambda *_, **__: None
    _facts: dict[str, tuple[int, StudyFacts | None]] = field(default_factory=dict, repr=False)

    def look(self, now: float | None = None) -> list[Work]:
        """Look at every study that needs it and return the work that came of it."""
        now = time.time() if now is None else now
        worklist, made = Worklist(self.inbox.ledger), list[Work]()
        for study_uid, kept in worklist.unlooked():
            try:
                facts = self._facts_of(study_uid, kept)
            except DicomError as error:        # a file that is gone must not keep other studies waiting
                made.append(worklist.offer(self._none(study_uid, now, state="failed", reason=str(error))))
                self._settled(study_uid, kept)
                continue
            if facts is None:
                continue
            found, final = self._judged(facts, now)
            offered = [worklist.offer(one) for one in found]
            if all([self._queued(one) for one in offered if one.state == "queued"]) and final:
                self.audit("adapter.received", study=study_uid, instances=str(kept), sender=facts.sender)
                self._settled(study_uid, kept)
            made += offered
        worklist.hold_overdue(now)
        return made

    def _facts_of(self, study_uid: str, kept: int) -> StudyFacts | None:
        """Facts of a study as it stands with so many instances: read when more came, not at every look."""
        found = self._facts.get(study_uid)
        if found is None or found[0] != kept:
            found = self._facts[study_uid] = kept, facts_of(self.inbox, study_uid)
        return found[1]

    def _queued(self, work: Work) -> bool:
        Worklist(self.inbox.ledger).supersede(work)
        return self.submit(work) is not False

    def _settled(self, study_uid: str, kept: int) -> None:
        self._facts.pop(study_uid, None)
        Worklist(self.inbox.ledger).settled(study_uid, kept=kept)

    def _judged(self, facts: StudyFacts, now: float) -> tuple[list[Work], bool]:
        """Return the work that a study gives as it stands, and whether waiting changes nothing."""
        counted = any(rule.complete.count == "archive" for rule in self.plan.rules)
        listed = self.listed(facts.uid) if counted else None
        judged = [(rule, judge(rule, facts, now=now, listed=listed)) for rule in self.plan.rules]
        fitting = [(rule, one) for rule, one in judged if one.fits and one.series]
        made, waits = list[Work](), False
        for rule, one in fitting:
            if one.whole:
                made.append(self._work(rule, facts, one, now, state="queued"))
            elif now - facts.first_at > rule.complete.at_most_s:
                expected = f" of {listed}" if listed else ""
                reason = f"never became whole: {facts.instances}{expected} instances came"
                made.append(self._work(rule, facts, one, now, state="held", reason=reason))
            else:
                waits = True
        if not fitting:
            waits = now - facts.last_at < _QUIET_S
            if not waits:
                made.append(self._none(facts.uid, now))
        return made, not waits

    @staticmethod
    def _work(rule: Rule, facts: StudyFacts, one: Judgement, now: float, *, state: str, reason: str = "") -> Work:
        contents = [content for series in facts.series if series.uid in one.series for content in series.contents]
        told = {"series": list(one.series), "instances": len(contents), "until": facts.last_at}
        return Work(work_id(facts.uid, rule.name, contents), facts.uid, rule.name, state, reason, now, now,
                    now + rule.minutes * 60, told)  # fmt: skip

    @staticmethod
    def _none(uid: str, now: float, *, state: str = "done", reason: str = "no rule is for it") -> Work:
        return Work(work_id(uid, "", [reason] if state == "failed" else []), uid, "", state, reason, now, now, now)
