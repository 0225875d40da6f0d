"""What a search asks: words for people, turned into DICOM matching keys (PS3.4 C.2.2.2) and judged in one place.

Both levels share the words; :data:`WORDS` says which DICOM attribute a word means at the study and at the series
level. Every archive judges with :class:`Condition`, so that the same question has the same answer everywhere.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

from ailab_kernel.dicom.uids import check_uid
from ailab_kernel.ground.errors import DicomError, WrongUse


@dataclass(frozen=True)
class Word:
    """DICOM keyword a match word stands for at each level ("" where the level lacks it), and its VR."""

    study: str
    series: str
    vr: str


WORDS: dict[str, Word] = {
    "modality": Word("ModalitiesInStudy", "Modality", "CS"),
    "description": Word("StudyDescription", "SeriesDescription", "LO"),
    "date": Word("StudyDate", "StudyDate", "DA"),
    "patient": Word("PatientID", "PatientID", "LO"),
    "name": Word("PatientName", "PatientName", "PN"),
    "accession": Word("AccessionNumber", "AccessionNumber", "SH"),
    "study": Word("StudyInstanceUID", "StudyInstanceUID", "UI"),
    "series": Word("", "SeriesInstanceUID", "UI"),
    "body_part": Word("", "BodyPartExamined", "CS"),
}
_DATE = re.compile(r"\d{8}|\d{4}-\d{2}-\d{2}")
_RANGE = re.compile(rf"({_DATE.pattern})?-({_DATE.pattern})?")
_PARTS = {"*": ".*", "?": "."}
# Free text that every technologist types in another case: a person who asks for *chest* means CHEST as well.
FREE_TEXT = frozenset({"StudyDescription", "SeriesDescription"})


@dataclass(frozen=True)
class Condition:
    """One matching key: DICOM ``keyword``, its ``vr``, and the values of which any may match."""

    keyword: str
    vr: str
    values: tuple[str, ...]

    @cached_property
    def _tests(self) -> tuple[Callable[[str], bool], ...]:
        if self.vr == "UI":                    # thousands of UIDs, looked up at once
            return (frozenset(self.values).__contains__,)
        if self.vr == "DA":
            return tuple(_date_test(value) for value in self.values)
        ignore_case = self.vr == "PN" or self.keyword in FREE_TEXT  # C.2.2.2.1 lets names ignore case
        return tuple(_text_test(value, ignore_case=ignore_case) for value in self.values)

    def accepts(self, found: str | Iterable[str]) -> bool:
        """Whether an attribute's value (or any of several) matches."""
        values = (found,) if isinstance(found, str) else tuple(found)
        return any(test(value.strip()) for value in values for test in self._tests)


def study_conditions(match: Mapping[str, object]) -> tuple[Condition, ...]:
    """Matching keys at the study level; words that only series carry are left out (see :func:`split`)."""
    return _conditions(match, "study")


def series_conditions(match: Mapping[str, object]) -> tuple[Condition, ...]:
    """Matching keys at the series level."""
    return _conditions(match, "series")


def split(match: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """``match`` parted into words that studies carry, and words that only their series carry.

    Raises
    ------
    WrongUse
        A word that is not in :data:`WORDS`.
    """
    _check_words(match)
    studies = {word: value for word, value in match.items() if WORDS[word].study}
    return studies, {word: value for word, value in match.items() if word not in studies}


def accepted(conditions: Iterable[Condition], attributes: Mapping[str, str | tuple[str, ...]]) -> bool:
    """Whether ``attributes`` (by keyword) meet every condition; an attribute that is not given is not judged."""
    return all(one.accepts(attributes[one.keyword]) for one in conditions if one.keyword in attributes)


def _conditions(match: Mapping[str, object], level: str) -> tuple[Condition, ...]:
    _check_words(match)
    keys = [(word, getattr(WORDS[word], level), WORDS[word].vr, value) for word, value in match.items()]
    made = [Condition(keyword, vr, _values(word, vr, value)) for word, keyword, vr, value in keys if keyword]
    return tuple(one for one in made if not {"", "*"} & set(one.values))     # universal matching, C.2.2.2.3


def _check_words(match: Mapping[str, object]) -> None:
    unknown = sorted(set(match) - set(WORDS))
    if unknown:
        raise WrongUse(f"unknown match word {', '.join(unknown)}; an archive is searched by {', '.join(WORDS)}")


def _values(word: str, vr: str, value: object) -> tuple[str, ...]:
    many = value if isinstance(value, (list, tuple, set, frozenset)) else (value,)
    parts = [part for one in many for part in _text(one).split("\\")]
    if not parts:
        raise WrongUse(f"{word} is an empty list; give at least one value, or leave {word} out to match all")
    return tuple(_checked(word, vr, part.strip()) for part in parts)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (date, datetime)):
        return value.strftime("%Y%m%d")
    return str(getattr(value, "uid", value))


def _checked(word: str, vr: str, value: str) -> str:
    if not value or value == "*":
        return value
    if vr == "DA":
        return _date_key(word, value)
    if vr == "UI":
        try:
            return check_uid(value)
        except DicomError as error:
            raise WrongUse(f"{word} is no UID: {error} (UIDs match whole, without wildcards)") from error
    return value


def _date_key(word: str, value: str) -> str:
    if value == "today":
        return date.today().strftime("%Y%m%d")
    span = _RANGE.fullmatch(value)
    if _DATE.fullmatch(value):
        return _day(word, value)
    if span is None or not any(span.groups()):
        raise WrongUse(f"{word}={value!r} is no date; write today, 20260131, 2026-01-31, 20260101-20260131, "
                       "20260101- or -20260131")
    first, last = (_day(word, part) if part else "" for part in span.groups())
    if first and last and first > last:
        raise WrongUse(f"{word}={value!r} ends before it begins; write the earlier day first")
    return f"{first}-{last}"


def _day(word: str, value: str) -> str:
    try:
        return date.fromisoformat(value).strftime("%Y%m%d")
    except ValueError as error:
        raise WrongUse(f"{word}={value!r} is not in the calendar; write a day as 20260131") from error


def _text_test(value: str, *, ignore_case: bool) -> Callable[[str], bool]:
    pattern = "".join(_PARTS.get(char, re.escape(char)) for char in value)
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    return lambda found: re.fullmatch(pattern, found, flags) is not None


def _date_test(value: str) -> Callable[[str], bool]:
    if "-" not in value:
        return lambda found: found == value
    first, last = value.split("-")
    return lambda found: bool(found) and (first or "0") <= found <= (last or "9")

