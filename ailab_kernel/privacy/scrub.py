"""One object without its patient: every attribute of every depth treated as the profile says.

Attributes that stay are not decoded: they travel as the bytes they were, pixels included.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pydicom import DataElement, Dataset, Sequence
from pydicom.datadict import keyword_for_tag
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_sequence
from pydicom.uid import MediaStorageDirectoryStorage

from ailab_kernel import __version__
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import DicomError, NotDeidentified

from .pixels.masking import say_cleaned, say_masked
from .pixels.redact import NOBODY, Redaction, Redactor
from .raw import (
    Element,
    add_bytes,
    add_text,
    bytes_of,
    elements_of,
    new_head,
    put_texts,
    remove,
    text_at,
    texts_of,
    vr_of,
)
from .reading import read
from .rules.private import is_safe
from .rules.profile import Action, Profile
from .rules.standins import StandIns, moved
from .rules.text import MARK, Cleaner
from .rules.values import DUMMIES, REMOVED, TEXTS, known_age
from .writing import file_of

_PATIENT_NAME, _PATIENT_ID, _STUDY_UID, _DOCUMENT = 0x00100010, 0x00100020, 0x0020000D, 0x00420011
_CLASS, _INSTANCE, _METHOD_CODES = 0x00080016, 0x00080018, 0x00120064
_MEDIA_CLASS, _MEDIA_INSTANCE, _SYNTAX = 0x00020002, 0x00020003, 0x00020010
_EMPTIED, _LOOKED_AT = TEXTS | {"DA", "DT", "TM"}, TEXTS | {"AS", "SQ"}
# Terms by which programs read an object: a Study ID of "100" is not to be cut out of ISO_IR 100.
_TERMS = frozenset({0x00080005, 0x00080060, 0x00280004, 0x0040A010, 0x0040A040, 0x0040A050, 0x00700023, 0x00620001})
# Attributes whose values are looked for in every text that stays, at any depth, beside all names of people.
IDENTIFYING = (
    "PatientID", "OtherPatientIDs", "PatientBirthDate", "PatientBirthName", "PatientMotherBirthName", "PatientAddress",
    "PatientTelephoneNumbers", "MilitaryRank", "AccessionNumber", "StudyID", "AdmissionID", "MedicalRecordLocator",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "ReferringPhysicianAddress",
    "ReferringPhysicianTelephoneNumbers", "RequestedProcedureID", "ScheduledProcedureStepID",
    "FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest", "StationName",
    "DeviceSerialNumber", "ServiceEpisodeID", "PatientInsurancePlanCodeSequence", "ResponsibleOrganization",
)  # fmt: skip


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
        work = _Work(self.profile, self.stand_ins, cleaner_of(values), patient)
        work.treat(ds)
        _mark(ds, self.profile, work)
        if redaction.looked:
            say_cleaned(ds)
        if redaction.boxes:
            say_masked(ds)                     # some profiles took it out
        return Scrubbed(ds, dict(work.counts), tuple(work.texts), work.cleaner.identifiers,
                        self.stand_ins.days(patient) if self.profile.moves_dates else 0, redaction)  # fmt: skip


def identifying(ds: Dataset, profile: Profile) -> Iterator[str]:
    """Yield the values of an object that identify and that the profile takes out, at any depth."""
    named, actions = _identifying_tags(), _actions(profile)
    for element in elements_of(ds):
        vr, tag = vr_of(ds, element), int(element.tag)
        if vr == "SQ":
            for item in ds[tag].value or ():
                yield from identifying(item, profile)
        elif (vr == "PN" or tag in named) and actions[tag, vr] is not Action.KEEP:
            yield from texts_of(ds, element, vr)


@lru_cache(maxsize=64)
def cleaner_of(values: frozenset[str]) -> Cleaner:
    """Return the cleaner for a set of identifying values; slices of a series share it."""
    return Cleaner.of(values)


@dataclass
class _Work:
    """One object being treated."""

    profile: Profile
    stand_ins: StandIns
    cleaner: Cleaner
    patient: str
    counts: Counter[str] = field(default_factory=Counter)
    texts: list[tuple[str, str]] = field(default_factory=list)

    def treat(self, ds: Dataset, *, dummied: bool = False) -> None:
        """Treat every attribute of a data set; with ``dummied`` no text of it stays."""
        self._private(ds)
        planned = self._planned(ds, dummied=dummied)
        self.counts.update(action for _, _, action in planned)
        quiet = self._quiet(planned)
        for held, vr, action in planned:
            if action is Action.KEEP and (vr not in _LOOKED_AT or (quiet and _is_text(held, vr))):
                continue
            element = held if vr == held.VR else ds.get_item(held.tag)     # looking may have decoded it
            _DOES[action](self, ds, element, vr)
            if vr == "SQ" and held.tag in ds:
                for item in ds[held.tag].value or ():
                    self.treat(item, dummied=dummied or action is Action.DUMMY)

    def _planned(self, ds: Dataset, *, dummied: bool) -> list[tuple[Element, str, Action]]:
        """Every element with its VR and what is to be done; group lengths go, they say nothing."""
        planned, actions = [], _actions(self.profile)
        for held in elements_of(ds):
            if not held.tag & 0xFFFF:
                remove(ds, held)
                continue
            vr = vr_of(ds, held)
            action = actions[int(held.tag), vr]
            if dummied and action in {Action.KEEP, Action.CLEAN} and vr in TEXTS - {"CS"}:
                action = Action.DUMMY
            planned.append((held, vr, action))
        return planned

    def _quiet(self, planned: Iterable[tuple[Element, str, Action]]) -> bool:
        """Whether no text that stays, of those that nobody decoded, holds an identifier; one look for all of them."""
        texts = [held.value or b"" for held, vr, action in planned if action is Action.KEEP and _is_text(held, vr)]
        return not self.cleaner.meets(b"\n".join(texts))

    def _private(self, ds: Dataset) -> None:
        mine = [element for element in elements_of(ds) if element.tag >> 16 & 1]
        if not mine:
            return
        kept = self._safe(ds, mine) if "safe-private" in self.profile.options else frozenset()
        for element in mine:
            if int(element.tag) not in kept:
                remove(ds, element)
                self.counts[Action.REMOVE] += 1

    def _safe(self, ds: Dataset, mine: Iterable[Element]) -> frozenset[int]:
        """Private attributes that are known to be safe, and the creators of their blocks."""
        creators = {int(one.tag): str(ds[one.tag].value) for one in mine if 0x10 <= one.tag & 0xFFFF <= 0xFF}
        safe = {tag: _creator(tag) for tag in (int(one.tag) for one in mine) if tag not in creators and is_safe(
            tag >> 16, creators.get(_creator(tag), ""), tag & 0xFFFF)}  # fmt: skip
        return frozenset((*safe, *safe.values()))

    def keep(self, ds: Dataset, element: Element, vr: str) -> None:
        """Leave the value; texts lose the study's own identifiers, ages are capped."""
        if vr == "AS":
            self._each(ds, element, vr, known_age)
        elif vr in TEXTS and int(element.tag) not in _TERMS and self.cleaner.meets(bytes_of(ds, element)):
            self._each(ds, element, vr, self.cleaner.known if vr not in {"CS", "UR"} else self._coded)

    def remove(self, ds: Dataset, element: Element, _vr: str) -> None:
        """Take the attribute out."""
        remove(ds, element)

    def empty(self, ds: Dataset, element: Element, vr: str) -> None:
        """Leave the attribute without a value."""
        if vr in _EMPTIED:
            put_texts(ds, element, (), vr=vr)
        else:
            ds[element.tag] = DataElement(element.tag, vr, Sequence() if vr == "SQ" else None)

    def dummy(self, ds: Dataset, element: Element, vr: str) -> None:
        """Put something in its place; a sequence keeps its items, whose texts go."""
        if vr == "SQ" or not bytes_of(ds, element):
            return
        value = DUMMIES.get(vr, REMOVED)
        if vr == "UI":
            self.uid(ds, element, vr)
        elif isinstance(value, str):
            known = int(element.tag) in {_PATIENT_ID, _PATIENT_NAME}
            put_texts(ds, element, [self._pseudonym(ds, element, vr) if known else value], vr=vr)
        else:
            ds[element.tag] = DataElement(element.tag, vr, value)

    def uid(self, ds: Dataset, element: Element, vr: str) -> None:
        """Put the UID's stand-in in its place."""
        if vr == "UI":
            self._each(ds, element, vr, self.stand_ins.uid)
        elif bytes_of(ds, element):
            ds[element.tag] = DataElement(element.tag, vr, DUMMIES.get(vr))

    def clean(self, ds: Dataset, element: Element, vr: str) -> None:
        """Move dates, clean texts; what is neither goes, but for a sequence, whose items are treated."""
        if vr in {"DA", "DT"}:
            self._move(ds, element, vr)
        elif vr == "CS":
            self.keep(ds, element, vr)
        elif vr in TEXTS and bytes_of(ds, element):
            self._each(ds, element, vr, self.cleaner.clean)
            now = ds.get_item(element.tag)
            self.texts.append((keyword_for_tag(element.tag), "\\".join(texts_of(ds, now, vr))))
        elif vr not in {"SQ", "TM"} and vr not in TEXTS:
            remove(ds, element)

    def _pseudonym(self, ds: Dataset, element: Element, vr: str) -> str:
        known = "\\".join(texts_of(ds, element, vr)) if int(element.tag) == _PATIENT_ID else self.patient
        return self.stand_ins.patient(known or self.patient)

    def _coded(self, text: str) -> str:
        """Coded strings allow no brackets."""
        return self.cleaner.known(text).replace(MARK, REMOVED)

    def _move(self, ds: Dataset, element: Element, vr: str) -> None:
        days = self.stand_ins.days(self.patient)
        self._each(ds, element, vr, lambda text: moved(text, days) or "")

    def _each(self, ds: Dataset, element: Element, vr: str, change: Callable[[str], str]) -> None:
        before = texts_of(ds, element, vr)
        after = [change(one) for one in before]
        if after != before:
            put_texts(ds, ds.get_item(element.tag), after, vr=vr)


