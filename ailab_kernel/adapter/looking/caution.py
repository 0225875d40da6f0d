"""Before work begins: whether something is known of the patient for which its rule wants a person to look first."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ailab_kernel.adapter.ledger import Work, Worklist
from ailab_kernel.adapter.receive import Inbox
from ailab_kernel.adapter.rules import Plan, Rule, facts_of
from ailab_kernel.context import met
from ailab_kernel.ground.errors import AilabError

from .asking import Asking

_LATE = "the FHIR server does not answer"
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
    asking: Asking[str] = field(default_factory=lambda: Asking(_LATE), repr=False)
    _passed: set[str] = field(default_factory=set, repr=False)

    def __call__(self, work: Work) -> bool:
        """Queue a piece of work, unless what is known of the patient, or that it cannot be known, holds it.

        Asked is once, and not where a person has let it go on. While the answer is awaited nothing is done, and False
        returned: come again.
        """
        rule = next((one for one in self.plan.rules if one.name == work.rule), None)
        asks = rule is not None and rule.hold_when and work.id not in self._passed and not work.told.get("round")
        if rule and asks:
            answer = self.asking(work.id, lambda: self._reason(rule, work))
            if not answer.done():
                return False
            if answer.result():
                Worklist(self.inbox.ledger).move(work.id, "held", reason=f"{answer.result()}; {_LETS_GO}")
                return True
        self._passed.add(work.id)
        self.submit(work)
        return True

    def _reason(self, rule: Rule, work: Work) -> str:
        """Why a person has to look first; whatever keeps it from being known is a reason, too."""
        try:
            return self._known(rule, work)
        except AilabError as error:
            return str(error)

    def _known(self, rule: Rule, work: Work) -> str:
        server, facts = self.plan.context, facts_of(self.inbox, work.study_uid)
        ids = {one for series in facts.series for one in series.values.get("PatientID", ())} if facts else set()
        kinds = tuple(rule.hold_when)
        if server is None or len(ids) != 1:
            return "its rule must know more of the patient; there is no server or no single patient number to ask by"
        self.audit("adapter.context-read", study=work.study_uid, rule=rule.name, asked=",".join(kinds))
        found = met(server.known(ids.pop(), kinds), rule.hold_when)
        return f"something is known of the patient that rule {rule.name} holds for (hold_when.{found})" if found else ""
