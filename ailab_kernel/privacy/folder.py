"""A folder of DICOM files, whole: in parallel, resumable, every output searched before it is kept.

Output files lie below ``patient/study/series`` by their new UIDs. A journal in the output folder says what is done; it
holds keyed digests and no name. What cannot be de-identified stays where it is and is told by its number, because file
names may be patients'.
"""

import hmac
import json
import os
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from ailab_kernel.ground.errors import DatasetError, WrongUse
from ailab_kernel.ground.progress import say
from ailab_kernel.ground.store import sync_folder
from ailab_kernel.work.processes import each

from .bulk import JOURNAL, REPORT, Given, Journal, Line, Made, Target, Treatment, deidentify, report_of
from .bulk.treatment import known_of
from .rules.profile import Profile

__all__ = ["JOURNAL", "REPORT", "Folder", "Treatment", "check_apart", "check_report", "deidentify_folder",
           "files_in", "folder_into"]  # fmt: skip
_HEADERS, _FILES = 64, 32                      # so many are read, and treated, at a time


def deidentify_folder(
    source: Path, target: Path, treatment: Treatment, *, processes: int | None = None
) -> dict[str, Any]:
    """De-identify every DICOM file below a folder, and return the report.

    Parameters
    ----------
    source
        Folder of DICOM files; it is only read.
    target
        Output folder: a new one, or one that an earlier run of the same treatment began.
    treatment
        Profile and key.
    processes
        How many work at once; by default one a core.

    Raises
    ------
    WrongUse
        One folder lies in the other, or the output folder holds something else.
    SettingsError
        An earlier run there had another key or profile.
    """
    check_apart(target, source=source, sheets=treatment.sheets)
    journal = Journal(target, treatment)
    lines = folder_into(source, Folder(target), treatment, journal=journal, processes=processes)
    return report_of(target, treatment, lines)


def folder_into(
    source: Path, target: Target, treatment: Treatment, *, journal: Journal, processes: int | None = None
) -> list[Line]:
    """De-identify every DICOM file below a folder into any target; return the line of each file, by path.

    Parameters
    ----------
    source, treatment, processes
        See :func:`deidentify_folder`.
    target
        A `Folder`, or whatever keeps files.
    journal
        What earlier runs did.
    """
    done = {name for name, line in journal.lines.items() if target.holds(line) and not treatment.due(line)}
    names, units = _files(source, treatment, done=done, processes=processes)
    deidentify(units, target, treatment, journal=journal, what=f"parts of {_FILES} files de-identified",
               processes=processes)  # fmt: skip
    return [journal.lines[name] for name in names]


def check_apart(*outputs: Path, source: Path | None = None, sheets: Path | None = None) -> None:
    """Raise WrongUse where there is no input, or folders of a run lie in each other; make the folder of the pages.

    Parameters
    ----------
    outputs
        Folders of output and journal.
    source
        Folder of the input; None where that is an archive elsewhere.
    sheets
        Folder of the pages, which show patients; it must lie in no output.
    """
    if source and not source.is_dir():
        msg = "the input is no folder; give the folder that holds the DICOM files"
        raise WrongUse(msg)
    written = [one.resolve() for one in outputs]
    for one, other in combinations([*written, *([source.resolve()] if source else [])], 2):
        if one.is_relative_to(other) or other.is_relative_to(one):
            msg = "input and output lie in each other; give an output folder elsewhere"
            raise WrongUse(msg)
    if sheets is None:
        return
    if any(sheets.resolve().is_relative_to(one) for one in written):
        msg = "the sheets show patients: give them a folder that is not in the output"
        raise WrongUse(msg)
    sheets.mkdir(mode=0o700, parents=True, exist_ok=True)


@dataclass(frozen=True)
class Part:
    """Some of a folder's files."""

    given: tuple[Given, ...]
    name: str = ""
    study: int = 0

    def files(self, _: Treatment) -> Iterator[Given]:
        """The files, one by one."""
        return iter(self.given)


