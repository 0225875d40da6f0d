"""A whole archive without its patients, into another archive or a folder; or a folder into an archive.

Study by study in worker processes, each of which asks the archives itself. A study waits in a file without a name while
what identifies anywhere in it is gathered: the file is gone with its process, however that ends. What was proven is
stored, and what the archive then holds is written into the journal; who is killed in between stores the same once
more, which changes nothing.
"""

import hmac
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any

from ailab_kernel.archives.archive import Series, open_archive
from ailab_kernel.archives.instances import uid_of
from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import DicomError, WrongUse
from ailab_kernel.ground.progress import say
from ailab_kernel.ground.references import without_password
from ailab_kernel.privacy.bulk import Given, Journal, Line, Made, Target, Treatment, deidentify, report_of
from ailab_kernel.privacy.bulk.treatment import known_of
from ailab_kernel.privacy.folder import Folder, check_apart, folder_into

if TYPE_CHECKING:
    from pydicom import Dataset

    from ailab_kernel.archives.archive import Archive

EVENT = "deidentify"                           # PS3.15 A.5.3.7, Export, with the life cycle of de-identification
IN_MEMORY = 64 << 20                          # bytes of a study that need no file
_TWICE = "another object with the same SOP Instance UID stands in its study"


def place_of(text: str) -> "Archive | Path":
    """Return the archive whose URL a text is, or the folder whose path it is; SettingsError for a password in it."""
    scheme, colon, _ = text.partition(":")
    is_url = colon and "/" not in scheme and not Path(text).exists()
    return open_archive(without_password(text)) if is_url else Path(text)


