"""What a de-identified object says of itself, under a new head."""

from functools import lru_cache

from pydicom import DataElement, Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_sequence

from ailab_kernel import __version__
from ailab_kernel.ground.errors import DicomError
from ailab_kernel.privacy.elements.raw import add_bytes, add_text, new_head, text_at
from ailab_kernel.privacy.rules.profile import Profile

from .work import Work

_PATIENT_ID, _CLASS, _INSTANCE, _METHOD_CODES = 0x00100020, 0x00080016, 0x00080018, 0x00120064
_MEDIA_CLASS, _MEDIA_INSTANCE, _SYNTAX = 0x00020002, 0x00020003, 0x00020010


def mark(ds: Dataset, profile: Profile, work: Work) -> None:
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


def _new_head(ds: Dataset, work: Work) -> None:
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
