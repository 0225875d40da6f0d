"""A folder of DICOM files, whole: in parallel, resumable, every output searched before it is kept.

Output files lie below ``patient/study/series`` by their new UIDs. A journal in the output folder says what is done; it
holds keyed digests and no name. What cannot be de-identified stays where it is and is told by its number, because file
names may be patients'.
"""

import hmac
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydicom import dcmread

from ailab_kernel.dicom.parsing import guarded, is_dicom
from ailab_kernel.ground.errors import DatasetError, DicomError, NotDeidentified, SettingsError, WrongUse
from ailab_kernel.ground.progress import say, track
from ailab_kernel.ground.store import atomic_write, sync_folder
from ailab_kernel.work.processes import each

from .pixels.reader import Reader
from .pixels.redact import Pixels, Redactor
from .pixels.sheet import Entry, contact_sheet
from .rules.profile import Profile
from .rules.standins import StandIns, keyed
from .scrub import Scrubber, identifying
from .verify import prove

JOURNAL, REPORT = "deidentified.jsonl", "deidentified.json"
_BATCH = 64
_SAMPLE = 200


@dataclass(frozen=True)
class Treatment:
    """How a folder is treated; it travels to worker processes.

    Attributes
    ----------
    key
        The secret of the stand-ins.
    pixels, keep_technical, hold
        How text in pixels is treated (`pixels.redact.Redactor`).
    sheets
        Folder for a page of each object whose pixels were read or filled, for a person to review. It shows patients:
        it must not lie in the output folder.
    """

    profile: Profile
    key: bytes
    documents: bool = False
    pixels: Pixels = Pixels.DETECT
    keep_technical: bool = False
    hold: bool = False
    sheets: Path | None = None

    @property
    def fingerprint(self) -> str:
        """What tells this treatment from another, and tells nothing of the key."""
        told = json.dumps([*self.profile.options, self.documents, self.pixels, self.keep_technical, self.hold])
        return keyed(self.key)("treatment", told)


@dataclass(frozen=True)
class Line:
    """What became of one file: a line of the journal.

    Attributes
    ----------
    file
        Keyed digest of the file's path in the input folder.
    number
        Its place among the input's files, from 1.
    output
        Path in the output folder; empty where it was refused.
    reason
        Why it was refused.
    counts
        Attributes by the letter of what was done.
    searched
        How many values of the original were searched in the output.
    texts
        Cleaned texts.
    pixels
        What was done about text in its pixels; nothing where the rules cleared it.
    """

    file: str
    number: int
    output: str = ""
    sha256: str = ""
    reason: str = ""
    counts: dict[str, int] | None = None
    searched: int = 0
    texts: tuple[str, ...] = ()
    pixels: dict[str, int | str] | None = None


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
    files = _files(source, target)
    _check_sheets(treatment.sheets, target)
    done = _journal(target, treatment)
    names = [_name_of(treatment, source, path) for path in files]
    told = {line.file: line for line in done if not line.output or (target / line.output).is_file()}
    todo = [(number, path, name) for number, (path, name) in enumerate(zip(files, names, strict=True), 1)
            if name not in told]  # fmt: skip
    if told and todo:
        say(f"  {len(told)} files were done before; {len(todo)} follow")
    people = _people(files, treatment, processes) if todo else {}
    work = [(number, path, name, people.get(number, frozenset())) for number, path, name in todo]
    lines = each(partial(_one, treatment, target), work, processes=processes)
    with (target / JOURNAL).open("a", encoding="utf8") as journal:
        for batch in _batches(track(lines, what="files de-identified", total=len(work))):
            _keep(target, journal, batch)
            told |= {line.file: line for line in batch}
    return _report(target, treatment, [told[name] for name in names])


def _files(source: Path, target: Path) -> list[Path]:
    inside, outside = source.resolve(), target.resolve()
    if not inside.is_dir():
        msg = "the input is no folder; give the folder that holds the DICOM files"
        raise WrongUse(msg)
    if inside == outside or inside in outside.parents or outside in inside.parents:
        msg = "input and output lie in each other; give an output folder elsewhere"
        raise WrongUse(msg)
    if outside.is_dir() and any(outside.iterdir()) and not (outside / JOURNAL).is_file():
        msg = "the output folder holds something else; give a new one"
        raise WrongUse(msg)
    outside.mkdir(parents=True, exist_ok=True)
    return sorted(path for path in inside.rglob("*") if path.is_file() and not path.is_symlink())


def _check_sheets(sheets: Path | None, target: Path) -> None:
    if sheets is None:
        return
    inside, outside = sheets.resolve(), target.resolve()
    if inside == outside or outside in inside.parents:
        msg = "the sheets show patients: give them a folder that is not in the output"
        raise WrongUse(msg)
    inside.mkdir(mode=0o700, parents=True, exist_ok=True)


def _journal(target: Path, treatment: Treatment) -> list[Line]:
    """Return what an earlier run did; a line that was cut off by a crash was not done."""
    path = target / JOURNAL
    if not path.is_file():
        atomic_write(path, json.dumps({"treatment": treatment.fingerprint}).encode() + b"\n")
        return []
    whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    if json.loads(whole[0])["treatment"] != treatment.fingerprint:
        msg = "the output folder was begun with another key or profile; go on with that one, or give a new folder"
        raise SettingsError(msg)
    path.write_bytes(b"".join(whole))
    return [Line(**one | {"texts": tuple(one["texts"])}) for one in map(json.loads, whole[1:])]


