"""Who may move a case where. The task asks before it writes a step; behind the hub the trusted process asks again.

A person stands in a step as a pseudonym. In a pilot that is whoever they say they are; the trusted process makes it of
the login that the token belongs to.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from ailab_kernel.ground.catalog import Catalog, Record
from ailab_kernel.ground.errors import WrongUse

KIND, STEP = "task", "annotation"
# What may follow what: a case starts without a step.
NEXT: Mapping[str, tuple[str, ...]] = {
    "": ("proposed", "assigned", "in progress", "submitted"),
    "proposed": ("assigned", "in progress", "submitted"),
    "assigned": ("proposed", "assigned", "in progress", "submitted"),
    "in progress": ("assigned", "submitted"),
    "submitted": ("submitted", "reviewed", "accepted", "returned"),
    "reviewed": ("reviewed", "accepted", "returned"),
    "returned": ("assigned", "in progress", "submitted"),
    "accepted": ("returned",),
}
READS = frozenset({"in progress", "submitted"})              # a reader's own steps
REVIEWS = frozenset({"reviewed", "accepted", "returned"})    # those of somebody else
SIMULATED, FROM_ARCHIVE = "simulated reader", "segmentation from the archive"
UNREVIEWED = ", not reviewed by a person"
_DIGITS = 12
_PSEUDONYM = re.compile(rf"reader-[0-9a-f]{{{_DIGITS}}}")


@dataclass(frozen=True)
class Step:
    """One step of one case.

    Attributes
    ----------
    state
        A key of `NEXT`.
    mask
        SHA-256 of the mask's pack; empty for a step that draws nothing.
    reader
        Pseudonym of who did it (of ``assigned``: who is to read), or what a machine is called.
    changed
        Share of the union of proposal and submission that the reader changed, 0 to 1.
    reason
        Why it was returned.
    seconds
        Active time of the reader's session so far, s (`active_seconds`).
    record
        Digest of the step's record.
    """

    state: str
    mask: str = ""
    reader: str = ""
    changed: float = 0.0
    reason: str = ""
    seconds: float = 0.0
    record: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True)
class Roster:
    """Whom a task names.

    Attributes
    ----------
    readers
        Pseudonyms of those who read every case; empty: whoever comes, or is assigned.
    adjudicator
        Pseudonym of who alone reviews; empty: anybody but the case's own readers.
    """

    readers: tuple[str, ...] = ()
    adjudicator: str = ""

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Self:
        """Return the roster of a task's body."""
        return cls(tuple(task.get("readers", ())), str(task.get("adjudicator", "")))

    @property
    def double(self) -> bool:
        """Whether several readers read each case, blind to each other."""
        return len(self.readers) > 1

    @property
    def named(self) -> bool:
        """Whether the task names anybody."""
        return bool(self.readers or self.adjudicator)

    def blind(self, series_uid: str, reader: str) -> dict[str, Any]:
        """Return what makes a step a blind reading (`ailab_kernel.service.blind`)."""
        return {"case": series_uid, "reader": reader, "readers": list(self.readers)}


def pseudonym(catalog: Catalog, login: str) -> str:
    """Return a login's pseudonym in this lab: ``reader-`` and twelve hex digits, the same each time."""
    return f"reader-{catalog.pseudonym('reader', login)[:_DIGITS]}"


def person(catalog: Catalog, name: str) -> str:
    """Return what stands in a record for a login; a pseudonym, and what a machine is called, stay as they are.

    Raises
    ------
    WrongUse
        No name was given.
    """
    if not name.strip():
        msg = "reader is empty; give your login, a pseudonym is made of it"
        raise WrongUse(msg)
    return name if is_machine(name) or _PSEUDONYM.fullmatch(name) else pseudonym(catalog, name)


def is_machine(name: str) -> bool:
    """Whether no person stands behind a step, and it says so."""
    return name.removesuffix(UNREVIEWED) in {SIMULATED, FROM_ARCHIVE}


def key_of(task: str) -> str:
    """Return the name under which a task's steps stand in the ledger; ``task`` is its record's digest."""
    return f"task-{task[:16]}"


