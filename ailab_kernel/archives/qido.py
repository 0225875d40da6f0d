"""Search by QIDO-RS (PS3.18 section 10.6): matching keys to queries, pages to attributes by keyword.

A query may be looser than the question, because the archive judges every answer again. That carries it past servers
that do not decode percent-encoding: Orthanc's DICOMweb plugin 1.7 finds nothing for ``CT%20chest``. A character that
would have to be encoded is therefore asked for as a wildcard (``CT?chest``), and so is a letter of free text, whose
case does not matter to us but does to servers.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

from pydicom.datadict import tag_for_keyword

from .matching import FREE_TEXT, Condition
from .server import Server, answers

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
FIELDS = {
    "studies": ("StudyInstanceUID", "StudyDescription", "StudyDate", "ModalitiesInStudy",
                "NumberOfStudyRelatedInstances"),
    "series": ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription", "SeriesNumber",
               "BodyPartExamined", "NumberOfSeriesRelatedInstances"),
    "instances": IDENTITY,
}
_PAGE = 200
_ANY_CASE = re.compile(r"[^0-9._~*?-]")
_UIDS_AT_ONCE = 50                             # 50 UIDs of 64 characters keep a URL below 4 KiB
_ENCODED, _FOREIGN = re.compile(r"[^A-Za-z0-9._~*?-]"), re.compile(r"[^\x00-\x7f]+")
COUNTS = ("NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances")

Attributes = dict[str, str | tuple[str, ...]]


def find(client: "DICOMwebClient", conditions: Iterable[Condition], *, server: Server, level: str) -> list[Attributes]:
    """Every answer at ``level`` ("studies", "series", "instances"), once, whatever the server's page size."""
    found: dict[tuple, Attributes] = {}
    for query in queries(conditions):
        for one in _pages(client, server, level, query):
            found.setdefault(_key(one), one)
    return list(found.values())


def queries(conditions: Iterable[Condition], *, separator: str = ",") -> Iterator[dict[str, str]]:
    """Search filters that together ask for the conditions or more: lists of UIDs as such (PS3.4 C.2.2.2.2, parted by
    ``separator``), other lists value by value.
    """
    conditions = tuple(conditions)
    for values in product(*(_values(one, separator) for one in conditions)):
        yield {one.keyword: value for one, value in zip(conditions, values, strict=True)}


def _values(one: Condition, separator: str) -> list[str]:
    if one.vr != "UI":
        unsure = _ANY_CASE if one.keyword in FREE_TEXT else _ENCODED
        return [unsure.sub("?", _FOREIGN.sub("*", value)) for value in one.values]
    return [separator.join(one.values[begin:begin + _UIDS_AT_ONCE])
            for begin in range(0, len(one.values), _UIDS_AT_ONCE)]


def _pages(client: "DICOMwebClient", server: Server, level: str, query: dict[str, str]) -> Iterator[Attributes]:
    """Page after page until one brings nothing new: servers cap pages as they like, and some ignore the offset."""
    ask: Callable[..., list[dict[str, Any]]] = getattr(client, f"search_for_{level}")
    fields = list(dict.fromkeys((*FIELDS[level], *query)))
    seen: set[tuple] = set()
    offset = 0
    while True:
        with answers(server, "search", missing=f"{server.base} is no DICOMweb service; check the path in its URL"):
            page = ask(limit=_PAGE, offset=offset, fields=fields, search_filters=query)
        new = {_key(one): one for one in (_attributes(item, fields) for item in page)}
        fresh = new.keys() - seen
        if not fresh:
            return
        yield from (new[key] for key in new if key in fresh)
        seen |= fresh
        offset += len(page)


def _key(one: Attributes) -> tuple:
    return tuple(one.get(keyword) for keyword in IDENTITY)


def _attributes(item: dict[str, Any], keywords: Iterable[str]) -> Attributes:
    """DICOM JSON (PS3.18 annex F) by keyword; what the server left out is left out."""
    found: Attributes = {}
    for keyword in keywords:
        element = item.get(f"{tag_for_keyword(keyword):08X}")
        if element is not None:
            values = tuple(_text(value) for value in element.get("Value") or ())
            found["instances" if keyword in COUNTS else keyword] = (
                values if keyword == "ModalitiesInStudy" else "\\".join(values))
    return found


def _text(value: Any) -> str:
    if isinstance(value, dict):                # PN: the alphabetic group is the one that matching is about
        return str(value.get("Alphabetic", ""))
    return "" if value is None else str(value).strip()
