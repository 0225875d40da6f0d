"""A review of burned-in text over a folder or an archive: the run that waits, the page, and the run that releases.

Originals are read from the source by the process that runs this, as `deidentified` does; nothing of them is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import NotFound
from ailab_kernel.privacy.bulk import Followed, Treatment
from ailab_kernel.privacy.desk import Desk, Originals
from ailab_kernel.privacy.folder import files_in
from ailab_kernel.privacy.review import REVIEW, Proposal, take

from .deidentified import IN_MEMORY, Study, deidentify_place, place_of

if TYPE_CHECKING:
    from ailab_kernel.archives.archive import Archive
    from ailab_kernel.privacy.desk.widget import Review

_GONE = "the source no longer holds this object as it was; run the same command again"


def reviewed(treatment: Treatment, target: "Archive | Path | str", *, journal: Path | None) -> Treatment:
    """The treatment with a review, which lies beside the journal."""
    place = place_of(target) if isinstance(target, str) else target
    folder = place if isinstance(place, Path) else journal or Path()   # without one the run is refused
    return replace(treatment, review=folder / REVIEW)


def release(treatment: Treatment) -> int:
    """Freeze what is decided in a treatment's review: the next run releases it. Return how many objects are new."""
    return take(treatment.review) if treatment.review else 0


def open_review(
    source: "Archive | Path", target: "Archive | Path", treatment: Treatment, *, who: str, journal: Path | None = None,
    processes: int | None = None, audit: Callable[..., None] | None = None,
) -> "Review":  # fmt: skip
    """De-identify what is new, and return the page on which a person decides about what waits.

    Parameters
    ----------
    source, target, journal, processes, audit
        As of `deidentify_place`.
    treatment
        Profile and key; a review is added.
    who
        Pseudonym of the person.
    """
    from ailab_kernel.privacy.desk.widget import Review

    treatment = reviewed(treatment, target, journal=journal)
    folder = treatment.review.parent if treatment.review else Path()

    def _run(processes: int | None = processes) -> dict[str, Any]:
        return deidentify_place(source, target, treatment, journal=journal, processes=processes, audit=audit)

    def _released() -> dict[str, Any]:
        release(treatment)
        return _run(1)                         # beside a page: in this process

    report = _run()
    held: Originals = FolderOriginals(source, treatment) if isinstance(source, Path) else ArchiveOriginals(
        source, treatment, Followed(folder))  # fmt: skip
    desk = Desk(folder, held, who)
    if audit:
        audit("access", objects=str(len(desk.proposals)), reader=who)
    return Review(desk, release=_released, report=report)


@dataclass
class FolderOriginals:
    """Objects of a folder, by the names that they have in a journal."""

    source: Path
    treatment: Treatment
    _files: dict[str, Path] = field(default_factory=dict)

    def file(self, proposal: Proposal) -> bytes:
        """Return an object's PS3.10 file; NotFound where it is no longer there."""
        if proposal.name not in self._files:
            self._files = files_in(self.source, self.treatment)
        try:
            return self._files[proposal.name].read_bytes()
        except (KeyError, OSError):
            raise NotFound(_GONE) from None


@dataclass
class ArchiveOriginals:
    """Objects of an archive; those of one study at a time wait in a file without a name."""

    archive: "Archive"
    treatment: Treatment
    followed: Followed
    _spool: Any = None
    _held: dict[str, tuple[int, int]] = field(default_factory=dict)

    def file(self, proposal: Proposal) -> bytes:
        """Return an object's PS3.10 file; NotFound where it is no longer there."""
        if proposal.name not in self._held:
            self._fetch(proposal.name)
        place, size = self._held[proposal.name]
        self._spool.seek(place)
        return self._spool.read(size)

    def _fetch(self, name: str) -> None:
        waited = self.followed.refresh().waited
        units = {unit for unit, files in waited.items() if name in files}
        found = (Study.of(self.archive, one.uid, self.treatment, number=0) for one in self.archive.search_studies())
        study = next((one for one in found if one.name in units), None)
        if study is None:
            raise NotFound(_GONE)
        if self._spool:
            self._spool.close()
        self._spool, self._held = SpooledTemporaryFile(max_size=IN_MEMORY), {}   # noqa: SIM115 - held
        wanted = {file for unit in units for file in waited[unit]}
        for given in study.files(self.treatment):
            if given.name in wanted:
                self._held[given.name] = self._spool.tell(), self._spool.write(given.read())
        if name not in self._held:
            raise NotFound(_GONE)