_DOES: Mapping[Action, Callable[[_Work, Dataset, Element, str], None]] = {
    Action.KEEP: _Work.keep, Action.REMOVE: _Work.remove, Action.EMPTY: _Work.empty, Action.DUMMY: _Work.dummy,
    Action.UID: _Work.uid, Action.CLEAN: _Work.clean,
}  # fmt: skip


def _mark(ds: Dataset, profile: Profile, work: _Work) -> None:
    """Say what was done (PS3.15 E.1.1, PS3.3 C.12.1.1.1.9), under a new head that holds nothing of the old one."""
    if not text_at(ds, _PATIENT_ID):
        add_text(ds, _PATIENT_ID, work.stand_ins.patient(work.patient), vr="LO")
    dates = "UNMODIFIED" if "full-dates" in profile.options else "MODIFIED" if profile.moves_dates else "REMOVED"
    add_text(ds, 0x00120062, "YES", vr="CS")                                   # PatientIdentityRemoved
    add_text(ds, 0x00120063, f"AI-LAB {__version__}: PS3.15 E.1-1, 2025a", vr="LO")    # DeidentificationMethod
    add_text(ds, 0x00280303, dates, vr="CS")                                   # LongitudinalTemporalInformationModified
    codes = _codes(profile.codes, *ds.original_encoding)
    add_bytes(ds, _METHOD_CODES, codes, vr="SQ", otherwise=lambda: [_code(*one) for one in profile.codes])
    _new_head(ds, work)


