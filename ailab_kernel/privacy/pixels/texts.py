"""What becomes of a text that was read: what identifies goes, what is technical may stay.

Readers err in letters, so identifiers are compared without case, accents and what lies between letters, with letters
and digits of the same look as one, and with one error in five letters.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from ailab_kernel.privacy.rules.text import Cleaner

from .boxes import Box, Text
from .risk import Look, Risk

_SHORTEST = 4                                  # folded letters; shorter ones are compared as whole words
_ALIKE = str.maketrans("OQDILJSBZG|", "000111582" + "61")
_LIKELY = 0.5                                  # on screens and in ultrasound; half of it for four letters and more
_LEAST = 0.55                                  # elsewhere: a reader that is less sure saw anatomy
_UNITS = (r"KV|KVP|MA|MAS|MSEC|MS|S|SEC|MIN|MM|CM|M|UM|HZ|KHZ|MHZ|DB|FPS|DEG|CM/S|M/S|MM/S|BPM|MGY|MGY[.*·]?CM|CGY|GY|"
          r"HU|MMHG|ML|L|L/MIN|T|MT/M|PX|%|°|º|X|KG|W|MW|W/KG")  # fmt: skip
_NUMBER = r"[-+±<>=~]?\d{1,4}(?:[.,]\d{1,3})?"
_TECHNICAL = re.compile(rf"(?:{_NUMBER}(?:{_UNITS})?|(?:{_UNITS})|{_NUMBER}[X×/*]{_NUMBER}(?:{_UNITS})?|"
                        r"[-+.·:=()\[\]/*×|<>#]+)")  # fmt: skip
# What lies between words; a stroke beside a number and its unit is read as a hyphen, or as two.
_BETWEEN = re.compile(r"[\s,;]+|(?<=[^\d\s]):|:(?=\s|$)|(?<=\d)[-=](?=[A-Z])|-(?=\W*$)")


class Fate(StrEnum):
    """What becomes of a text, and why."""

    IDENTIFIER = "a known identifier of the study"
    FORM = "has the form of an identifier"
    TEXT = "text where none may stay"
    UNKNOWN = "not known to be technical"
    TECHNICAL = "technical, stays"
    UNSURE = "hardly read as text, stays"

    @property
    def goes(self) -> bool:
        """Whether it is masked."""
        return self not in {Fate.TECHNICAL, Fate.UNSURE}


@dataclass(frozen=True)
class Judge:
    """Decides on texts of one study.

    Attributes
    ----------
    identifiers
        Of the study, as :class:`Cleaner` has them.
    keep_technical
        Whether text that is only technical (``120 kV``, ``R``) may stay where otherwise all text goes.
    """

    identifiers: frozenset[str]
    keep_technical: bool = False

    def fate(self, text: Text, risk: Risk) -> Fate:
        """What becomes of a text of an object with that risk."""
        if known_in(self.identifiers, text.words):
            return Fate.IDENTIFIER
        if text.score >= _LEAST and Cleaner(frozenset()).clean(text.words) != text.words:
            return Fate.FORM
        bare = risk.look is Look.ALL and not _inside(text.box, risk.regions)
        if not _is_read(text, likely=bare):
            return Fate.UNSURE
        if bare and not self.keep_technical:
            return Fate.TEXT
        return Fate.TECHNICAL if is_technical(text.words) else Fate.UNKNOWN


def is_technical(words: str) -> bool:
    """Whether every word is a number with or without a unit, a marker of orientation or a word of a scanner's."""
    parts = [part for part in _BETWEEN.split(_plain(words)) if part]
    return all(part.strip(".()[]").replace("L", "I") in _words() or _TECHNICAL.fullmatch(part) for part in parts)


@lru_cache(maxsize=1)
def _words() -> frozenset[str]:
    """The list beside this module, without L, which readers take for I."""
    lines = (Path(__file__).parent / "technical.txt").read_text("utf8").splitlines()
    return frozenset(word.replace("L", "I") for line in lines if line[:1] != "#" for word in line.split())


def known_in(identifiers: Iterable[str], words: str) -> bool:
    """Whether a text, as a reader read it, holds an identifier, as a reader may read it."""
    whole = folded(words)
    singles = {folded(one) for one in re.split(r"[\W_]+", words)} if words else set()
    return any(one in singles if len(one) < _SHORTEST else _is_near(one, whole)
               for one in _folded_all(frozenset(identifiers)))  # fmt: skip


def folded(text: str) -> str:
    """The letters and digits of a text, those that look alike as one."""
    return re.sub(r"[\W_]", "", _plain(text).replace("|", "1")).translate(_ALIKE)


@lru_cache(maxsize=64)
def _folded_all(identifiers: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted({one for text in identifiers if len(one := folded(text)) >= 3}))


def _plain(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one)).upper()


def _is_near(short: str, long: str) -> bool:
    """Whether a part of ``long`` is ``short`` with at most one error in five letters (Sellers' distance)."""
    allowed = len(short) // 5
    if not allowed or short in long:
        return short in long
    row = [0] * (len(long) + 1)
    for number, letter in enumerate(short, 1):
        above, row = row, [number]
        for at, other in enumerate(long, 1):
            row.append(min(above[at] + 1, row[-1] + 1, above[at - 1] + (letter != other)))
        if min(row) > allowed:
            return False
    return min(row) <= allowed


def _is_read(text: Text, *, likely: bool) -> bool:
    """Whether this is text, not anatomy, which looks like ``O`` or ``OOO``; where text is likely, less is asked."""
    letters = sum(one.isalnum() for one in text.words)
    least = _LEAST if not likely else _LIKELY / 2 if letters >= _SHORTEST else _LIKELY
    return letters >= 2 and len(set(folded(text.words))) >= 2 and text.score >= least


def _inside(box: Box, regions: tuple[Box, ...]) -> bool:
    return any(box.overlap(one) > 0.9 * box.area for one in regions)