def _name_of(treatment: Treatment, source: Path, path: Path) -> str:
    """Keyed digest of where a file is, how large and how old: a file that changed is another."""
    state = path.stat()
    told = f"{path.relative_to(source.resolve())}\x1f{state.st_size}\x1f{state.st_mtime_ns}"
    return hmac.new(treatment.key, told.encode("utf8", "surrogateescape"), "sha256").hexdigest()[:32]


def _people(files: Sequence[Path], treatment: Treatment, processes: int | None) -> dict[int, frozenset[str]]:
    """Return by file number what identifies anywhere in its study: a name that only one object knows stands in all."""
    chunks = [files[at:at + _BATCH] for at in range(0, len(files), _BATCH)]
    found = [one for chunk in each(partial(_known, treatment.profile), chunks, processes=processes) for one in chunk]
    by_study: dict[str, set[str]] = defaultdict(set)
    for study, values in found:
        by_study[study] |= values
    shared = {study: frozenset(values) for study, values in by_study.items()}
    return {number: shared[study] for number, (study, _) in enumerate(found, 1)}


def _known(profile: Profile, paths: Sequence[Path]) -> list[tuple[str, frozenset[str]]]:
    return [_known_of(profile, path) for path in paths]


def _known_of(profile: Profile, path: Path) -> tuple[str, frozenset[str]]:
    try:
        with guarded("header"):
            ds = dcmread(path, stop_before_pixels=True)
            return str(ds.get("StudyInstanceUID", "")), frozenset(identifying(ds, profile))
    except DicomError:
        return "", frozenset()


def _one(treatment: Treatment, target: Path, work: tuple[int, Path, str, frozenset[str]]) -> Line:
    """De-identify one file, search it, and write it."""
    number, path, name, also = work
    try:
        if not is_dicom(path):
            return Line(name, number, reason="no DICOM file")
        done, file, proof = prove(_scrubber(treatment), path.read_bytes(), also=also)
    except (DicomError, NotDeidentified) as error:
        return Line(name, number, reason=str(error))
    except OSError as error:
        return Line(name, number, reason=f"it cannot be read ({error.strerror})")
    seen = done.redaction if done.redaction and (done.redaction.looked or done.redaction.held) else None
    if seen and treatment.sheets:
        page = contact_sheet([Entry(str(done.dataset.file_meta.MediaStorageSOPInstanceUID), seen)])
        atomic_write(treatment.sheets / f"{number:06d}.html", page.encode())
    if seen and seen.held:
        return Line(name, number, reason=f"held for a person to look at: {seen.held}", pixels=seen.summary)
    if not proof.clean:
        return Line(name, number, reason=f"a value of the original was met again in {', '.join(proof.found)}")
    ds = done.dataset
    output = Path(*(str(ds.get(one) or "none") for one in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")))
    output /= f"{ds.file_meta.MediaStorageSOPInstanceUID}.dcm"
    reason = _write(target / output, file)
    if reason:
        return Line(name, number, reason=reason)
    texts = tuple(dict.fromkeys(text for _, text in done.texts if text))
    return Line(name, number, str(output), proof.output, counts=dict(done.counts), searched=proof.searched,
                texts=texts, pixels=seen.summary if seen else None)  # fmt: skip


@lru_cache(maxsize=1)
def _scrubber(treatment: Treatment) -> Scrubber:
    """One for all files of a process: it remembers stand-ins."""
    redactor = Redactor(treatment.pixels, keep_technical=treatment.keep_technical, hold=treatment.hold,
                        pictures=treatment.sheets is not None, reader=Reader(threads=1))  # fmt: skip
    return Scrubber(treatment.profile, StandIns(keyed(treatment.key)), documents=treatment.documents, pixels=redactor)


def _write(path: Path, file: bytes) -> str:
    """Write a file by its new UID; the same content again is the same file, other content is refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(file)
    try:
        os.link(aside, path)
    except FileExistsError:
        return "" if path.read_bytes() == file else "another object with the same SOP Instance UID was there before"
    finally:
        aside.unlink()
    return ""


def _batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    rest = iter(lines)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _keep(target: Path, journal: Any, batch: Sequence[Line]) -> None:
    """Make a batch durable, and only then say that it is done."""
    folders = set()
    for line in batch:
        if line.output:
            with (target / line.output).open("rb") as file:
                os.fsync(file.fileno())
            folders.add((target / line.output).parent)
    for folder in folders:
        sync_folder(folder)
    journal.write("".join(json.dumps(asdict(line)) + "\n" for line in batch))
    journal.flush()
    os.fsync(journal.fileno())


def _report(target: Path, treatment: Treatment, lines: Sequence[Line]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line.counts or {})
    texts = sorted({text for line in lines for text in line.texts}, key=partial(keyed(treatment.key), "sample"))
    report = {
        "files": len(lines), "written": len({line.output for line in lines if line.output}),
        "refused": [{"number": line.number, "reason": line.reason} for line in lines if line.reason],
        "options": list(treatment.profile.options), "counts": dict(sorted(counts.items())),
        "pixels": {"read": sum(bool(line.pixels) for line in lines),
                   "masked": sum(bool(line.pixels and line.pixels["frames_masked"]) for line in lines)},
        "values_searched": sum(line.searched for line in lines), "values_met": 0, "texts_to_review": texts[:_SAMPLE],
    }  # fmt: skip
    atomic_write(target / REPORT, json.dumps(report, indent=1, ensure_ascii=False).encode() + b"\n")
    return report


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
