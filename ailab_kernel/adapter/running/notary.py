"""Storage commitment as its SCP (PS3.4 annex J): what was asked is written down, checked, and answered by a call back.

An instance is vouched for when it is in the ledger and its file still has its digest.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from ailab_kernel.adapter.ledger import KEPT, Commitment, Commitments
from ailab_kernel.adapter.receive import Callers, Inbox
from ailab_kernel.adapter.receive.contexts import COMMITMENT
from ailab_kernel.adapter.receive.message import FAILED, SUCCESS
from ailab_kernel.archives.dimse.association import associate, context
from ailab_kernel.archives.dimse.peer import Peer
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.dicom.part10 import file_head
from ailab_kernel.ground.errors import AilabError, DicomError

_INSTANCE = "1.2.840.10008.1.20.1.1"           # Storage Commitment Push Model SOP Instance (PS3.4 J.3.5)
_ITEMS, _LEAST_BYTES = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"), 40    # an item names a class and an instance
_ALL, _SOME = 1, 2                             # Event Type ID (PS3.4 table J.3-2)
_ABSENT, _OTHER_CLASS, _UNABLE = 0x0112, 0x0119, 0x0110         # Failure Reason (0008,1197), PS3.4 J.3.3.1.1


@dataclass(frozen=True)
class Notary:
    """Takes requests, and answers what is due.

    Attributes
    ----------
    callers
        Who may ask, and where each takes the answer.
    """

    inbox: Inbox
    callers: Callers

    def take(self, data: bytes, syntax: str, caller: str) -> int:
        """Write a request down and return the status for the one who asks (N-ACTION)."""
        if self._reply(caller) is None or any(data.count(item) * _LEAST_BYTES > len(data) for item in _ITEMS):
            return FAILED                      # of empty items pydicom makes a thousand times their bytes
        try:
            with guarded("storage commitment"):
                ds = dcmread(BytesIO(file_head(COMMITMENT, _INSTANCE, syntax=syntax) + data))
                asked = [(str(one.ReferencedSOPClassUID), str(one.ReferencedSOPInstanceUID))
                         for one in ds.ReferencedSOPSequence]  # fmt: skip
                transaction = str(ds.TransactionUID)
        except DicomError:
            return FAILED
        Commitments(self.inbox.ledger).ask(transaction, caller, asked)
        return SUCCESS

    def round(self, now: float | None = None) -> int:
        """Answer what is due and return how many took their answer."""
        book, told = Commitments(self.inbox.ledger), 0
        for one in book.due(time.time() if now is None else now):
            try:
                self._tell(one)
            except AilabError as error:
                book.settle(one, reason=str(error))
            else:
                book.settle(one)
                told += 1
        return told

    def _tell(self, one: Commitment) -> None:
        """Call back and report (N-EVENT-REPORT), as SCP of the class on an association that we open."""
        from pynetdicom import build_role

        place = self._reply(one.caller)
        if place is None:
            return                             # no longer a caller: nobody is there to be told
        peer = Peer(*place, called=one.caller, calling=self.callers.called)
        with associate(peer, [context(COMMITMENT)], negotiation=[build_role(COMMITMENT, scp_role=True)]) as association:
            event, report = self._report(one)
            status, _ = association.send_n_event_report(report, event, COMMITMENT, _INSTANCE)
            if getattr(status, "Status", None) != SUCCESS:
                msg = f"{one.caller} did not take the answer to its storage commitment request; see its log"
                raise DicomError(msg)

    def _report(self, one: Commitment) -> tuple[int, Dataset]:
        report = Dataset()
        report.TransactionUID = one.transaction
        failures = {uid: reason for kind, uid in one.asked if (reason := self._failure(kind, uid))}
        report.ReferencedSOPSequence = [_reference(kind, uid) for kind, uid in one.asked if uid not in failures]
        if failures:
            report.FailedSOPSequence = [_reference(kind, uid, FailureReason=failures[uid])
                                        for kind, uid in one.asked if uid in failures]  # fmt: skip
        return _SOME if failures else _ALL, report

    def _failure(self, kind: str, uid: str) -> int:
        """Return why an instance is not vouched for; 0 where it is."""
        found = self.inbox.ledger.arrivals(uid=uid, state=KEPT)
        if not found:
            return _ABSENT
        if found[0].sop_class != kind:
            return _OTHER_CLASS
        return 0 if _intact(self.inbox.path(found[0].content), found[0].syntax, found[0].content) else _UNABLE

    def _reply(self, caller: str) -> tuple[str, int] | None:
        found = next((one.reply for one in self.callers.known if one.ae == caller and one.reply), "")
        host, _, port = found.rpartition(":")
        return (host.strip("[]"), int(port)) if found else None


def _reference(kind: str, uid: str, **more: Any) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = kind, uid
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return made


def _intact(path: Path, syntax: str, content: str) -> bool:
    """Whether a kept file still is what was received."""
    digest = hashlib.sha256(syntax.encode() + b"\0")
    try:
        for part in _data_set(path):
            digest.update(part)
    except OSError:
        return False
    return digest.hexdigest() == content


def _data_set(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(140)                         # value of the file meta information's length (PS3.10 7.1)
        file.seek(144 + int.from_bytes(file.read(4), "little"))
        while part := file.read(1 << 20):
            yield part
