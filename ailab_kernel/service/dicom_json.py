"""QIDO-RS both ways: query parameters to an archive's words, and what it found to DICOM JSON (PS3.18 10.6, annex F)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from ailab_kernel.archives.archive import Refused, Series, Study
from ailab_kernel.archives.matching import WORDS
from ailab_kernel.archives.qido import IDENTITY
from ailab_kernel.archives.storing import Place
from ailab_kernel.ground.errors import WrongUse

MEDIA = "application/dicom+json"
_ABOUT_THE_ANSWER = frozenset({"includefield", "limit", "offset", "fuzzymatching"})
_KEYWORDS: dict[str, dict[str, str]] = {
    "studies": {one.study: word for word, one in WORDS.items() if one.study},
    "series": {one.series: word for word, one in WORDS.items() if one.series},
    "instances": {keyword: keyword for keyword in IDENTITY},
}
_FAILED = 0x0110                               # processing failure (PS3.18 I.2.2)

STUDY: dict[str, Callable[[Study], Any]] = {
    "StudyInstanceUID": lambda one: one.uid,
    "StudyDescription": lambda one: one.description,
    "StudyDate": lambda one: one.date and one.date.strftime("%Y%m%d"),
    "ModalitiesInStudy": lambda one: list(one.modalities),
    "NumberOfStudyRelatedInstances": lambda one: one.instances,
}
SERIES: dict[str, Callable[[Series], Any]] = {
    "StudyInstanceUID": lambda one: one.study_uid,
    "SeriesInstanceUID": lambda one: one.uid,
    "Modality": lambda one: one.modality,
    "SeriesDescription": lambda one: one.description,
    "SeriesNumber": lambda one: one.number,
    "BodyPartExamined": lambda one: one.body_part,
    "NumberOfSeriesRelatedInstances": lambda one: one.instances,
}
INSTANCE: dict[str, Callable[[Place], Any]] = {
    keyword: lambda one, keyword=keyword: one[keyword] for keyword in IDENTITY   # type: ignore[misc]
}


def words(level: str, asked: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Words that an archive is searched by (at the level of instances: keywords).

    Parameters
    ----------
    level
        ``studies``, ``series`` or ``instances``.
    asked
        Query parameters; attributes by keyword or by tag in hex.

    Raises
    ------
    WrongUse
        An attribute that is not searched by: to ignore it would find too much.
    """
    found: dict[str, object] = {}
    for name, value in asked:
        if name in _ABOUT_THE_ANSWER:
            continue
        keyword = _keyword(name)
        word = _KEYWORDS[level].get(keyword)
        if word is None:
            msg = f"{level} are not searched by {keyword[:64]}; use {', '.join(sorted(_KEYWORDS[level]))}"
            raise WrongUse(msg)
        found[word] = value.split(",") if dictionary_VR(keyword) == "UI" else value
    return found


def answer(values: Iterable[Any], columns: Mapping[str, Callable[[Any], Any]]) -> list[dict[str, Any]]:
    """DICOM JSON of what was found, one mapping each."""
    return [{tag(keyword): element(keyword, read(one)) for keyword, read in columns.items()} for one in values]


def element(keyword: str, value: Any) -> dict[str, Any]:
    """One attribute; an empty one has no Value (PS3.18 F.2.5)."""
    values = value if isinstance(value, list) else [value]
    given = [one for one in values if one not in (None, "")]
    return {"vr": dictionary_VR(keyword)} | ({"Value": given} if given else {})


def tag(keyword: str) -> str:
    """Tag as eight hex digits."""
    return f"{tag_for_keyword(keyword):08X}"


def stored(sent: Mapping[str, str], refused: Iterable[Refused], unread: int) -> dict[str, Any]:
    """Response of STOW-RS (PS3.18 10.5.3, table 10.5.3-1).

    Parameters
    ----------
    sent
        SOP Class UID by SOP Instance UID.
    refused
        Those that the archive did not take.
    unread
        How many were no DICOM that we can read, or had no valid UIDs.
    """
    failed = [one.what for one in refused]
    taken = [uid for uid in sent if uid not in failed]
    bad = [{**_reference(uid, sent[uid]), tag("FailureReason"): element("FailureReason", _FAILED)}
           for uid in failed if uid in sent]  # fmt: skip
    bad += [{tag("FailureReason"): element("FailureReason", _FAILED)}] * (unread + len(failed) - len(bad))
    items = {"ReferencedSOPSequence": [_reference(uid, sent[uid]) for uid in taken], "FailedSOPSequence": bad}
    return {tag(keyword): element(keyword, some) for keyword, some in items.items() if some}


def _reference(uid: str, sop_class: str) -> dict[str, Any]:
    named = {"ReferencedSOPClassUID": sop_class, "ReferencedSOPInstanceUID": uid}
    return {tag(keyword): element(keyword, value) for keyword, value in named.items()}


def _keyword(name: str) -> str:
    """Keyword of ``name``, which may be a tag; anything else is returned as it is."""
    is_tag = len(name) == 8 and all(char in "0123456789abcdefABCDEF" for char in name)
    return keyword_for_tag(name) if is_tag else name
