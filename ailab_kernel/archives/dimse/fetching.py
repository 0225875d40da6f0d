"""Retrieve by DIMSE: what to ask for, with which presentation contexts, and whether all of it came."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydicom import Dataset

from ailab_kernel.archives.qido import Attributes
from ailab_kernel.ground.errors import ArchiveError, ArchiveRefused

from .arrivals import Inbox, listening, received
from .association import CONTEXTS, GET, MOVE, PENDING, VERIFICATION, associate, check, context, described
from .peer import Peer

if TYPE_CHECKING:
    from pynetdicom.association import Association

_UIDS_AT_ONCE = 200
_DONE, _UNKNOWN_DESTINATION = 0x0000, 0xA801               # PS3.4 table C.4-2
_WARNING = 0xB000              # sub-operations complete, one or more failures (PS3.4 table C.4-2, C.4-3)
_LIVE = "1.2.840.10008.1.2.7."  # SMPTE ST 2110: streams, never stored (PS3.5 A.7)


@dataclass(frozen=True)
class Wanted:
    """Instances of one series to ask for at once, and of which SOP classes they are."""

    study_uid: str
    series_uid: str
    uids: tuple[str, ...]
    classes: tuple[str, ...]
    whole: bool

    @property
    def identifier(self) -> Dataset:
        """What a C-GET or C-MOVE names (PS3.4 C.4.2.1.4): the series, or instances of it."""
        ds = Dataset()
        ds.QueryRetrieveLevel = "SERIES" if self.whole else "IMAGE"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = self.study_uid, self.series_uid
        if not self.whole:
            ds.SOPInstanceUID = list(self.uids)
        return ds


def wanted(found: Sequence[Attributes], *, whole: bool) -> Iterator[Wanted]:
    """Instances of one series, found by C-FIND, in as few requests as their SOP classes allow.

    Each class is proposed once with every transfer syntax by itself: an acceptor chooses one of a context's (PS3.8
    9.3.3.2), and what is stored in another would be refused or transcoded.
    """
    classes = sorted({str(one.get("SOPClassUID", "")) for one in found})
    at_once = CONTEXTS // len(_syntaxes())
    study_uid, series_uid = str(found[0]["StudyInstanceUID"]), str(found[0]["SeriesInstanceUID"])
    for first in range(0, len(classes), at_once):
        some = tuple(classes[first:first + at_once])
        uids = tuple(str(one["SOPInstanceUID"]) for one in found if str(one.get("SOPClassUID", "")) in some)
        if whole and len(some) == len(classes):
            yield Wanted(study_uid, series_uid, uids, some, whole=True)
            return
        for begin in range(0, len(uids), _UIDS_AT_ONCE):
            yield Wanted(study_uid, series_uid, uids[begin:begin + _UIDS_AT_ONCE], some, whole=False)


def fetch(peer: Peer, asked: Iterable[Wanted]) -> Iterator[bytes]:
    """PS3.10 files as they arrive.

    Raises
    ------
    ArchiveError
        Unreachable or refused; or, after what came, fewer instances than the archive lists.
    """
    for one in asked:
        number = 0
        for data in received(partial(_ask, peer, one)):
            number += 1
            yield data
        if number < len(one.uids):
            raise ArchiveError(f"{peer.name} sent {number} of the {len(one.uids)} instances that it lists in series "
                               f"{one.series_uid}; see its log, and retrieve again")


def _ask(peer: Peer, one: Wanted, inbox: Inbox) -> None:
    if peer.retrieve == "move" or not _get(peer, one, inbox):
        _move(peer, one, inbox)


def _get(peer: Peer, one: Wanted, inbox: Inbox) -> bool:
    """Whether the peer offers C-GET; then everything has come."""
    from pynetdicom import build_role, evt

    storage = [context(uid, syntax) for uid in one.classes if uid for syntax in _syntaxes()]
    roles = [build_role(uid, scp_role=True) for uid in one.classes if uid]
    with associate(peer, [context(VERIFICATION), context(GET), *storage], negotiation=roles,
                   handlers=[(evt.EVT_C_STORE, inbox.take)]) as association:
        if not _accepts(association, GET):
            if peer.retrieve == "either":
                return False
            raise ArchiveRefused(f"{peer.name} does not offer C-GET; add ?retrieve=move&listen=PORT to the archive's "
                                 f"URL, and have {peer.calling} entered in the PACS as a destination at that port")
        _follow(peer, association, association.send_c_get(one.identifier, GET), inbox)
    return True


def _move(peer: Peer, one: Wanted, inbox: Inbox) -> None:
    address, port = peer.listen
    known = f"does not know {peer.calling} as a destination at {address}:{port} of this machine"
    with listening(peer, inbox) as number, associate(peer, [context(MOVE)]) as association:
        responses = association.send_c_move(one.identifier, peer.calling, MOVE, msg_id=number)
        _follow(peer, association, responses, inbox, unknown=known)


def _follow(peer: Peer, association: "Association", responses: Iterator[tuple[Any, Any]], inbox: Inbox, *,
            unknown: str = "") -> None:
    """Go through the responses to the last; ``unknown`` is what a refused C-MOVE mostly means."""
    for status, _ in responses:
        if inbox.stopped:
            association.abort()
            return
        code = int(status.get("Status", _DONE))
        if code == _UNKNOWN_DESTINATION:
            raise ArchiveRefused(f"{peer.name} {unknown}; have its administrator enter that")
        if code == _WARNING:
            failed = status.get("NumberOfFailedSuboperations", "some")
            raise ArchiveRefused(f"{peer.name} could not send {failed} instances ({described(_WARNING)}); see its log")
        if unknown and code not in (_DONE, *PENDING):
            raise ArchiveRefused(f"{peer.name} refused to move instances ({described(code)}); perhaps it {unknown}: "
                                 "see its log")
        check(peer, "retrieve", status)


def _accepts(association: "Association", model: str) -> bool:
    return any(one.abstract_syntax == model for one in association.accepted_contexts)


def _syntaxes() -> list[str]:
    from pynetdicom import ALL_TRANSFER_SYNTAXES

    return [syntax for syntax in ALL_TRANSFER_SYNTAXES if not syntax.startswith(_LIVE)]
