"""Blind readings: what one reader wrote is shown to the others when each of them has written theirs, and not before.

A record whose body holds ``blind = {"case": TEXT, "reader": LOGIN, "readers": [LOGIN, ...]}`` is a blind reading. Only
the readers that it names may write one, each under their own name; it is hidden from everybody but its writer,
whatever their role, until all of them have written one of the same kind, name and case. The ledger keeps every one in
its order, so that a second one, written after the others were seen, is seen to be that.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ailab_kernel.ground.catalog import Record
from ailab_kernel.ground.errors import WrongUse

from .bodies import Name, misfit

FIELD = "blind"


class _Blind(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    case: Name
    reader: Name
    readers: Annotated[list[Name], Field(min_length=2, max_length=100)]


def check(body: Mapping[str, Any], writer: str) -> None:
    """Raise WrongUse where a body claims to be a blind reading and ``writer`` may not write it so."""
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


def shown(found: Sequence[Record], reader: str, *, written: Iterable[Record]) -> list[Record]:
    """Return the records that ``reader`` (a login) may see of those found.

    ``written`` holds every record of the same kind, whoever wrote it.
    """
    writers = {(one.name, one.body[FIELD]["case"], one.made_by) for one in written if FIELD in one.body}

    def _open(one: Record) -> bool:
        blind = one.body.get(FIELD)
        return not blind or one.made_by == reader or all(
            (one.name, blind["case"], name) in writers for name in blind["readers"])  # fmt: skip

    return [one for one in found if _open(one)]
