"""Search by C-FIND in the Study Root model (PS3.4 C.6.2.1): matching keys to queries, identifiers to attributes.

As with QIDO-RS (:mod:`ailab_kernel.archives.qido`) a query may be looser than the question, because the archive judges
every answer again: a character beyond plain letters is asked for as a wildcard, which carries past character sets.
"""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR

from ailab_kernel.archives.matching import Condition
from ailab_kernel.archives.qido import COUNTS, FIELDS, IDENTITY, Attributes, queries
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import ArchiveError, DicomError

from .association import FIND, associate, check, context
from .peer import Peer

_LEVELS = {"studies": "STUDY", "series": "SERIES", "instances": "IMAGE"}
_FIELDS = FIELDS | {"instances": (*IDENTITY, "SOPClassUID")}
_RELATIONAL = b"\x01"          # byte 1 of the extended negotiation of a query model (PS3.4 table C.5.2-1)


def find(peer: Peer, conditions: Iterable[Condition], *, level: str) -> list[Attributes]:
    """Every answer at ``level`` ("studies", "series", "instances"), once.

    Raises
    ------
    ArchiveError
        Unreachable, refused, or answers that cannot be read.
    """
    proposed = [context(FIND)]
    found: dict[tuple, Attributes] = {}
    with associate(peer, proposed, negotiation=[_relational()]) as association:
        for query in queries(conditions, separator="\\"):
            identifier = _identifier(level, query)
            for status, answer in association.send_c_find(identifier, FIND):
                if check(peer, "search", status):
                    one = _attributes(peer, answer, identifier)
                    found.setdefault(tuple(one.get(keyword) for keyword in IDENTITY), one)
    return list(found.values())


def _relational() -> Any:
    """The wish to ask for series of any study and instances of any series (PS3.4 C.5.2.1)."""
    from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = FIND, _RELATIONAL
    return item


def _identifier(level: str, query: dict[str, str]) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = _LEVELS[level]
    for keyword in dict.fromkeys((*_FIELDS[level], *query)):   # a wildcard is no value of its VR, but a key
        ds.add(DataElement(keyword, dictionary_VR(keyword), query.get(keyword, ""), validation_mode=IGNORE))
    return ds


def _attributes(peer: Peer, answer: Dataset | None, asked: Dataset) -> Attributes:
    if answer is None:
        raise ArchiveError(f"{peer.name} answers a search with an identifier that cannot be read; see its log")
    try:
        with guarded("an answer to a search"), warnings.catch_warnings():
            warnings.simplefilter("ignore")    # odd values are the server's; what counts is whether they can be read
            return dict(_read(answer, asked))
    except DicomError as error:
        raise ArchiveError(f"{peer.name}: {error}") from None


def _read(answer: Dataset, asked: Dataset) -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """By keyword; what the server left out is left out, an empty value is one."""
    for keyword in (element.keyword for element in asked):
        if keyword in answer and keyword != "QueryRetrieveLevel":
            value = answer[keyword].value
            many = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
            texts = tuple("" if one is None else str(one).strip() for one in many)
            name = "instances" if keyword in COUNTS else keyword
            yield name, tuple(filter(None, texts)) if keyword == "ModalitiesInStudy" else "\\".join(texts)
