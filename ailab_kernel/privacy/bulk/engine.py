"""The one way in which many objects are de-identified: units of work in parallel, each kept before it is journalled."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

from ailab_kernel.ground.errors import ArchiveError, ArchiveUnreachable, NotFound
from ailab_kernel.ground.progress import track
from ailab_kernel.work.processes import each

from .journal import Journal
from .treatment import Given, Line, Made, Treatment, treated


class Unit(Protocol):
    """Some files that one process works through; it travels there."""

    @property
    def name(self) -> str:
        """Keyed digest that is the same as long as its files are; empty where only its files have names."""

    @property
    def study(self) -> int:
        """See `Line`."""

    def files(self, treatment: Treatment) -> Iterator[Given]:
        """Its files, one by one."""


class Target(Protocol):
    """Where what was proven goes; it travels to a process."""

    def sweep(self) -> None:
        """Remove what a killed run left half written."""

    def holds(self, line: Line) -> bool:
        """Whether a file needs no second try: it is there, or could not leave."""

    def kept(self, made: Iterable[Made]) -> Iterable[Line]:
        """Keep what may leave; a line that is returned is durable."""


Work = TypeVar("Work", bound=Unit)
_UID = re.compile(r"\b[0-2](?:\.\d+){4,}|\b2\.25\.\d+")


def deidentify(
    units: Sequence[Work], target: Target, treatment: Treatment, *, journal: Journal, what: str,
    processes: int | None = None, done: Callable[[Work, Sequence[Line]], None] | None = None,
) -> None:  # fmt: skip
    """Work through units in parallel; whenever it is killed, the same call goes on.

    Parameters
    ----------
    units
        What is still to be done.
    target, treatment
        Where it goes, and how it is treated.
    journal
        What says that a unit is done.
    what
        Two or three words for the person: ``studies de-identified``.
    processes
        How many work at once; by default one a core.
    done
        Called with each unit and its lines before the journal says that it is done.

    Raises
    ------
    ArchiveUnreachable
        Nobody answers; what is done is in the journal.
    ArchiveError
        An archive refused what came from a folder.
    """
    target.sweep()
    work: Callable[[Work], list[Line]] = partial(_worked, treatment, target)
    lines = track(each(work, units, processes=processes), what=what, total=len(units))
    for unit, made in zip(units, lines, strict=True):
        if done:
            done(unit, made)
        journal.keep(made, unit=unit.name)


def _worked(treatment: Treatment, target: Target, unit: Unit) -> list[Line]:
    try:
        return list(target.kept(treated(treatment, given) for given in unit.files(treatment)))
    except (ArchiveError, NotFound) as error:
        if isinstance(error, ArchiveUnreachable) or not unit.name:
            raise
        said = _UID.sub("(UID)", str(error))   # of an original: what is reported leaves beside the output
        return [Line(unit.name, 0, reason=f"broke off, the next run tries it again: {said}", study=unit.study)]
