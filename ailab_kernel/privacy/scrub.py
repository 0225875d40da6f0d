"""One object without its patient: every attribute of every depth treated as the profile says."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import NotDeidentified

from .elements import file_of, read
from .elements.raw import text_at
from .pixels.pictures.masking import say_cleaned, say_masked
from .pixels.redact import NOBODY, Redaction, Redactor
from .rules.profile import Profile
from .rules.standins import StandIns
from .treating import Work, cleaner_of, identifying, mark

_PATIENT_ID, _STUDY_UID, _DOCUMENT, _MEDIA_CLASS = 0x00100020, 0x0020000D, 0x00420011, 0x00020002


@dataclass(frozen=True)
class Scrubbed:
    """What became of an object.

    Attributes
    ----------
    dataset
        Without its patient; PatientIdentityRemoved (0012,0062) is YES.
    counts
        How many attributes were treated how, by the letter of the action.
    texts
        Free texts as they are now, by keyword: for a person to review.
    identifiers
        What the cleaned texts were searched for. These identify: they stay on the clinical side.
    days
        By how many days dates were moved. This identifies too.
    redaction
        What became of text in its pixels; what was read there identifies.
    """

    dataset: Dataset
    counts: Mapping[str, int]
    texts: tuple[tuple[str, str], ...]
    identifiers: frozenset[str] = field(repr=False)
    days: int = field(default=0, repr=False)
    redaction: Redaction | None = field(default=None, repr=False)

    def file(self) -> bytes:
        """The object as a PS3.10 file."""
        return file_of(self.dataset)


@dataclass(frozen=True)
class Scrubber:
    """Takes the patient out of objects, one by one.

    Attributes
    ----------
    profile
        What is done.
    stand_ins
        The lab's stand-ins for patients, UIDs and dates.
    documents
        Whether objects that hold a document (PDF, CDA, a model) may pass, the document unread.
    pixels
        Who takes text out of pixels; by default nobody does.
    """

    profile: Profile
    stand_ins: StandIns
    documents: bool = False
    pixels: Redactor = NOBODY

    def scrub(self, source: str | Path | bytes, *, also: Iterable[str] = ()) -> Scrubbed:
        """Return an object without its patient.

        Parameters
        ----------
        source
            A PS3.10 file: its path or bytes.
        also
            Values from other objects of the study that texts are searched for.

        Raises
        ------
        DicomError
            Malformed.
        NotDeidentified
            It holds a document, which nobody can clean.
        """
        with guarded("data set"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = source if isinstance(source, bytes) else Path(source).read_bytes()
            ds = read(file)
            return self.scrub_dataset(ds, also=also)

    def scrub_dataset(self, ds: Dataset, *, also: Iterable[str] = ()) -> Scrubbed:
        """Return ``ds`` itself, changed; see :meth:`scrub`."""
        if text_at(ds.file_meta, _MEDIA_CLASS) == MediaStorageDirectoryStorage:
            msg = "this is the directory of a medium, not an object of a study; leave it out, and make a new one"
            raise NotDeidentified(msg)
        if _DOCUMENT in ds and not self.documents:
            msg = (f"instance {ds.get('SOPInstanceUID', '')} holds a document, whose text nobody cleaned; "
                   "leave it out, or allow documents after reading it")  # fmt: skip
            raise NotDeidentified(msg)
        patient = text_at(ds, _PATIENT_ID) or text_at(ds, _STUDY_UID)
        values = frozenset(identifying(ds, self.profile)) | frozenset(also)
        redaction = self.pixels.redact(ds, identifiers=values)     # its rules read what the profile takes out
        work = Work(self.profile, self.stand_ins, cleaner_of(values), patient)
        work.treat(ds)
        mark(ds, self.profile, work)
        if redaction.looked:
            say_cleaned(ds)
        if redaction.boxes:
            say_masked(ds)                     # some profiles took it out
        return Scrubbed(ds, dict(work.counts), tuple(work.texts), work.cleaner.identifiers,
                        self.stand_ins.days(patient) if self.profile.moves_dates else 0, redaction)  # fmt: skip
