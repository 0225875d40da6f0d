"""One object without its patient: every attribute of every depth treated as the profile says.

Attributes that stay are not decoded: they travel as the bytes they were, pixels included.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import DataElement, Dataset, Sequence, dcmread, dcmwrite
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from ailab_kernel import __version__
from ailab_kernel.dicom.parsing import DEFLATED, guarded
from ailab_kernel.ground.errors import DicomError, NotDeidentified

from .rules.private import is_safe
from .rules.profile import Action, Profile
from .rules.standins import StandIns, moved
from .rules.text import Cleaner
from .rules.values import DUMMIES, REMOVED, TEXTS, known_age

_PATIENT_NAME, _PATIENT_ID, _STUDY_UID, _DOCUMENT = 0x00100010, 0x00100020, 0x0020000D, 0x00420011
_UNDEFINED = 0xFFFFFFFF
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
    """

    dataset: Dataset
    counts: Mapping[str, int]
    texts: tuple[tuple[str, str], ...]
    identifiers: frozenset[str] = field(repr=False)
    days: int = field(default=0, repr=False)

    def file(self) -> bytes:
        """The object as a PS3.10 file."""
        buffer = BytesIO()
        with guarded("writing"), warnings.catch_warnings():
            warnings.simplefilter("ignore")    # on values that stay as they came
            dcmwrite(buffer, self.dataset, enforce_file_format=True)
        return buffer.getvalue()


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
    """

    profile: Profile
    stand_ins: StandIns
    documents: bool = False

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
            size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
            ds = dcmread(BytesIO(source) if isinstance(source, bytes) else source)
            _check_end(ds, size)
            return self.scrub_dataset(ds, also=also)

    def scrub_dataset(self, ds: Dataset, *, also: Iterable[str] = ()) -> Scrubbed:
        """Return ``ds`` itself, changed; see :meth:`scrub`."""
        if _DOCUMENT in ds and not self.documents:
            msg = (f"instance {ds.get('SOPInstanceUID', '')} holds a document, whose text nobody cleaned; "
                   "leave it out, or allow documents after reading it")  # fmt: skip
            raise NotDeidentified(msg)
        patient = str(ds.get("PatientID") or "") or str(ds.get("StudyInstanceUID") or "")
        values = frozenset(identifying(ds, self.profile)) | frozenset(also)
        work = _Work(self.profile, self.stand_ins, cleaner_of(values), patient)
        work.treat(ds)
        _mark(ds, self.profile, work)
        return Scrubbed(ds, dict(work.counts), tuple(work.texts), work.cleaner.identifiers,
                        self.stand_ins.days(patient) if self.profile.moves_dates else 0)  # fmt: skip


def identifying(ds: Dataset, profile: Profile) -> Iterator[str]:
    """Yield the values of an object that identify and that the profile takes out, at any depth."""
    for tag in ds.keys():  # noqa: SIM118 - a Dataset iterates over decoded elements
        vr = _vr(ds, tag)
        if vr == "SQ":
            for item in ds[tag].value:
                yield from identifying(item, profile)
        elif (tag in _identifying_tags() or vr == "PN") and profile.action(tag, vr) is not Action.KEEP:
            yield from (str(one) for one in _values(ds[tag]))


def _check_end(ds: Dataset, size: int) -> None:
    """Raise where the file ends before, or after, its last attribute: pydicom reads a cut file without a word."""
    last = ds.get_item(max(ds.keys())) if len(ds) else None
    deflated = ds.file_meta.TransferSyntaxUID == DEFLATED
    if last is None or (not deflated and isinstance(last, RawDataElement) and last.length != _UNDEFINED and (
            last.value_tell + last.length != size)):  # fmt: skip
        msg = "the file is cut off, or something follows its end; send it again from its source"
        raise DicomError(msg)


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
        for tag in list(ds.keys()):
            if tag.element == 0:               # group lengths say nothing
                del ds[tag]
                continue
            vr = _vr(ds, tag)
            action = self._action(tag, vr)
            if dummied and action in {Action.KEEP, Action.CLEAN} and vr in TEXTS - {"CS"}:
                action = Action.DUMMY
            self.counts[action] += 1
            _DOES[action](self, ds, tag, vr)
            if vr == "SQ" and tag in ds:
                for item in ds[tag].value:
                    self.treat(item, dummied=dummied or action is Action.DUMMY)

    def _action(self, tag: BaseTag, vr: str) -> Action:
        if tag.is_private:                     # those that are still there are safe
            return Action.KEEP
        return Action.REMOVE if vr == "UN" else _action(self.profile, tag, vr)

    def _private(self, ds: Dataset) -> None:
        mine = [tag for tag in ds.keys() if tag.is_private]  # noqa: SIM118
        if not mine:
            return
        creators = {tag: str(ds[tag].value) for tag in mine if tag.is_private_creator}
        safe = "safe-private" in self.profile.options
        kept = {tag for tag in mine if safe and _creator(tag) in creators and not tag.is_private_creator
                and is_safe(tag.group, creators[_creator(tag)], tag.element)}  # fmt: skip
        for tag in mine:
            if tag not in kept and tag not in {_creator(one) for one in kept}:
                del ds[tag]
                self.counts[Action.REMOVE] += 1

    def keep(self, ds: Dataset, tag: BaseTag, vr: str) -> None:
        """Leave the value; texts lose the study's own identifiers, ages are capped."""
        if vr == "AS":
            self._each(ds, tag, known_age)
        elif vr in TEXTS and self.cleaner.meets(_raw(ds, tag)):
            self._each(ds, tag, self.cleaner.known)

    def remove(self, ds: Dataset, tag: BaseTag, _vr: str) -> None:
        """Take the attribute out."""
        del ds[tag]

    def empty(self, ds: Dataset, tag: BaseTag, vr: str) -> None:
        """Leave the attribute without a value."""
        ds[tag] = DataElement(tag, vr, Sequence() if vr == "SQ" else None)

    def dummy(self, ds: Dataset, tag: BaseTag, vr: str) -> None:
        """Put something in its place; a sequence keeps its items, whose texts go."""
        if vr == "SQ" or not _raw(ds, tag):
            return
        value = self._pseudonym(ds, tag) if tag in {_PATIENT_ID, _PATIENT_NAME} else DUMMIES.get(vr, REMOVED)
        ds[tag] = DataElement(tag, vr, value) if vr != "UI" else self._uids(ds[tag])

    def uid(self, ds: Dataset, tag: BaseTag, vr: str) -> None:
        """Put the UID's stand-in in its place."""
        if _raw(ds, tag):
            ds[tag] = self._uids(ds[tag]) if vr == "UI" else DataElement(tag, vr, DUMMIES.get(vr))

    def clean(self, ds: Dataset, tag: BaseTag, vr: str) -> None:
        """Move dates, clean texts; what is neither goes, but for a sequence, whose items are treated."""
        if vr in {"DA", "DT"}:
            self._move(ds, tag)
        elif vr == "CS":
            self.keep(ds, tag, vr)
        elif vr in TEXTS and _raw(ds, tag):
            self._each(ds, tag, self.cleaner.clean)
            self.texts.append((ds[tag].keyword, str(ds[tag].value)))
        elif vr not in {"SQ", "TM"} and vr not in TEXTS:
            del ds[tag]

    def _pseudonym(self, ds: Dataset, tag: BaseTag) -> str:
        known = str(ds.get(_PATIENT_ID).value or "") if _PATIENT_ID in ds and tag == _PATIENT_ID else self.patient
        return self.stand_ins.patient(known or self.patient)

    def _uids(self, element: DataElement) -> DataElement:
        mapped = [self.stand_ins.uid(str(one)) for one in _values(element)]
        return DataElement(element.tag, "UI", mapped if len(mapped) > 1 else "".join(mapped))

    def _move(self, ds: Dataset, tag: BaseTag) -> None:
        days = self.stand_ins.days(self.patient)
        self._each(ds, tag, lambda text: moved(text, days) or "")

    def _each(self, ds: Dataset, tag: BaseTag, change: Callable[[str], str]) -> None:
        element = ds[tag]
        before = [str(one) for one in _values(element)]
        after = [change(one) for one in before]
        if after != before:
            ds[tag] = DataElement(tag, element.VR, after if len(after) > 1 else "".join(after))