def _new_head(ds: Dataset, work: _Work) -> None:
    """File meta information with what a reader needs; some objects name themselves there only."""
    named = text_at(ds.file_meta, _MEDIA_INSTANCE)
    named = named if "uids" in work.profile.options else work.stand_ins.uid(named)
    kind = text_at(ds, _CLASS) or text_at(ds.file_meta, _MEDIA_CLASS)
    name = text_at(ds, _INSTANCE) or named
    if not name or not kind:
        msg = "the object has no SOP Instance UID or no SOP Class UID; send it again from its source"
        raise DicomError(msg)
    ds.file_meta, ds.preamble = new_head(kind, name, text_at(ds.file_meta, _SYNTAX)), b"\0" * 128


@lru_cache(maxsize=64)
def _codes(codes: tuple[tuple[str, str], ...], implicit: bool | None, little: bool | None) -> bytes:
    """The items as they are written; nothing where the data set was not read from a file."""
    if implicit is None or little is None:
        return b""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
    write_sequence(buffer, DataElement(_METHOD_CODES, "SQ", [_code(*one) for one in codes]), ["iso8859"])
    return buffer.getvalue()


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


@lru_cache(maxsize=1)
def _identifying_tags() -> frozenset[int]:
    from pydicom.datadict import tag_for_keyword

    return frozenset(tag for keyword in IDENTIFYING if (tag := tag_for_keyword(keyword)) is not None)


class _Actions(dict[tuple[int, str], Action]):
    """Actions of a profile by tag and VR, as far as they were asked for."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def __missing__(self, key: tuple[int, str]) -> Action:
        tag, vr = key
        action = Action.KEEP               # private ones that are still there are safe
        if not tag >> 16 & 1:
            action = Action.REMOVE if vr == "UN" else self._profile.action(tag, vr)
        self[key] = action
        return action


@lru_cache(maxsize=16)
def _actions(profile: Profile) -> _Actions:
    return _Actions(profile)


def _is_text(element: Element, vr: str) -> bool:
    return vr in TEXTS and isinstance(element.value, bytes)


def _creator(tag: int) -> int:
    return tag & 0xFFFF0000 | (tag & 0xFFFF) >> 8
