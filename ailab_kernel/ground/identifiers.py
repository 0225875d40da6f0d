"""Identifiers that the lab knows, as keyed hashes: a text can be searched for them, and nobody can list them.

A name is looked for in the forms in which people write it, a number with any separators, a date in the usual orders.
What is too short or too common to say anything is not remembered: a lab that blocks every page protects nobody.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from types import MappingProxyType

Hashed = Callable[[str], str]
_SINGLE, _NUMBER, _WORD_OF_NUMBER, _JOINED = 4, 5, 6, 7   # characters below which a form says nothing
_HEAD, _MOST = 3, 8                            # words that find a phrase in the index; words of the longest phrase
_YOUNG = timedelta(days=365)                   # a newborn's date of birth is today's date on every page
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"    # written without blanks: each sign is a word
_INSIDE = "\u0300-\u036f\u00ad\u200b-\u200d\ufeff"               # marks and invisible signs inside a word
_WORD = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])[^\W_]|[{_INSIDE}])+")
_ALL_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
               "november", "december")  # fmt: skip
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "å": "aa", "ø": "oe"})
# Surnames and given names that are everyday words of a report: alone they say nothing.
_COMMON = frozenset("""
    anonymous april august axis baker ball banks base bell best bill bird bishop black body bone book brand brown bush
    carter case cash chance chest church clear cook cooper core cross data date dean ether field fields file first fish
    fisher flood foot ford forest fox frank freeman front garden gold good grace grant gray green hall hand head heart
    heat hill home hope house hunter index iron joint joy june king knight label lake lamb land lane large last light
    line little long love lung lungs marks mark mason mask mean middle miller mills model moon moore name none noon
    north note page park parks part patient peace phantom place plan point pool pope porter power price rain read real
    rich right ring rise river road rock rose ruth sample sand scan series sharp short silver slice small smart south
    spine spring square star steel step stone storm street strong study summer sweet table temple test tester train tree
    true type unknown user vale value version view voxel wall water weeks wells west white wild will winter wise wolf
    wood woods work world worth young
""".split())  # fmt: skip # noqa: SIM905 - a list of words would be a page


@dataclass(frozen=True)
class Sighting:
    """A known identifier in a text: where, and of which kind; never the value.

    Attributes
    ----------
    text
        Number of the text, from 0.
    start, end
        Place in it, in characters.
    kind
        DICOM keyword of what stands there (``PatientName`` ...).
    """

    text: int
    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Entry:
    """A form of an identifier as the index keeps it."""

    token: str
    head: str
    words: int
    kind: str


def entries(known: Mapping[str, Iterable[str]], *, hashed: Hashed) -> Iterator[Entry]:
    """Yield what the index keeps of identifiers, given by DICOM keyword; keywords not in `KINDS` are passed over."""
    for kind, values in known.items():
        for value in values:
            for phrase in KINDS[kind](value) if kind in KINDS else ():
                parts = phrase.split(" ")
                yield Entry(hashed(phrase), hashed(" ".join(parts[:_HEAD])), len(parts), kind)


def sightings(
    texts: Sequence[str], *, hashed: Hashed, known: Callable[[Sequence[str]], Iterable[Entry]]
) -> list[Sighting]:
    """Search texts for what an index knows.

    Parameters
    ----------
    texts
        Any number of texts.
    hashed
        The lab's keyed hash of a phrase.
    known
        Returns the index's entries whose heads are among the given ones.
    """
    split = [_words(text) for text in texts]
    phrases = {phrase for words in split for size in range(1, _HEAD + 1) for phrase in _grams(words, size)}
    heads = {phrase: hashed(phrase) for phrase in phrases}
    by_head: dict[str, list[Entry]] = {}
    for entry in known(sorted(set(heads.values()))):
        by_head.setdefault(entry.head, []).append(entry)
    if not by_head:
        return []
    met = {phrase: by_head[head] for phrase, head in heads.items() if head in by_head}
    found = (one for number, words in enumerate(split) for one in _in_text(number, texts[number], words, met, hashed))
    return sorted(found, key=lambda one: (one.text, one.start, -one.end))


def _in_text(
    number: int, text: str, words: Sequence[tuple[str, int, int]], met: Mapping[str, list[Entry]], hashed: Hashed
) -> Iterator[Sighting]:
    for size in range(1, _HEAD + 1):
        for at, head in enumerate(_grams(words, size)):
            for entry in met.get(head, ()):
                if min(entry.words, _HEAD) != size or at + entry.words > len(words):
                    continue
                start, end = words[at][1], words[at + entry.words - 1][2]
                phrase = " ".join(word for word, _, _ in words[at:at + entry.words])
                if hashed(phrase) == entry.token and not _within_number(text, start, end):
                    yield Sighting(number, start, end, entry.kind)


def _words(text: str) -> list[tuple[str, int, int]]:
    """Words of a text as they are compared, each with its place."""
    return [(folded, one.start(), one.end()) for one in _WORD.finditer(text) if (folded := _folded(one.group()))]


def _folded(word: str) -> str:
    """A word without case, accents and invisible signs."""
    if word.isascii():
        return word.lower()
    plain = (sign for sign in unicodedata.normalize("NFKD", word) if not unicodedata.combining(sign))
    return re.sub(rf"[{_INSIDE}]", "", "".join(plain)).casefold()


def _plain(text: str) -> list[str]:
    return [word for word, _, _ in _words(text)]


def _grams(words: Sequence[tuple[str, int, int]], size: int) -> Iterator[str]:
    plain = [word for word, _, _ in words]
    return map(" ".join, zip(*(plain[at:] for at in range(size)), strict=False))


def _within_number(text: str, start: int, end: int) -> bool:
    """Whether digits are a part of a decimal number or a UID: 0.12345 holds no ID 12345."""
    return text[start:end].isdigit() and (
        (text[start - 1:start] == "." and text[max(start - 2, 0)].isdigit())
        or (text[end:end + 1] == "." and text[end + 1:end + 2].isdigit()))  # fmt: skip


def _staff(value: str) -> set[str]:
    """Name of a person of the hospital (PN): whole only, since a user's own name stands in what they make."""
    found: set[str] = set()
    for group in value.split("="):
        parts = [_plain(part) for part in group.split("^")[:3]]    # prefix and suffix are no names
        flat = [word for part in parts for word in part]
        if re.search(f"[{_CJK}]", group):
            found |= {" ".join(flat)} if 1 < len(flat) <= _MOST else set()
            continue
        words = [word for word in flat if len(word) > 1][:_MOST]
        for one, other in permutations(words, 2):
            found |= {f"{one} {other}", one + other} if len(one + other) >= _JOINED else set()
            found |= {f"{one} {other}"} if len(one + other) >= _NUMBER and not {one, other} <= _COMMON else set()
    return found


