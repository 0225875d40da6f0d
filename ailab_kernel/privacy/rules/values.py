"""Values that stand for others: dummies by value representation, and what is known of a patient's age."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

REMOVED = "REMOVED"
# A dummy is valid for its VR (PS3.5 table 6.2-1) and says nothing.
DUMMIES: Mapping[str, Any] = MappingProxyType({
    "AE": REMOVED, "AS": "000Y", "CS": REMOVED, "DA": "19000101", "DS": "0", "DT": "19000101000000", "IS": "0",
    "LO": REMOVED, "LT": REMOVED, "PN": REMOVED, "SH": REMOVED, "ST": REMOVED, "TM": "000000", "UC": REMOVED,
    "UR": "urn:removed", "UT": REMOVED, "FD": 0.0, "FL": 0.0, "SL": 0, "SS": 0, "SV": 0, "UL": 0, "US": 0, "UV": 0,
    "AT": 0, "OB": b"\0\0", "OW": b"\0\0", "OD": b"\0" * 8, "OF": b"\0" * 4, "OL": b"\0" * 4, "OV": b"\0" * 8,
    "UN": b"\0\0",
})  # fmt: skip
TEXTS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_OLDEST = 89                                   # an age above it identifies (45 CFR 164.514(b)(2)(i)(C))


def known_age(text: str) -> str:
    """Return an age (AS) with everybody above 89 years as 90."""
    years = re.fullmatch(r"(\d{3})Y", text)
    return "090Y" if years and int(years[1]) > _OLDEST else text