def deidentify_place(
    source: "Archive | Path", target: "Archive | Path", treatment: Treatment, *, journal: Path | None = None,
    processes: int | None = None, audit: Callable[..., None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """De-identify everything in a folder or an archive, and return the report; killed, the same call goes on.

    Parameters
    ----------
    source
        Folder of DICOM files, or archive; it is only read.
    target
        Output folder, or archive.
    treatment
        Profile and key.
    journal
        Folder for journal and report, where the target is an archive; an output folder holds its own.
    processes
        How many work at once; by default one a core.
    audit
        ``catalog.audit`` of the lab that answers for this: a line for each study, or for a folder.

    Raises
    ------
    WrongUse
        Source and target are one, or there is no folder for the journal.
    SettingsError
        The journal was begun with another key or profile, or for another archive.
    ArchiveUnreachable
        An archive does not answer; what is done is in the journal.
    """
    said = {"options": ",".join(treatment.profile.options), "target": getattr(target, "url", "folder")}

    def _tell(lines: Iterable[Line], **which: str) -> None:
        refused = [bool(line.reason) for line in lines]
        if audit:
            audit(EVENT, **which, instances=str(refused.count(False)), refused=str(refused.count(True)), **said)

    folder = _journal_folder(source, target, journal)
    outputs = {folder, _root(target) or folder}
    check_apart(*outputs, source=_root(source), sheets=treatment.sheets)
    kept = Journal(folder, treatment, target=getattr(target, "url", ""))
    into: Target = Folder(target) if isinstance(target, Path) else Stored(target)
    if isinstance(source, Path):
        lines = folder_into(source, into, treatment, journal=kept, processes=processes)
        _tell(lines)
        return report_of(folder, treatment, lines)
    deidentify(_todo(source, treatment, kept), into, treatment, journal=kept, what="studies de-identified",
               processes=1 if _calls_back(source) else processes,
               done=lambda study, lines: _tell(lines, study=study.uid))  # fmt: skip
    return report_of(folder, treatment, kept.lines.values())


def _journal_folder(source: "Archive | Path", target: "Archive | Path", journal: Path | None) -> Path:
    if isinstance(target, Path):
        return target
    if not isinstance(source, Path) and source.url == target.url:
        msg = "source and target are one archive; give another target"
        raise WrongUse(msg)
    if journal is None:
        msg = "an archive holds no journal: give a folder for it (--journal), the same one to go on after a stop"
        raise WrongUse(msg)
    return journal


def _root(place: "Archive | Path") -> Path | None:
    """Folder of a place on this machine."""
    return place if isinstance(place, Path) else getattr(place, "root", None)


def _calls_back(archive: "Archive") -> bool:
    """Whether a PACS sends what is retrieved to one port of ours (C-MOVE), at which two processes cannot listen."""
    peer = getattr(archive, "peer", None)
    return peer is not None and peer.retrieve != "get"


def _todo(source: "Archive", treatment: Treatment, journal: Journal) -> list["Study"]:
    """Studies of an archive that are not done, or have grown since."""
    uids = sorted(one.uid for one in source.search_studies())
    studies = [Study.of(source, uid, treatment, number=number) for number, uid in enumerate(uids, 1)]
    todo = [one for one in studies if journal.due(one.name, treatment)]
    if todo and len(todo) < len(studies):
        say(f"  {len(studies) - len(todo)} studies were done before; {len(todo)} follow")
    return todo


@dataclass(frozen=True)
class Study:
    """A study of an archive, as a unit of work; see `privacy.bulk.Unit`."""

    archive: "Archive"
    uid: str
    series: tuple[Series, ...]
    study: int
    name: str

    @classmethod
    def of(cls, archive: "Archive", uid: str, treatment: Treatment, *, number: int) -> "Study":
        """Ask an archive what it holds of a study; its name is a keyed digest of the answer."""
        series = sorted((Series(uid, one.uid, instances=one.instances) for one in archive.search_series(uid)),
                        key=lambda one: one.uid)  # fmt: skip
        told = "\x1f".join((uid, *(f"{one.uid} {one.instances}" for one in series)))
        return cls(archive, uid, tuple(series), number, _keyed(treatment, told.encode()))

    def files(self, treatment: Treatment) -> Iterator[Given]:
        """Every instance by its UID, once all were seen: a name that only one of them knows goes from all."""
        with SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
            seen: list[tuple[str, Path | int, int]] = []
            also: set[str] = set()
            for file in (file for one in self.series for file in self.archive.retrieve_files(one)):
                _, uid, values = known_of(treatment.profile, file)
                also |= values
                seen.append((uid, file, 0) if isinstance(file, Path) else (uid, spool.tell(), spool.write(file)))
            for number, (uid, place, size) in enumerate(sorted(seen, key=lambda one: one[0]), 1):
                data = place.read_bytes() if isinstance(place, Path) else _piece(spool, place, size)
                name = _keyed(treatment, f"{self.uid}\x1f{uid}\x1f".encode() + data)
                yield Given(name, number, data, frozenset(also), self.study)


@dataclass(frozen=True)
class Stored:
    """An archive as a target."""

    archive: "Archive"

    def sweep(self) -> None:
        """Nothing: an archive takes an object whole or not at all."""

    def holds(self, line: Line) -> bool:
        """Whether a file needs no second try: it was stored, or could not leave."""
        return bool(line.output) or not line.sha256

    def kept(self, made: Iterable[Made]) -> list[Line]:
        """Store what may leave, as it comes; the line of what the archive then does not hold has the reason."""
        lines: list[Line] = []
        named: dict[str, Line] = {}            # by what the archive calls it

        def _leaving() -> "Iterator[Dataset]":
            for one in made:
                lines.append(one.line)
                if not one.file:
                    continue
                try:
                    ds = read_dataset(one.file)
                except DicomError as error:
                    lines[-1] = replace(one.line, output="", reason=str(error))
                    continue
                first = named.setdefault(uid_of(ds), one.line)
                if first is one.line:
                    yield ds
                elif first.sha256 != one.line.sha256:
                    lines[-1] = replace(one.line, output="", reason=_TWICE)

        done = self.archive.store(_leaving())
        reasons = {named[one.what].output: one.reason for one in done.refused if one.what in named}
        return [replace(line, output="", reason=reasons[line.output]) if line.output in reasons else line
                for line in lines]  # fmt: skip


def _piece(spool: Any, place: int, size: int) -> bytes:
    spool.seek(place)
    return spool.read(size)


def _keyed(treatment: Treatment, data: bytes) -> str:
    return hmac.new(treatment.key, data, "sha256").hexdigest()[:32]
