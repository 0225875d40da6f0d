"""Before work begins: whether something is known of the patient for which its rule wants a person to look first."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ailab_kernel.adapter.ledger import Work, Worklist
from ailab_kernel.adapter.receive import Inbox
from ailab_kernel.adapter.rules import Plan, Rule, facts_of
from ailab_kernel.context import met
from ailab_kernel.ground.errors import ContextError

_LETS_GO = "ailab adapter again, once somebody has looked"


@dataclass(frozen=True)
class Caution:
    """Passes work on to the queue, or holds it.

    Attributes
    ----------
    submit
        Queues a piece of work.
    audit
        Writes a line of the trail.
    """

    inbox: Inbox
    plan: Plan
    submit: Callable[[Work], None]
    audit: Callable[..., object]
    _passed: set[str] = field(default_factory=set, repr=False)

    def __call__(self, work: Work) -> None:
        """Queue a piece of work, unless what is known of the patient, or that it cannot be known, holds it.

        Asked is once, and not where a person has let it go on.
        """
        rule = next((one for one in self.plan.rules if one.name == work.rule), None)
        asks = rule is not None and rule.hold_when and work.id not in self._passed and not work.told.get("round")
        reason = self._reason(rule, work) if rule and asks else ""
        if reason:
            Worklist(self.inbox.ledger).move(work.id, "held", reason=f"{reason}; {_LETS_GO}")
            return
        self._passed.add(work.id)
        self.submit(work)

    def _reason(self, rule: Rule, work: Work) -> str:
        server, facts = self.plan.context, facts_of(self.inbox, work.study_uid)
        ids = {one for series in facts.series for one in series.values.get("PatientID", ())} if facts else set()
        kinds = tuple(rule.hold_when)
        if server is None or len(ids) != 1:
            return "its rule must know more of the patient; there is no server or no single patient number to ask by"
        self.audit("adapter.context-read", study=work.study_uid, rule=rule.name, asked=",".join(kinds))
        try:
            found = met(server.known(ids.pop(), kinds), rule.hold_when)
        except ContextError as error:
            return str(error)
        return f"something is known of the patient that rule {rule.name} holds for (hold_when.{found})" if found else ""