def _name(value: str) -> set[str]:
    """A patient's name (PN): also each word of it that is no everyday word, and umlauts as two letters."""
    spelled = value.translate(_UMLAUTS)
    return _names(value) | (_names(spelled) if spelled != value else set())


def _names(value: str) -> set[str]:
    words = {word for group in value.split("=") for part in group.split("^")[:3] for word in _plain(part)}
    alone = {word for word in words if len(word) >= _SINGLE and word.isalpha() and word not in _COMMON}
    return _staff(value) | alone


def _number(value: str) -> set[str]:
    """An ID, a telephone number, an address: with any separators, or none."""
    words = _plain(value)[:_MOST]
    joined = "".join(words)
    said = len(joined) >= (_NUMBER if any(sign.isdigit() for sign in joined) else _WORD_OF_NUMBER)
    return {" ".join(words), joined} if said and not set(words) <= _COMMON and joined != "removed" else set()


def _date(value: str) -> set[str]:
    """A date of birth (DA) in the usual orders; not within the last year, when it is a date of much else."""
    try:
        day = datetime.strptime(value.strip().replace(".", ""), "%Y%m%d").date()
    except ValueError:
        return set()
    if not date(1900, 1, 2) <= day <= datetime.now(UTC).date() - _YOUNG:
        return set()
    named = {_ALL_MONTHS[day.month - 1], _ALL_MONTHS[day.month - 1][:3]}
    months, days, year = {f"{day:%m}", str(day.month)} | named, {f"{day:%d}", str(day.day)}, f"{day.year:04d}"
    spelled = {form for m in months for d in days for form in (f"{year} {m} {d}", f"{d} {m} {year}", f"{m} {d} {year}")}
    return spelled | {f"{day:%Y%m%d}"}


# What is remembered of an object, by DICOM keyword, and in which forms it is looked for.
KINDS: Mapping[str, Callable[[str], set[str]]] = MappingProxyType({
    "PatientName": _name, "OtherPatientNames": _name, "PatientBirthName": _name, "PatientMotherBirthName": _name,
    "ResponsiblePerson": _name, "PatientID": _number, "OtherPatientIDs": _number, "AccessionNumber": _number,
    "AdmissionID": _number, "PatientTelephoneNumbers": _number, "PatientAddress": _number, "PatientBirthDate": _date,
    "ReferringPhysicianName": _staff, "ConsultingPhysicianName": _staff, "PhysiciansOfRecord": _staff,
    "PerformingPhysicianName": _staff, "NameOfPhysiciansReadingStudy": _staff, "OperatorsName": _staff,
    "RequestingPhysician": _staff, "ScheduledPerformingPhysicianName": _staff, "VerifyingObserverName": _staff,
    "PersonName": _staff, "ContentCreatorName": _staff, "ReviewerName": _staff,
})  # fmt: skip
