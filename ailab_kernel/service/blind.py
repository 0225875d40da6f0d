"""Blind readings: what one reader wrote is shown to the others when each of them has written theirs, and not before.

A record whose body holds ``blind = {"case": TEXT, "reader": NAME, "readers": [NAME, ...]}`` is a blind reading; a name
is the reader's pseudonym, made here of the login that the token belongs to. Only the readers that it names may write
one, each under their own name; it is hidden from everybody but its writer, whatever their role, until all of them have
written one of the same kind, name and case. The ledger keeps every one in its order, so that a second one, written
after the others were seen, is seen to be that.

A step of a task (`annotation.reading.rules`) is held to the task's rules here too, by the same table.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ailab_kernel.annotation.reading import KIND, STEP, key_of, of_series
from ailab_kernel.annotation.reading import check as check_rules
from ailab_kernel.ground.catalog import Record
from ailab_kernel.ground.errors import WrongUse

from .bodies import Name, Note, misfit

FIELD = "blind"


class _Blind(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    case: Name
    reader: Name
    readers: Annotated[list[Name], Field(min_length=2, max_length=100)]


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    series: Name
    number: int
    state: Name
    mask: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
    reader: Name
    changed: Annotated[float, Field(ge=0, le=1)]
    reason: Note
    seconds: Annotated[float, Field(ge=0)] = 0.0
    blind: _Blind | None = None


def check(body: Mapping[str, Any], writer: str) -> None:
    """Raise WrongUse where a body claims to be a blind reading and ``writer`` (a pseudonym) may not write it so."""
    if FIELD not in body:
        return
    try:
        blind = _Blind.model_validate(body[FIELD])
    except ValidationError as error:
        msg = f"{FIELD}: {misfit(error.errors())}; make the task again"
        raise WrongUse(msg) from None
    if blind.reader != writer or writer not in blind.readers:
        msg = "a blind reading is written by its own reader, one of those that the task names"
        raise WrongUse(msg)


def check_step(new: Record, query: Callable[..., Sequence[Record]], *, writer: str) -> None:
    """Raise WrongUse unless a step of a task may be written now.

    Parameters
    ----------
    new
        The record as it would be; ``made_by`` is the login.
    query
        Of the catalog, blind readings included.
    writer
        The login's pseudonym.
    """
    try:
        _Step.model_validate(new.body)
    except ValidationError as error:
        msg = f"step: {misfit(error.errors())}; let the task write it"
        raise WrongUse(msg) from None
    tasks = [task for digest in new.parents for task in query(KIND, digest=digest)]
    if len(tasks) != 1 or new.name != key_of(tasks[0].digest):
        msg = "a step stands under the name of its task, which is among its parents; let the task write it"
        raise WrongUse(msg)
    steps = of_series(query(STEP, name=new.name)).get(str(new.body.get("series")), ())
    check_rules(new.body, task=tasks[0].body, steps=steps, writer=writer, maker=tasks[0].made_by == new.made_by)


def shown(found: Sequence[Record], reader: str, *, written: Iterable[Record]) -> list[Record]:
    """Return the records that ``reader`` (a pseudonym) may see of those found.

    ``written`` holds every record of the same kind, whoever wrote it.
    """
    writers = {(one.name, one.body[FIELD]["case"], one.body[FIELD]["reader"]) for one in written if FIELD in one.body}

    def _open(one: Record) -> bool:
        blind = one.body.get(FIELD)
        return not blind or blind["reader"] == reader or all(
            (one.name, blind["case"], name) in writers for name in blind["readers"])  # fmt: skip

    return [one for one in found if _open(one)]