def of_series(records: Iterable[Record]) -> dict[str, tuple[Step, ...]]:
    """Return the steps of a task's step records by SeriesInstanceUID (0020,000E), oldest first."""
    names = {one.name for one in fields(Step)} - {"record"}
    found: dict[str, list[Step]] = {}
    for record in records:
        told = {key: value for key, value in record.body.items() if key in names}
        found.setdefault(record.body["series"], []).append(Step(**told, record=record.digest))
    return {series: tuple(steps) for series, steps in found.items()}


def state_of(steps: Sequence[Step], roster: Roster, *, reader: str = "") -> str:
    """Return the state of a case; of a double reading with ``reader`` (a pseudonym), that of their own reading.

    A double reading is submitted when each of its readers handed in; what is returned goes back to all of them.
    """
    if not roster.double:
        return steps[-1].state if steps else "assigned" if roster.readers else ""
    since = _round(steps)
    closing = [step.state for step in since if step.state in REVIEWS]
    if closing:
        return closing[-1]
    if {step.reader for step in since if step.state == "submitted"} >= set(roster.readers):
        return "submitted"
    begun = [step.state for step in since if step.state in READS and reader in {"", step.reader}]
    if begun:
        return begun[-1] if reader else "in progress"
    return "returned" if len(since) < len(steps) else "assigned"


def _round(steps: Sequence[Step]) -> Sequence[Step]:
    """What happened since the case was returned last."""
    returned = [number for number, step in enumerate(steps, 1) if step.state == "returned"]
    return steps[returned[-1] :] if returned else steps


def check(
    body: Mapping[str, Any], *, task: Mapping[str, Any], steps: Sequence[Step], writer: str, maker: bool = True
) -> None:
    """Raise WrongUse unless a step may be written now.

    Parameters
    ----------
    body
        Of the step's record.
    task
        Body of the task's record.
    steps
        Every step of the case so far.
    writer
        Pseudonym of who writes it.
    maker
        Whether they made the task.
    """
    state, reader, series = (str(body.get(key, "")) for key in ("state", "reader", "series"))
    roster = Roster.of(task)
    now = state_of(steps, roster, reader=reader if state in READS else "")
    for refused, why in _refusals(body, now, roster=roster, steps=steps, maker=maker):
        if refused:
            msg = f"series {series} {why}"
            raise WrongUse(msg)
    machine = is_machine(reader) and not roster.named
    if series not in task["series"] or (state in READS | REVIEWS and not machine and reader != writer):
        msg = f"series {series}: a step is written on a case of its task, by the person it names; open the case again"
        raise WrongUse(msg)


def _refusals(
    body: Mapping[str, Any], now: str, *, roster: Roster, steps: Sequence[Step], maker: bool
) -> list[tuple[bool, str]]:
    state, reader, series = (str(body.get(key, "")) for key in ("state", "reader", "series"))
    reads, reviews, assigned = state in READS, state in REVIEWS, state == "assigned"
    chosen = next((step.reader for step in reversed(steps) if step.state == "assigned"), reader)
    wanted = roster.blind(series, reader) if roster.double and state == "submitted" else None
    all_in = roster.double and state_of(steps, roster) == "submitted"
    return [
        (reads and all_in, "was handed in by each of its readers: their readings stand, unless it is returned"),
        (state == "accepted" and roster.double and now == "submitted",
         f"has {len(roster.readers)} readings and no consensus yet: adjudicate it first"),
        (state not in NEXT[now], f"is {now or 'untouched'} in its task: it cannot become {state[:20]}"),
        ((reads or assigned) and bool(roster.readers) and reader not in roster.readers,
         f"is read by the {len(roster.readers)} readers that the task names; read as one of them"),
        (reads and reader != chosen, "is assigned to another reader; have it assigned to you"),
        (assigned and roster.double, "is read by each of the task's readers: there is nothing to assign"),
        (assigned and not maker, "is assigned by whoever made the task; ask them"),
        (reviews and reader in {step.reader for step in steps if step.state == "submitted"},
         "was read by you: somebody else reviews it"),
        (reviews and bool(roster.adjudicator) and reader != roster.adjudicator,
         "is reviewed by the adjudicator whom the task names"),
        (body.get("blind") != wanted, "is read blind, or is not, otherwise than the step says; open the case again"),
    ]  # fmt: skip