def _files(
    source: Path, treatment: Treatment, *, done: Container[str], processes: int | None
) -> tuple[list[str], list[Part]]:
    """Return a folder's files by name (see `Line`), and those that are still to be done as units."""
    there = files_in(source, treatment)
    names, files = list(there), list(there.values())
    todo = [(number, name, path) for number, (name, path) in enumerate(zip(names, files, strict=True), 1)
            if name not in done]  # fmt: skip
    if todo and len(todo) < len(files):
        say(f"  {len(files) - len(todo)} files were done before; {len(todo)} follow")
    people = _people(files, treatment, processes) if todo else []
    given = [Given(name, number, path, people[number - 1]) for number, name, path in todo]
    return names, [Part(tuple(given[at:at + _FILES])) for at in range(0, len(given), _FILES)]


def files_in(source: Path, treatment: Treatment) -> dict[str, Path]:
    """Every file below a folder, by its name in the journal, in the order of their paths."""
    inside = source.resolve()
    files = sorted(path for path in inside.rglob("*") if path.is_file() and not path.is_symlink())
    return {_name_of(treatment, inside, path): path for path in files}


@dataclass(frozen=True)
class Folder:
    """An output folder."""

    root: Path

    def sweep(self) -> None:
        """Remove what a killed run left half written: hidden files beside their names."""
        for left in self.root.rglob(".*.dcm.*"):
            left.unlink()

    def holds(self, line: Line) -> bool:
        """Whether a file needs no second try: it is there, or could not leave."""
        return not line.output or (self.root / line.output).is_file()

    def kept(self, made: Iterable[Made]) -> list[Line]:
        """Write what may leave; files and the folders that name them are on the disk when this returns."""
        lines = [self._written(one) if one.file else one.line for one in made]
        for folder in {(self.root / line.output).parent for line in lines if line.output}:
            sync_folder(folder)
        return lines

    def _written(self, made: Made) -> Line:
        """Write a file by its new UID; the same content again is the same file, other content is refused."""
        path = self.root / made.line.output
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with aside.open("wb") as file:
            file.write(made.file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            if path.read_bytes() != made.file:
                reason = "another object with the same SOP Instance UID was there before"
                return replace(made.line, output="", reason=reason)
        finally:
            aside.unlink()
        return made.line


def _name_of(treatment: Treatment, source: Path, path: Path) -> str:
    """Keyed digest of where a file is, how large and how old: a file that changed is another."""
    state = path.stat()
    told = f"{path.relative_to(source)}\x1f{state.st_size}\x1f{state.st_mtime_ns}"
    return hmac.new(treatment.key, told.encode("utf8", "surrogateescape"), "sha256").hexdigest()[:32]


def _people(files: Sequence[Path], treatment: Treatment, processes: int | None) -> list[frozenset[str]]:
    """Return for each file what identifies anywhere in its study: a name that only one object knows stands in all."""
    chunks = [files[at:at + _HEADERS] for at in range(0, len(files), _HEADERS)]
    found = [one for chunk in each(partial(_known, treatment.profile), chunks, processes=processes) for one in chunk]
    by_study: dict[str, set[str]] = defaultdict(set)
    for study, _, values in found:
        by_study[study] |= values
    shared = {study: frozenset(values) for study, values in by_study.items()}
    return [shared[study] for study, _, _ in found]


def _known(profile: Profile, paths: Sequence[Path]) -> list[tuple[str, str, frozenset[str]]]:
    return [known_of(profile, path) for path in paths]


def check_report(target: Path) -> dict[str, Any]:
    """Return the report of a folder that was de-identified.

    Raises
    ------
    DatasetError
        There is none.
    """
    try:
        return json.loads((target / REPORT).read_bytes())
    except (OSError, ValueError):
        msg = "no de-identified folder is there; run: ailab deidentify IN OUT --key-file KEY"
        raise DatasetError(msg) from None