_DOES: Mapping[Action, Callable[[_Work, Dataset, BaseTag, str], None]] = {
    Action.KEEP: _Work.keep, Action.REMOVE: _Work.remove, Action.EMPTY: _Work.empty, Action.DUMMY: _Work.dummy,
    Action.UID: _Work.uid, Action.CLEAN: _Work.clean,
}  # fmt: skip


def _mark(ds: Dataset, profile: Profile, work: _Work) -> None:
    """Say what was done (PS3.15 E.1.1, PS3.3 C.12.1.1.1.9), under a new head that holds nothing of the old one."""
    if _PATIENT_ID not in ds or not ds.PatientID:
        ds.PatientID = work.stand_ins.patient(work.patient)
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = f"AI-LAB {__version__}: PS3.15 E.1-1, 2025a"
    ds.DeidentificationMethodCodeSequence = Sequence(_code(*one) for one in profile.codes)
    dates = "UNMODIFIED" if "full-dates" in profile.options else "MODIFIED" if profile.moves_dates else "REMOVED"
    ds.LongitudinalTemporalInformationModified = dates
    _new_head(ds, work)


def _new_head(ds: Dataset, work: _Work) -> None:
    """File meta information with what a reader needs; some objects name themselves there only."""
    old, meta = ds.file_meta, FileMetaDataset()
    meta.TransferSyntaxUID = old.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = ds.get("SOPClassUID") or old.get("MediaStorageSOPClassUID", "")
    named = str(old.get("MediaStorageSOPInstanceUID", ""))
    named = named if "uids" in work.profile.options else work.stand_ins.uid(named)
    meta.MediaStorageSOPInstanceUID = UID(str(ds.get("SOPInstanceUID") or named))
    if not meta.MediaStorageSOPInstanceUID or not meta.MediaStorageSOPClassUID:
        msg = "the object has no SOP Instance UID or no SOP Class UID; send it again from its source"
        raise DicomError(msg)
    ds.file_meta, ds.preamble = meta, b"\0" * 128


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


