"""What to mark on which series, by whom, and how far each case is.

A task and every step of it are records in the ledger; who may write which is in `reading.rules`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from ailab_kernel.datasets.dataset import Annotated, load_mask
from ailab_kernel.datasets.intake import Image, image_volume, known_image, take_in
from ailab_kernel.ground.catalog import Record
from ailab_kernel.ground.errors import NotFound, WrongUse
from ailab_kernel.ground.ids import Ref
from ailab_kernel.recipes.recipe import Recipe, find
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.pack import pack_mask
from ailab_kernel.volumes.volume import Volume
from ailab_kernel.workspace import Workspace

from .reading import HOW, KIND, STEP, Roster, Step, check, consensus, key_of, of_series, person, state_of

__all__ = ["KIND", "STEP", "Step", "Task", "create_task", "get_task", "list_tasks"]


@dataclass(frozen=True)
class Task:
    """A worklist: a recipe's labels to be drawn on a list of series.

    Attributes
    ----------
    workspace, record
        Where it is, and what it is.
    only
        Digests of the step records that count, for a report that is to be the same later; empty: all of them.
    """

    workspace: Workspace = field(repr=False)
    record: Record
    only: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ref(self) -> str:
        """``name@version``."""
        return self.record.ref

    @cached_property
    def recipe(self) -> Recipe:
        """What is drawn."""
        return find(self.record.body["recipe"])

    @property
    def roster(self) -> Roster:
        """Whom the task names."""
        return Roster.of(self.record.body)

    @property
    def assist(self) -> str:
        """Digest of the model that proposes; empty when none does."""
        return self.record.body["assist"]

    @property
    def series_uids(self) -> tuple[str, ...]:
        """SeriesInstanceUID (0020,000E) of every case, in worklist order."""
        return tuple(self.record.body["series"])

    def image(self, series_uid: str) -> Image:
        """Return the case's image, brought through the gate when it is first asked for."""
        known = known_image(self.workspace.catalog, self._check_case(series_uid))
        if known:
            return known
        found = self.workspace.archive.search_series(series=series_uid)
        if not found:
            msg = f"series {series_uid} is no longer in the archive; restore it, or make a task without it"
            raise NotFound(msg)
        return take_in(self.workspace, found[0], reason=self.record.body["reason"])

    def volume(self, series_uid: str) -> Volume:
        """Return the case's volume from the research side."""
        return image_volume(self.workspace.catalog, self.image(series_uid).digest)

    def steps(self, series_uid: str) -> tuple[Step, ...]:
        """Return every step of a case, oldest first."""
        return self._steps.get(self._check_case(series_uid), ())

    def state(self, series_uid: str, *, reader: str = "") -> str:
        """Return the state of a case, empty when nothing happened yet; of a double reading, a reader's own part."""
        return state_of(self.steps(series_uid), self.roster, reader=reader)

    def mask(self, series_uid: str) -> Mask:
        """Return the newest mask of a case."""
        drawn = self._drawn(series_uid)
        if not drawn:
            msg = f"series {series_uid} has no mask in task {self.ref} yet"
            raise NotFound(msg)
        return self._load(drawn[-1])

    def start(self, series_uid: str, reader: str) -> Mask | None:
        """Return what a reader's session begins with; in a double reading nothing that another reader drew."""
        if self.roster.double and reader in self.roster.readers:
            own = [step for step in self._drawn(series_uid) if step.state == "proposed" or step.reader == reader]
            return self._load(own[-1]) if own else None
        if self.roster.double and self.state(series_uid) == "submitted":
            return consensus(list(self.submissions(series_uid).values()), self.record.body["consensus"])
        return self._load(self._drawn(series_uid)[-1]) if self._drawn(series_uid) else None

    def submissions(self, series_uid: str) -> Mapping[str, Mask]:
        """Return what each reader handed in last, by pseudonym; of blind readings what this catalog may show."""
        newest = {step.reader: step for step in self._drawn(series_uid) if step.state == "submitted"}
        order = [*self.roster.readers, *newest]
        return {reader: self._load(newest[reader]) for reader in sorted(newest, key=order.index)}

    def reading_steps(self, series_uid: str) -> Mapping[str, Step]:
        """Return each reader's step of a double reading by pseudonym, as it stood when the last of them handed in.

        Empty before; what was read again after a return was not blind, and does not count here.
        """
        found: dict[str, Step] = {}
        for step in self.steps(series_uid):
            if step.state == "submitted" and not found.keys() >= set(self.roster.readers):
                found[step.reader] = step
        complete = self.roster.double and found.keys() >= set(self.roster.readers)
        return {reader: found[reader] for reader in self.roster.readers} if complete else {}

    def readings(self, series_uid: str) -> Mapping[str, Mask]:
        """Return each reader's blind reading by pseudonym (`reading_steps`); empty before all are in."""
        return {reader: self._load(step) for reader, step in self.reading_steps(series_uid).items()}

    def compared(self) -> tuple[str, ...]:
        """Return the digests of the steps that speak of agreement now: every blind reading of each case, and its end.

        Raises
        ------
        WrongUse
            No case was handed in by all of its readers.
        """
        found = [step.record for uid in self.series_uids if (readings := self.reading_steps(uid))
                 for step in [*readings.values(), *(self.steps(uid)[-1:] if self.state(uid) == "accepted" else ())]]
        if not found:
            msg = f"no case of task {self.ref} was handed in by two readers or more; there is nothing to compare yet"
            raise WrongUse(msg)
        return tuple(found)

    def propose(self, series_uid: str, mask: Mask) -> "Task":
        """Record the model's proposal and return the task as it stands now."""
        return self._step(series_uid, "proposed", mask=self._put(mask), reader=f"model {self.assist[:12]}")

    def assign(self, series_uid: str, *, reader: str) -> "Task":
        """Give a case to a reader; only they may hand it in then."""
        return self._step(series_uid, "assigned", reader=self._person(reader))

    def begin(self, series_uid: str, *, reader: str) -> "Task":
        """Record that a reader opened the case."""
        return self._step(series_uid, "in progress", reader=self._person(reader))

    def submit(self, series_uid: str, mask: Mask, *, reader: str, seconds: float = 0.0) -> "Task":
        """Record what a reader drew; the share changed from the proposal is kept beside it.

        Parameters
        ----------
        series_uid, mask
            The case, and what was drawn on it.
        reader
            A login, or its pseudonym.
        seconds
            Active time (`reading.active_seconds`).
        """
        proposals = [step for step in self.steps(series_uid) if step.state == "proposed"]
        changed = self._changed(proposals[-1].mask, mask) if proposals else 1.0
        who = self._person(reader)
        blind = {"blind": self.roster.blind(series_uid, who)} if self.roster.double else {}
        told = {"reader": who, "changed": changed, "seconds": seconds, **blind}
        return self._step(series_uid, "submitted", mask=self._put(mask), **told)

    def review(self, series_uid: str, mask: Mask, *, reviewer: str, seconds: float = 0.0) -> "Task":
        """Record what a reviewer or adjudicator made of what was submitted; accepting it is another step."""
        who = self._person(reviewer)
        return self._step(series_uid, "reviewed", mask=self._put(mask), reader=who, seconds=seconds)

    def accept(self, series_uid: str, *, reviewer: str) -> "Task":
        """Accept the newest mask; of a double reading the adjudicated one."""
        mask, who = self._newest(series_uid).mask, self._person(reviewer)
        return self._step(series_uid, "accepted", mask=mask, reader=who)

    def give_back(self, series_uid: str, *, reviewer: str, reason: str) -> "Task":
        """Return a mask to its reader with the reason."""
        mask, who = self._newest(series_uid).mask, self._person(reviewer)
        return self._step(series_uid, "returned", mask=mask, reader=who, reason=reason)

    def may(self, series_uid: str, state: str, *, reader: str) -> str:
        """Return why a person may not bring a case to a state now; empty when they may."""
        body = self._body(series_uid, state, reader=self._person(reader))
        if state == "submitted" and self.roster.double:
            body["blind"] = self.roster.blind(series_uid, body["reader"])
        try:
            self._check(body)
        except WrongUse as refusal:
            return str(refusal)
        return ""

    def accepted(self) -> tuple[Annotated, ...]:
        """Return every accepted annotation, ready for ``lab.datasets.freeze``."""
        done = [uid for uid in self.series_uids if self.state(uid) == "accepted"]
        return tuple(self._annotated(uid) for uid in done)

    def _annotated(self, series_uid: str) -> Annotated:
        step = self._newest(series_uid)
        return Annotated(self.image(series_uid), step.mask, self.recipe.labels, step.record)

    def _drawn(self, series_uid: str) -> tuple[Step, ...]:
        return tuple(step for step in self.steps(series_uid) if step.mask)

    def _newest(self, series_uid: str) -> Step:
        drawn = self._drawn(series_uid)
        if not drawn:
            msg = f"series {series_uid}: nothing was submitted in task {self.ref}; submit a mask first"
            raise WrongUse(msg)
        return drawn[-1]

    def _load(self, step: Step) -> Mask:
        return load_mask(self.workspace.catalog, step.mask, self.recipe.labels)

    def _person(self, name: str) -> str:
        return person(self.workspace.catalog, name)

    def _put(self, mask: Mask) -> str:
        return self.workspace.catalog.put(pack_mask(mask))

    def _changed(self, proposal: str, mask: Mask) -> float:
        before = load_mask(self.workspace.catalog, proposal, self.recipe.labels).array
        union = int(((before > 0) | (mask.array > 0)).sum())
        return round(float((before != mask.array).sum() / union), 6) if union else 0.0

    def _body(self, series_uid: str, state: str, **step: Any) -> dict[str, Any]:
        empty = {"mask": "", "changed": 0.0, "reason": ""}
        return {"series": series_uid, "number": len(self.steps(series_uid)), "state": state, **empty, **step}

    def _check(self, body: Mapping[str, Any]) -> None:
        check(body, task=self.record.body, steps=self.steps(body["series"]), writer=body["reader"])

    def _step(self, series_uid: str, state: str, **step: Any) -> "Task":
        body = self._body(series_uid, state, **step)
        self._check(body)
        parents = [self.record.digest, *([self.assist] if self.assist else [])]
        self.workspace.catalog.append(STEP, body, name=key_of(self.record.digest), parents=parents)
        return Task(self.workspace, self.record)

    @cached_property
    def _steps(self) -> Mapping[str, tuple[Step, ...]]:
        found = self.workspace.catalog.query(STEP, name=key_of(self.record.digest))
        return of_series(one for one in found if not self.only or one.digest in self.only)

    def _check_case(self, series_uid: str) -> str:
        if series_uid not in self.series_uids:
            msg = f"series {series_uid} is not in task {self.ref}"
            raise NotFound(msg)
        return series_uid

    def _repr_html_(self) -> str:
        from .reading.shown import table

        return table(self)


