"""Free text without what identifies: known identifiers of the same study, and forms that identifiers have.

Rules find what they know. A name that stands in no header and behind no title stays, which is why a sample of the
cleaned texts is kept for a person to review.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

MARK = "[removed]"
_NOTHING: frozenset[str] = frozenset()
_SHORTEST = 3                                  # shorter words are found everywhere
_TITLES = r"(?:dr|prof|mr|mrs|ms|miss|herr|frau|doctor|nurse|sister|md|attn|physician|radiologist|technologist|tech)"
_NAME = r"[A-Z][\w'’-]+(?:[ ,]+(?:[A-Z]\.?|[A-Z][\w'’-]+)){0,2}"
# Words of institutions, departments and addresses that name none.
_GENERAL = frozenset({
    "abteilung", "avenue", "brain", "breast", "cancer", "cardiology", "center", "central", "centre", "centrum",
    "chest", "children", "city", "clinic", "clinical", "clinics", "clinique", "community", "county",
    "department", "diagnostic", "diagnostics", "east", "faculty", "general", "health", "healthcare", "heart",
    "hopital", "hospital", "hôpital", "imaging", "institut", "institute", "institution", "klinik", "klinikum",
    "krankenhaus", "medical", "medicine", "memorial", "national", "north", "nuclear", "oncology", "ospedale",
    "radiologie", "radiology", "regional", "research", "saint", "school", "service", "services", "south",
    "spine", "street", "system", "systems", "universitaet", "university", "universität", "west", "zentrum",
})  # fmt: skip
_TAKEN_FOR = str.maketrans({"\u017f": "s", "\u212a": "k", "\u0130": "i", "\u0131": "i"})   # as re.IGNORECASE does
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
# Word by word, in this order; each hit is replaced whole.
_FORMS = tuple(re.compile(pattern, flags) for pattern, flags in (
    (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", 0),                                                    # e-mail
    (r"\b(?:https?|ftp|file)://\S+|\bwww\.\S+", re.I),
    (r"(?<![\w/])(?:[A-Za-z]:\\|\\\\|/(?:home|Users|mnt|data)/)\S+", 0),                     # paths hold names
    (r"\b\d{1,3}(?:\.\d{1,3}){3}\b", 0),                                                     # addresses of machines
    (r"\b\d+(?:\.\d+){5,}\b", 0),                                                            # UIDs
    (r"\b\d{3}-\d{2}-\d{4}\b", 0),                                                           # social security
    (r"(?<!\w)(?:\+?\d{1,3}[ .-]?)?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b", 0),                   # telephone
    (r"(?<!\w)(?:tel|phone|ph|fax|pager|mobile)\b[.: ]*[+\d][\d ()./-]{4,}\d", re.I),
    (r"\b(?:19|20)\d{2}[-/.](?:0?[1-9]|1[0-2])[-/.](?:0?[1-9]|[12]\d|3[01])\b", 0),          # dates
    (r"\b(?:0?[1-9]|[12]\d|3[01])[-/.](?:0?[1-9]|[12]\d|3[01])[-/.](?:(?:19|20)\d{2}|\d{2})\b", 0),
    (r"\b(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\b", 0),
    (rf"\b\d{{1,2}}(?:st|nd|rd|th)?[ .-]*{_MONTH}[ ,.-]*(?:19|20)?\d{{2}}\b", re.I),
    (rf"\b{_MONTH}[ .]*\d{{1,2}}(?:st|nd|rd|th)?[ ,]+(?:19|20)\d{{2}}\b", re.I),
    (r"\b(?:mrn|pid|ssn|dob|acc(?:ession)?|patient ?id|case|ref|order|visit|chart)\b[ #:.=no-]*\w*\d\w*", re.I),
    (r"\b\d{1,5} (?:[A-Z][\w.]+ ){1,3}(?:St|Street|Ave|Avenue|Rd|Road|Blvd|Lane|Ln|Drive|Dr|Way|Court|Ct)\b\.?", 0),
    (rf"\b(?i:{_TITLES})\b[.:]? *{_NAME}", 0),
    (rf"\b(?i:patient|pt|name|by|for|per|signed|reported by|referred by)\b *[:=]+ *{_NAME}", 0),
    (r"\b(?:9\d|1[01]\d)[ -]?(?:y(?:ears?)?[ -]?o(?:ld)?|years?|yrs?|y)\b", re.I),           # ages above 89
    (r"(?<![\w.])\d{6,}(?![\w.])", 0),                                                       # numbers of records
))  # fmt: skip


@dataclass(frozen=True)
class Cleaner:
    """Cleans texts of one study.

    Attributes
    ----------
    identifiers
        Values that identify, as they stand in the study's headers: names, numbers, places, dates.
    """

    identifiers: frozenset[str]

    @classmethod
    def of(cls, values: Iterable[str]) -> "Cleaner":
        """Return a cleaner for what headers say, each value whole and in the parts that a text may use."""
        return cls(frozenset(part for value in values for part in _parts(value)))

    def meets(self, raw: bytes) -> bool:
        """Whether bytes of a text may hold an identifier; what is not ASCII is read to be sure."""
        return bool(self.identifiers) and (not raw.isascii() or bool(self._held(raw.lower())))

    def known(self, text: str) -> str:
        """Return the text without the study's own identifiers."""
        if not text.isascii():
            return _pattern(self.identifiers).sub(MARK, text) if self.identifiers else text
        held = self._held(text.lower().encode("ascii"))
        return _pattern(held).sub(MARK, text) if held else text

    def clean(self, text: str) -> str:
        """Return the text without identifiers and without whatever has the form of one."""
        return self.known(_without_forms(text))

    def _held(self, lower: bytes) -> frozenset[str]:
        """Identifiers whose letters stand in an ASCII text, in a word or not; most texts hold none."""
        needles = self._needles
        held = [one for one in needles if one in lower]
        return frozenset([needles[one] for one in held]) if held else _NOTHING

    @cached_property
    def _needles(self) -> Mapping[bytes, str]:
        """Identifiers that an ASCII text can hold: those whose letters are, or are taken for, ASCII in any case."""
        folded = {one.translate(_TAKEN_FOR).lower(): one for one in sorted(self.identifiers)}
        return {needle.encode("ascii"): one for needle, one in folded.items() if needle.isascii()}


@lru_cache(maxsize=4096)
def _without_forms(text: str) -> str:
    for form in _FORMS:
        text = form.sub(MARK, text)
    return text


@lru_cache(maxsize=4096)
def _pattern(identifiers: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(identifiers, key=lambda one: (-len(one), one))
    return re.compile("|".join(rf"(?<![^\W_]){re.escape(one)}(?![^\W_])" for one in longest_first), re.IGNORECASE)


def _parts(value: str) -> Iterator[str]:
    """A value as it stands, and the words of a name; a date as people write it."""
    text = value.strip()
    if len(text) >= _SHORTEST and not text.isspace():
        yield text
    if "^" in text or "=" in text:
        words = [word for word in re.split(r"[\^=\s]+", text) if len(word) >= _SHORTEST]
        yield from words
        yield from (f"{one} {other}" for one in words for other in words if one != other)
    elif " " in text:
        yield from (word for word in re.findall(r"[^\W\d_]{5,}", text) if word.lower() not in _GENERAL)
    if re.fullmatch(r"(1[89]|20)\d{6}", text):
        year, month, day = text[:4], text[4:6], text[6:]
        yield from (f"{year}-{month}-{day}", f"{day}.{month}.{year}", f"{month}/{day}/{year}", f"{day}/{month}/{year}")
