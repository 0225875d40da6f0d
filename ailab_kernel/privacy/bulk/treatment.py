"""One file of many: how it is treated, what is proven of it, and the line that says what became of it."""

import json
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from pydicom import dcmread

from ailab_kernel.dicom.parsing import guarded, is_dicom
from ailab_kernel.ground.errors import DicomError, NotDeidentified
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.privacy.pixels.pictures import Reader
from ailab_kernel.privacy.pixels.redact import Pixels, Redaction, Redactor
from ailab_kernel.privacy.pixels.sheet import Entry, contact_sheet
from ailab_kernel.privacy.review import Proposal, Taken, boxes_of, doubts, taken_of
from ailab_kernel.privacy.review.proposal import joined, proposed
from ailab_kernel.privacy.rules.profile import Profile
from ailab_kernel.privacy.rules.standins import StandIns, keyed
from ailab_kernel.privacy.scrub import Scrubbed, Scrubber
from ailab_kernel.privacy.treating import identifying
from ailab_kernel.privacy.verify import prove

WAITS = "waits for a person to look at its pixels"
_MET = "an identifier is still read in its pixels where the person left it; a person is to look again"
_PIXELS = ("7FE00010",)
_MAGIC = slice(128, 132)                       # where a PS3.10 file says DICM (7.1)


@dataclass(frozen=True)
class Treatment:
    """How objects are treated; it travels to worker processes.

    Attributes
    ----------
    key
        The secret of the stand-ins.
    pixels, keep_technical, hold
        How text in pixels is treated (`pixels.redact.Redactor`).
    sheets
        Folder for a page of each object whose pixels were read or filled, for a person to review. It shows patients:
        it must not lie in the output folder.
    review
        Folder of the review, beside the journal: objects that the engine masked or doubts are not released until a
        person decided (`privacy.review`); None: nobody is asked.
    """

    profile: Profile
    key: bytes = field(repr=False)
    documents: bool = False
    pixels: Pixels = Pixels.DETECT
    keep_technical: bool = False
    hold: bool = False
    sheets: Path | None = None
    review: Path | None = None

    @property
    def fingerprint(self) -> str:
        """What tells this treatment from another, and tells nothing of the key."""
        reviewed = ["review"] if self.review else []
        told = [*self.profile.options, self.documents, self.pixels, self.keep_technical, self.hold, *reviewed]
        return keyed(self.key)("treatment", json.dumps(told))

    def decided(self, name: str) -> Taken | None:
        """What a person decided on an object, once a run was told to release it."""
        return taken_of(self.review).get(name) if self.review else None

    def due(self, line: "Line") -> bool:
        """Whether a file that waited is to be treated now."""
        taken = self.decided(line.file) if line.waits else None
        return taken is not None and taken.number != line.decision


@dataclass(frozen=True)
class Line:
    """What became of one file: a line of the journal.

    Attributes
    ----------
    file
        Keyed digest of the file's place in the input.
    number
        Its place among the input's files, from 1; in an archive among those of its study.
    output
        Path in the output folder, or what it would be in one; empty where it was not kept.
    sha256
        Of the de-identified file; with no ``output`` it was proven, and then not taken.
    reason
        Why it was not kept.
    counts
        Attributes by the letter of what was done.
    searched
        How many values of the original were searched in the output.
    texts
        Cleaned texts.
    pixels
        What was done about text in its pixels; nothing where the rules cleared it.
    study
        Place of its study among an archive's, by UID, from 1; 0 in a folder.
    instance
        Stand-in of the SOP Instance UID of what was not kept, where it has one: who holds the key finds the object.
    waits
        Whether it is not kept because a person is to look at it.
    decision
        Line of the review's journal by which it was treated; 0: nobody was asked.
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
    study: int = 0
    instance: str = ""
    waits: bool = False
    decision: int = 0


@dataclass(frozen=True)
class Given:
    """One file on its way in.

    Attributes
    ----------
    name, number, study
        See `Line`.
    file
        PS3.10 file: its bytes, or where it is.
    also
        What identifies anywhere in its study.
    """

    name: str
    number: int
    file: bytes | Path
    also: frozenset[str]
    study: int = 0

    @property
    def is_dicom(self) -> bool:
        """Whether it says so where a PS3.10 file does."""
        return self.file[_MAGIC] == b"DICM" if isinstance(self.file, bytes) else is_dicom(self.file)

    def read(self) -> bytes:
        """The file's bytes."""
        return self.file if isinstance(self.file, bytes) else self.file.read_bytes()


@dataclass(frozen=True)
class Made:
    """One file on its way out: its line, and its bytes where it may leave."""

    line: Line
    file: bytes = field(default=b"", repr=False)


def known_of(profile: Profile, file: bytes | Path) -> tuple[str, str, frozenset[str]]:
    """Return an object's Study and SOP Instance UID and what identifies in it; nothing of what cannot be read."""
    try:
        with guarded("header"):
            ds = dcmread(BytesIO(file) if isinstance(file, bytes) else file, stop_before_pixels=True)
            uids = (str(ds.get(keyword, "")) for keyword in ("StudyInstanceUID", "SOPInstanceUID"))
            return *uids, frozenset(identifying(ds, profile))  # type: ignore[return-value]
    except DicomError:
        return "", "", frozenset()


