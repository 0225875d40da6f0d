"""What an archive found, given by DICOM keyword, as the values a search answers with."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from ailab_kernel.dicom.uids import check_uid
from ailab_kernel.ground.errors import DicomError, NotFound, SettingsError, WrongUse

from . import matching
from .archive import Archive, Series, SeriesList, Studies, Study

Attributes = Mapping[str, Any]
ANSWER_S = 60.0                                # how long an archive on the network may think


def study_of(found: Attributes, archive: Archive) -> Study:
    """Study from its attributes; ``instances`` is a key of our own."""
    return Study(_text(found, "StudyInstanceUID"), _text(found, "StudyDescription"), _date(found.get("StudyDate")),
                 tuple(sorted(found.get("ModalitiesInStudy") or ())), _integer(found.get("instances")), archive)


def series_of(found: Attributes, archive: Archive) -> Series:
    """Series from its attributes; ``instances`` is a key of our own."""
    return Series(_text(found, "StudyInstanceUID"), _text(found, "SeriesInstanceUID"), _text(found, "Modality"),
                  _text(found, "SeriesDescription"), _integer(found.get("SeriesNumber")),
                  _integer(found.get("instances")), _text(found, "BodyPartExamined"), archive)


def with_series_words(archive: Archive, match: Mapping[str, object]) -> dict[str, object] | None:
    """``match`` for the study level, words that only series carry turned into study UIDs; None where no study has them.

    Each word is asked for itself: CT and CHEST may be met by two series of one study.
    """
    studies, series = matching.split(match)
    if not series:
        return studies
    asked = {"study": studies["study"]} if "study" in studies else {}
    uids = sorted({one.study_uid for one in archive.search_series("", **asked, **series)})
    return studies | {"study": uids} if uids else None


def absent(archive: Archive, study_uid: str, series_uid: str = "") -> NotFound:
    """The error that says that an archive has no such study or series."""
    what = f"series {series_uid}" if series_uid else f"study {study_uid}"
    return NotFound(f"no {what} in {archive.url}; search the archive again")


def seconds(text: str | None) -> float:
    """The option ``timeout`` of an archive's URL, s; `ANSWER_S` where it is left out.

    Raises
    ------
    SettingsError
        No number above 0.
    """
    try:
        found = ANSWER_S if text is None else float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise SettingsError(f"timeout={text} in the archive's URL is no number of seconds; write timeout=60")
    return found


def check_uids(study_uid: str, series_uid: str = "") -> None:
    """Refuse to name a study or series by what is no UID (an empty study UID would mean everything).

    Raises
    ------
    WrongUse
        ``study_uid`` is none, or ``series_uid`` is given and none.
    """
    try:
        check_uid(study_uid)
        check_uid(series_uid or study_uid)
    except DicomError as error:
        raise WrongUse(f"{error}; take the UID from a search") from error


def sorted_studies(studies: Iterable[Study]) -> Studies:
    """Newest first, then by UID."""
    by_uid = sorted(studies, key=lambda one: one.uid)
    return Studies(sorted(by_uid, key=lambda one: one.date or date.min, reverse=True))


def sorted_series(series: Iterable[Series]) -> SeriesList:
    """By study, number and UID."""
    return SeriesList(sorted(series, key=lambda one: (one.study_uid, one.number is None, one.number or 0, one.uid)))


def _text(found: Attributes, keyword: str) -> str:
    return str(found.get(keyword) or "").strip()


def _integer(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _date(value: object) -> date | None:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        return None
