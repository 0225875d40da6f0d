"""A profile: the Basic Profile with options, and from it the one action for each attribute.

Where the table leaves a choice (``X/Z/D``), the choice that keeps an object valid is taken: D before Z before X.
Attributes that the table does not name stay (PS3.15 E.1.1), except those that may hold anything: names of people,
unknown attributes, private ones that are not known to be safe; dates and UIDs are treated as those that it names, and
prose is cleaned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType

from pydicom.datadict import dictionary_VR

from ailab_kernel.ground.errors import WrongUse

from .table import BASIC, OPTIONS, rows


class Action(StrEnum):
    """What is done to an attribute; the letters are those of PS3.15 E.1.1."""

    __hash__ = str.__hash__        # Enum's own is written in Python, and this is looked up for every attribute

    KEEP = "K"
    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    CLEAN = "C"                    # text cleaned, dates moved, the items of sequences treated


_BASIC: Mapping[str, Action] = MappingProxyType({
    "X": Action.REMOVE, "Z": Action.EMPTY, "D": Action.DUMMY, "U": Action.UID, "K": Action.KEEP,
    "X/Z": Action.EMPTY, "X/D": Action.DUMMY, "Z/D": Action.DUMMY, "X/Z/D": Action.DUMMY, "X/Z/U*": Action.CLEAN,
})  # fmt: skip
PROFILES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "basic": (),
    "research": ("modified-dates", "patient-characteristics", "descriptors", "structured-content", "graphics",
                 "safe-private"),
    "longitudinal": ("full-dates", "patient-characteristics", "descriptors", "structured-content", "graphics",
                     "safe-private", "device"),
})  # fmt: skip
# Where another action than the table's is taken, in any profile, and why.
_PSEUDONYMS = {
    0x00100010: Action.DUMMY, 0x00100020: Action.DUMMY,     # Z allows a dummy; without, no patient is told from another
}  # fmt: skip
# E.1.1 asks for valid objects. X in the table, but Type 1 in presentation states (PS3.3 C.11.10): a dummy.
# X/Z: an empty Referenced Study Sequence is not valid in images, where it is Type 3 with one or more items (C.7.2.1).
_TYPES = {(0x00700082, Action.REMOVE): Action.DUMMY, (0x00700083, Action.REMOVE): Action.DUMMY,
          (0x00081110, Action.EMPTY): Action.REMOVE}  # fmt: skip
_TIMEZONE = 0x00080201                              # beside moved dates, summer time would tell the season
_DATES = frozenset({"DA", "DT", "TM"})
_LONG_TEXTS = frozenset({"LT", "ST", "UC", "UT"})   # such as Text Value (0040,A160): prose, whatever it is called
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
# UIDs that the table does not name and that name no instance of anybody's.
_PUBLIC_UIDS = frozenset({0x0008010C, 0x00080117, 0x00080118, 0x0008010D, 0x00080016, 0x0008001A, 0x00081150,
                          0x0008115A, 0x00020002, 0x00020010, 0x00020012, 0x04000010})  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """The Basic Profile with options.

    Attributes
    ----------
    options
        Names of :data:`.table.OPTIONS`.
    """

    options: tuple[str, ...] = PROFILES["research"]

    def __post_init__(self) -> None:
        """Refuse options that there are not, or that contradict each other."""
        unknown = sorted(set(self.options) - set(OPTIONS))
        if unknown:
            msg = f"there is no option {unknown[0]!r}; there are {', '.join(OPTIONS)}"
            raise WrongUse(msg)
        if {"full-dates", "modified-dates"} <= set(self.options):
            msg = "dates are kept or moved, not both: leave out full-dates or modified-dates"
            raise WrongUse(msg)

    @property
    def moves_dates(self) -> bool:
        """Whether dates are moved by a number of days that is the patient's own."""
        return "modified-dates" in self.options

    @property
    def codes(self) -> tuple[tuple[str, str], ...]:
        """Code and meaning of everything that was done (PS3.16 CID 7050)."""
        return (BASIC, *(code for name, code in OPTIONS.items() if name in self.options))

    def action(self, tag: int, vr: str) -> Action:
        """The action for a standard attribute.

        Parameters
        ----------
        tag
            Group and element in one number.
        vr
            Its value representation, as it stands in the object.
        """
        named = self._named.get(tag) or self._groups.get(tag >> 24 if tag >> 24 in {0x50, 0x60} else 0)
        return named or self._unnamed(tag, vr)

    @cached_property
    def _named(self) -> Mapping[int, Action]:
        named = {int(one.tag, 16): self._of(one.basic, one.options) for one in rows()
                 if "x" not in one.tag and one.tag != "private"}  # fmt: skip
        valid = {tag: action for (tag, table), action in _TYPES.items() if named[tag] is table}
        return named | _PSEUDONYMS | valid | ({_TIMEZONE: Action.REMOVE} if self.moves_dates else {})

    @cached_property
    def _groups(self) -> Mapping[int, Action]:
        """Curves (50xx) and overlays (60xx): whole groups, a part of one means nothing."""
        return {0x50: Action.REMOVE, 0x60: Action.REMOVE}

    def _of(self, basic: str, options: Mapping[str, str]) -> Action:
        """An option's action beats the Basic Profile's; where options differ, what is cleaned leaks less."""
        asked = {options[name] for name in self.options if name in options}
        return Action.CLEAN if "C" in asked else Action.KEEP if "K" in asked else _BASIC[basic]

    def _unnamed(self, tag: int, vr: str) -> Action:
        if tag in _PIXELS:
            return Action.KEEP
        if _is_unknown(tag):
            return Action.REMOVE
        if vr == "PN":
            return Action.DUMMY
        if vr == "UI":
            return Action.KEEP if tag in _PUBLIC_UIDS or "uids" in self.options else Action.UID
        if vr in _DATES:
            return Action.KEEP if "full-dates" in self.options else Action.CLEAN if self.moves_dates else Action.DUMMY
        return Action.CLEAN if vr == "SQ" or vr in _LONG_TEXTS else Action.KEEP


def profile_of(text: str) -> Profile:
    """Return the profile that a person names: one of :data:`PROFILES`, with more options behind it: ``basic+uids``.

    Raises
    ------
    WrongUse
        There is no such profile or option.
    """
    name, *more = text.split("+")
    if name not in PROFILES:
        msg = f"there is no profile {name!r}; there are {', '.join(PROFILES)}, and options follow as in basic+uids"
        raise WrongUse(msg)
    return Profile(tuple(dict.fromkeys((*PROFILES[name], *more))))


def _is_unknown(tag: int) -> bool:
    try:
        dictionary_VR(tag)
    except KeyError:
        return True
    return False