def treated(treatment: Treatment, given: Given) -> Made:
    """De-identify one file and search it; what cannot leave comes back without bytes, its line with the reason."""
    taken = treatment.decided(given.name)
    waiting = Proposal.read(treatment.review, given.name) if treatment.review and not taken else None
    if waiting:
        return _waiting(waiting, WAITS)
    scrubber = _scrubber(treatment)
    if taken:
        scrubber = replace(scrubber, pixels=replace(scrubber.pixels, exactly=boxes_of(taken.places)))
    try:
        if not given.is_dicom:
            return _refused(treatment, given, "no DICOM file")
        done, file, proof = prove(scrubber, given.read(), also=given.also)
    except (DicomError, NotDeidentified) as error:
        return _refused(treatment, given, str(error))
    except OSError as error:
        return _refused(treatment, given, f"it cannot be read ({error.strerror})")
    seen = done.redaction if done.redaction and (done.redaction.looked or done.redaction.held) else None
    if seen and treatment.sheets:
        _sheet(treatment.sheets, given, Entry(_uid(done), seen))
    if treatment.review and (held := _review(treatment.review, given, scrubber, done=done, found=proof.found)):
        return held
    if seen and seen.held:
        return _refused(treatment, given, f"held for a person to look at: {seen.held}", pixels=seen.summary)
    if not proof.clean:
        return _refused(treatment, given, f"a value of the original was met again in {', '.join(proof.found)}")
    texts = tuple(dict.fromkeys(text for _, text in done.texts if text))
    line = Line(given.name, given.number, _place(done), proof.output, counts=dict(done.counts),
                searched=proof.searched, texts=texts, pixels=seen.summary if seen else None, study=given.study,
                instance=_uid(done), decision=taken.number if taken else 0)  # fmt: skip
    return Made(line, file)


def _review(
    folder: Path, given: Given, scrubber: Scrubber, *, done: Scrubbed, found: tuple[str, ...]
) -> Made | None:
    """Keep what a person is to look at, now or again; None where nobody needs to."""
    made, taken = done.redaction, taken_of(folder).get(given.name)
    if made is None:
        return None
    if taken and found == _PIXELS:
        met = scrubber.pixels.again(done.dataset, {*done.identifiers, *given.also})
        before = Proposal.read(folder, given.name) or _proposed(given, done, made)
        before = replace(before, met=joined((one.frame, one.text.box) for one in met))
        before.keep(folder)
        return _waiting(before, _MET, decision=taken.number)
    if taken or not doubts(made):
        return None
    proposal = _proposed(given, done, made)
    proposal.keep(folder)
    return _waiting(proposal, WAITS)


def _proposed(given: Given, done: Scrubbed, made: Redaction) -> Proposal:
    return proposed(done.dataset, made, name=given.name, number=given.number, study=given.study, instance=_uid(done))


def _waiting(proposal: Proposal, reason: str, *, decision: int = 0) -> Made:
    return Made(Line(proposal.name, proposal.number, reason=reason, pixels=proposal.summary, study=proposal.study,
                     instance=proposal.instance, waits=True, decision=decision))  # fmt: skip


def _sheet(folder: Path, given: Given, entry: Entry) -> None:
    number = f"{given.study:06d}-{given.number:06d}" if given.study else f"{given.number:06d}"
    atomic_write(folder / f"{number}.html", contact_sheet([entry]).encode())


def _uid(done: Scrubbed) -> str:
    return str(done.dataset.file_meta.MediaStorageSOPInstanceUID)


def _place(done: Scrubbed) -> str:
    named = (str(done.dataset.get(one) or "none") for one in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"))
    return str(Path(*named) / f"{_uid(done)}.dcm")


def _refused(treatment: Treatment, given: Given, reason: str, *, pixels: dict[str, int | str] | None = None) -> Made:
    _, uid, _ = known_of(treatment.profile, given.file)
    stays = not uid or "uids" in treatment.profile.options
    instance = uid if stays else _scrubber(treatment).stand_ins.uid(uid)
    reason = reason.replace(uid, instance) if uid else reason      # what is reported leaves beside the output
    return Made(Line(given.name, given.number, reason=reason, pixels=pixels, study=given.study, instance=instance))


@lru_cache(maxsize=1)
def _scrubber(treatment: Treatment) -> Scrubber:
    """One for all files of a process: it remembers stand-ins."""
    redactor = Redactor(treatment.pixels, keep_technical=treatment.keep_technical, hold=treatment.hold,
                        pictures=treatment.sheets is not None, reader=Reader(threads=1))  # fmt: skip
    return Scrubber(treatment.profile, StandIns(keyed(treatment.key)), documents=treatment.documents, pixels=redactor)
