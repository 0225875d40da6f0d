"""What to mark on which series, and how far each is: proposed, submitted, accepted or returned.

A task and every step of it are records in the ledger; the state of a case is its newest step.
"""

import html
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

KIND, STEP = "task", "annotation"
# What may follow what: a case starts without a step.
NEXT = {
    "": ("proposed", "submitted"),
    "proposed": ("submitted",),
    "submitted": ("submitted", "accepted", "returned"),
    "returned": ("submitted",),
    "accepted": ("returned",),
}


@dataclass(frozen=True)
class Step:
    """One step of one case.

    Attributes
    ----------
    state
        ``proposed``, ``submitted``, ``accepted`` or ``returned``.
    mask
        SHA-256 of the mask's pack.
    reader
        Pseudonym or role of who did it; ``simulated`` for the simulated reader.
    changed
        Share of the union of proposal and submission that the reader changed, 0 to 1.
    reason
        Why it was returned.
    """

    state: str
    mask: str
    reader: str
    changed: float = 0.0
    reason: str = ""
    record: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True)
class Task:
    """A worklist: a recipe's labels to be drawn on a list of series."""

    workspace: Workspace = field(repr=False)
    record: Record

    @property
    def ref(self) -> str:
        """``name@version``."""
        return self.record.ref

    @cached_property
    def recipe(self) -> Recipe:
        """What is drawn."""
        return find(self.record.body["recipe"])

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

    def state(self, series_uid: str) -> str:
        """Return the state of a case; empty when nothing happened yet."""
        steps = self.steps(series_uid)
        return steps[-1].state if steps else ""

    def mask(self, series_uid: str) -> Mask:
        """Return the newest mask of a case."""
        steps = self.steps(series_uid)
        if not steps:
            msg = f"series {series_uid} has no mask in task {self.ref} yet"
            raise NotFound(msg)
        return load_mask(self.workspace.catalog, steps[-1].mask, self.recipe.labels)

    def propose(self, series_uid: str, mask: Mask) -> "Task":
        """Record the model's proposal and return the task as it stands now."""
        return self._step(series_uid, "proposed", mask=self._put(mask), reader=f"model {self.assist[:12]}")

    def submit(self, series_uid: str, mask: Mask, *, reader: str) -> "Task":
        """Record what a reader drew; the share changed from the proposal is kept beside it."""
        proposals = [step for step in self.steps(series_uid) if step.state == "proposed"]
        changed = self._changed(proposals[-1].mask, mask) if proposals else 1.0
        return self._step(series_uid, "submitted", mask=self._put(mask), reader=reader, changed=changed)

    def accept(self, series_uid: str, *, reviewer: str) -> "Task":
        """Accept the submitted mask."""
        return self._step(series_uid, "accepted", mask=self._newest(series_uid).mask, reader=reviewer)

    def give_back(self, series_uid: str, *, reviewer: str, reason: str) -> "Task":
        """Return a mask to its reader with the reason."""
        return self._step(series_uid, "returned", mask=self._newest(series_uid).mask, reader=reviewer, reason=reason)

    def accepted(self) -> tuple[Annotated, ...]:
        """Return every accepted annotation, ready for ``lab.datasets.freeze``."""
        done = [uid for uid in self.series_uids if self.state(uid) == "accepted"]
        return tuple(self._annotated(uid) for uid in done)

    def _annotated(self, series_uid: str) -> Annotated:
        step = self._newest(series_uid)
        return Annotated(self.image(series_uid), step.mask, self.recipe.labels, step.record)

    def _newest(self, series_uid: str) -> Step:
        steps = self.steps(series_uid)
        if not steps:
            msg = f"series {series_uid}: nothing was submitted in task {self.ref}; submit a mask first"
            raise WrongUse(msg)
        return steps[-1]

    def _put(self, mask: Mask) -> str:
        return self.workspace.catalog.put(pack_mask(mask))

    def _changed(self, proposal: str, mask: Mask) -> float:
        before = load_mask(self.workspace.catalog, proposal, self.recipe.labels).array
        union = int(((before > 0) | (mask.array > 0)).sum())
        return round(float((before != mask.array).sum() / union), 6) if union else 0.0

    def _step(self, series_uid: str, state: str, **step: Any) -> "Task":
        steps = self.steps(series_uid)
        current = steps[-1].state if steps else ""
        if state not in NEXT[current]:
            msg = f"series {series_uid} is {current or 'untouched'} in task {self.ref}: it cannot become {state}"
            raise WrongUse(msg)
        body = {"series": series_uid, "number": len(steps), "state": state, "changed": 0.0, "reason": "", **step}
        parents = [self.record.digest, *([self.assist] if self.assist else [])]
        self.workspace.catalog.append(STEP, body, name=self._key, parents=parents)
        return Task(self.workspace, self.record)

    @property
    def _key(self) -> str:
        """Name under which this task's steps stand in the ledger."""
        return f"task-{self.record.digest[:16]}"

    @cached_property
    def _steps(self) -> Mapping[str, tuple[Step, ...]]:
        found: dict[str, list[Step]] = {}
        for record in self.workspace.catalog.query(STEP, name=self._key):
            body = {key: value for key, value in record.body.items() if key not in {"series", "number"}}
            found.setdefault(record.body["series"], []).append(Step(**body, record=record.digest))
        return {series: tuple(steps) for series, steps in found.items()}

    def _check_case(self, series_uid: str) -> str:
        if series_uid not in self.series_uids:
            msg = f"series {series_uid} is not in task {self.ref}"
            raise NotFound(msg)
        return series_uid

    def _repr_html_(self) -> str:
        states = [self.state(uid) or "untouched" for uid in self.series_uids]
        rows = "".join(f"<tr><td>{state}</td><td>{states.count(state)}</td></tr>" for state in dict.fromkeys(states))
        title = f"Task {html.escape(self.ref)}: {html.escape(self.recipe.title)} on {len(states)} series"
        return f"<p><b>{title}</b></p><table><tr><th>state</th><th>cases</th></tr>{rows}</table>"


def create_task(
    workspace: Workspace, recipe: Recipe, series_uids: Sequence[str], *, assist: str = "", reason: str = ""
) -> Task:
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
    """
    if not series_uids:
        msg = "no studies to annotate: the search found none; widen it (ailab archive search)"
        raise WrongUse(msg)
    body = {"recipe": recipe.name, "series": list(series_uids), "assist": assist, "reason": reason,
            "labels": [asdict(label) for label in recipe.labels]}  # fmt: skip
    parents = [assist] if assist else []
    return Task(workspace, workspace.catalog.append(KIND, body, name=recipe.name, parents=parents))


def get_task(workspace: Workspace, ref: str) -> Task:
    """Return the task that ``name`` (newest) or ``name@2`` means."""
    wished = Ref.parse(ref)
    found = workspace.catalog.query(KIND, name=wished.name, version=wished.version)
    if not found:
        msg = f"there is no annotation task {ref} here"
        raise NotFound(msg)
    return Task(workspace, found[-1])