def create_task(
    workspace: Workspace, recipe: Recipe, series_uids: Sequence[str], *, assist: str = "", reason: str = "",
    readers: Sequence[str] = (), adjudicator: str = "", consensus: str = HOW[0],
) -> Task:  # fmt: skip
    """Make a task, or return the one with the same content.

    Parameters
    ----------
    workspace
        Archive and catalog.
    recipe
        What is drawn.
    series_uids
        On which series; the order is the worklist.
    assist
        Digest of the model that proposes.
    reason
        Why studies that are not marked as de-identified may enter; recorded.
    readers
        Logins of those who read every case; two or more read blind to each other.
    adjudicator
        Login of who alone reviews.
    consensus
        What the adjudicator begins with, a name of `reading.HOW`.

    Raises
    ------
    WrongUse
        No series, the same person twice, or no such consensus.
    """
    if not series_uids:
        msg = "no studies to annotate: the search found none; widen it (ailab archive search)"
        raise WrongUse(msg)
    people = [*readers, *([adjudicator] if adjudicator else [])]
    if len(set(people)) < len(people) or consensus not in HOW:
        msg = f"each reader and the adjudicator is another person, and the consensus one of {', '.join(HOW)}"
        raise WrongUse(msg)
    named = {"readers": [person(workspace.catalog, one) for one in readers], "consensus": consensus,
             "adjudicator": person(workspace.catalog, adjudicator) if adjudicator else ""}  # fmt: skip
    body = {"recipe": recipe.name, "series": list(series_uids), "assist": assist, "reason": reason,
            "labels": [asdict(label) for label in recipe.labels], **(named if people else {})}  # fmt: skip
    parents = [assist] if assist else []
    return Task(workspace, workspace.catalog.append(KIND, body, name=recipe.name, parents=parents))


def list_tasks(workspace: Workspace) -> tuple[Task, ...]:
    """Return every task of the lab, oldest first."""
    return tuple(Task(workspace, record) for record in workspace.catalog.query(KIND))


def get_task(workspace: Workspace, ref: str, *, only: Sequence[str] = ()) -> Task:
    """Return the task that ``name`` (newest) or ``name@2`` means; ``only`` is that of `Task`."""
    wished = Ref.parse(ref)
    found = workspace.catalog.query(KIND, name=wished.name, version=wished.version)
    if not found:
        msg = f"there is no annotation task {ref} here"
        raise NotFound(msg)
    return Task(workspace, found[-1], tuple(only))