@lru_cache(maxsize=1)
def _identifying_tags() -> frozenset[int]:
    from pydicom.datadict import tag_for_keyword

    return frozenset(tag for keyword in IDENTIFYING if (tag := tag_for_keyword(keyword)) is not None)


@lru_cache(maxsize=100_000)
def _action(profile: Profile, tag: int, vr: str) -> Action:
    return profile.action(tag, vr)


def _vr(ds: Dataset, tag: BaseTag) -> str:
    """VR as it stands, or as the standard has it where the object does not say; UN where nobody knows."""
    vr = ds.get_item(tag).VR
    if vr and vr != "UN":
        return str(vr)
    try:
        known = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return known if vr is None or ds[tag].VR != "UN" else "UN"


def _raw(ds: Dataset, tag: BaseTag) -> bytes:
    """The value's bytes where nobody decoded it yet, else something that is empty when the value is."""
    item = ds.get_item(tag)
    value = item.value
    if isinstance(value, bytes):
        return value
    return "\\".join(str(one) for one in _values(ds[tag])).encode("utf8", "replace")


def _values(element: DataElement) -> list[Any]:
    value = element.value
    if value is None or value == "":
        return []
    return list(value) if element.VM > 1 else [value]


def _creator(tag: BaseTag) -> BaseTag:
    return BaseTag(tag.group << 16 | tag.element >> 8)
