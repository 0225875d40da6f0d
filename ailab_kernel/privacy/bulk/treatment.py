"""One file of many: how it is treated, what is proven of it, and the line that says what became of it."""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from pydicom import dcmread

from ailab_kernel.dicom.parsing import guarded, is_dicom
from ailab_kernel.ground.errors import DicomError, NotDeidentified
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.privacy.pixels.pictures import Reader
from ailab_kernel.privacy.pixels.redact import Pixels, Redactor
from ailab_kernel.privacy.pixels.sheet import Entry, contact_sheet
from ailab_kernel.privacy.rules.profile import Profile
from ailab_kernel.privacy.rules.standins import StandIns, keyed
from ailab_kernel.privacy.scrub import Scrubber
from ailab_kernel.privacy.treating import identifying
from ailab_kernel.privacy.verify import prove

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
    """

    profile: Profile
    key: bytes = field(repr=False)
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
    scrubber = _scrubber(treatment)
    try:
        if not given.is_dicom:
            return _refused(treatment, given, "no DICOM file")
        done, file, proof = prove(scrubber, given.read(), also=given.also)
    except (DicomError, NotDeidentified) as error:
        return _refused(treatment, given, str(error))
    except OSError as error:
        return _refused(treatment, given, f"it cannot be read ({error.strerror})")
    seen = done.redaction if done.redaction and (done.redaction.looked or done.redaction.held) else None
    uid = str(done.dataset.file_meta.MediaStorageSOPInstanceUID)
    if seen and treatment.sheets:
        number = f"{given.study:06d}-{given.number:06d}" if given.study else f"{given.number:06d}"
        atomic_write(treatment.sheets / f"{number}.html", contact_sheet([Entry(uid, seen)]).encode())
    if seen and seen.held:
        return _refused(treatment, given, f"held for a person to look at: {seen.held}", pixels=seen.summary)
    if not proof.clean:
        return _refused(treatment, given, f"a value of the original was met again in {', '.join(proof.found)}")
    ds = done.dataset
    output = Path(*(str(ds.get(one) or "none") for one in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")))
    texts = tuple(dict.fromkeys(text for _, text in done.texts if text))
    line = Line(given.name, given.number, str(output / f"{uid}.dcm"), proof.output, counts=dict(done.counts),
                searched=proof.searched, texts=texts, pixels=seen.summary if seen else None, study=given.study,
                instance=uid)  # fmt: skip
    return Made(line, file)


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
