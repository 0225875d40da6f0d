"""One association as acceptor (PS3.8 section 7): negotiated, served message by message, ended in order.

A data set goes from the socket to the disk in parts and is never whole in memory.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from ailab_kernel.dicom.part10 import IMPLEMENTATION
from ailab_kernel.ground.errors import AdapterError, PeerGone, ProtocolBroken

from . import message as dimse
from . import pdu
from .callers import ALERTS
from .contexts import COMMITMENT, SUPPORT, VERIFICATION, answers, is_storage
from .inbox import Inbox, Label
from .stream import Stream
from .taking import Taking

if TYPE_CHECKING:
    from .callers import Callers

MAXIMUM = 1 << 20                              # P-DATA-TF that we take, bytes
_COMMAND, _LAST = 1, 2                         # bits of a PDV's control header (PS3.8 annex E.2)
_BUSY = (2, 3, 2)                              # A-ASSOCIATE-RJ: local limit exceeded (PS3.8 table 9-21)
_INVALID, _UNEXPECTED = 6, 2                   # reasons of A-ABORT (PS3.8 table 9-26)
_COMMENTS = {
    dimse.SUCCESS: "", dimse.NO_RESOURCES: "no space or no ledger; send again later",
    dimse.NOT_AUTHORIZED: "this AE may not store here", dimse.UNKNOWN_CLASS: "not the class of the context",
    dimse.UNKNOWN_OPERATION: "no such operation here",
}  # fmt: skip


Commit = Callable[[bytes, str, str], int]


@dataclass(frozen=True)
class Limits:
    """What one peer may cost.

    Attributes
    ----------
    request_s
        Until a connected peer has asked for an association (ARTIM, PS3.8 9.1.5), seconds.
    silence_s
        Between two reads within a message, seconds.
    idle_s
        Between two messages, seconds.
    instance_bytes
        Longest data set.
    """

    request_s: float = 10.0
    silence_s: float = 30.0
    idle_s: float = 300.0
    instance_bytes: int = 8 << 30


@dataclass
class Fragment:
    """One presentation data value: ``left`` bytes of it are still to be read."""

    context: int
    command: bool
    last: bool
    left: int


class _Ended(Exception):
    """The peer released or aborted."""


@dataclass(eq=False)
class Association:
    """A connected peer.

    Attributes
    ----------
    stream, address
        Its socket, and where it calls from.
    inbox
        Where instances go.
    callers
        Who may do what.
    admit
        Asks whether one more association may be open.
    commit
        Takes the data set of a storage commitment request (PS3.4 J.3.2), its transfer syntax and the caller's AE title;
        returns a status.
    refused
        Is told why the peer was turned away.
    """

    stream: Stream
    address: str
    inbox: Inbox
    callers: "Callers"
    _: KW_ONLY
    limits: Limits = field(default_factory=Limits)
    admit: Callable[["Association"], bool] = lambda _: True
    commit: Commit | None = None
    refused: Callable[[str], None] = lambda _: None
    resting: bool = field(default=True, init=False)          # no message is under way
    _left: int = field(default=0, init=False)

    def serve(self) -> None:
        """Serve the peer until it goes; what it breaks ends this association only."""
        with suppress(OSError):                # whoever is gone needs no answer
            try:
                if self._open():
                    while True:
                        self._message()
            except _Ended:
                pass
            except ProtocolBroken:
                self._send(pdu.abort(_INVALID))
            except PeerGone:
                self._send(pdu.abort())

    def stop(self) -> None:
        """End an association that rests; one in a message ends it first."""
        if self.resting:
            with suppress(OSError):
                self.stream.sock.sendall(pdu.abort())
                self.stream.sock.shutdown(socket.SHUT_RDWR)

    # the upper layer
    def _open(self) -> bool:
        """Answer the association request; whether it was accepted."""
        self.stream.sock.settimeout(self.limits.request_s)
        kind, length = self._head()
        if kind != pdu.ASSOCIATE_RQ:
            self._send(pdu.abort(_UNEXPECTED))
            return False
        if length > pdu.LONGEST_REQUEST:
            msg = f"an association request of {length} bytes"
            raise ProtocolBroken(msg)
        request = pdu.read_request(self.stream.take(length))
        no = self.callers.refusal(request, self.address) or (None if self.admit(self) else _BUSY)
        if no:
            self._send(pdu.reject(*no))
            if no in ALERTS:
                self.refused(ALERTS[no])
            return False
        given = answers(request.proposals)
        abstract = {one.number: one.abstract for one in request.proposals}
        self._contexts = {one.number: (abstract[one.number], one.syntax) for one in given if one.result == 0}
        self._calling, self._sender = request.calling, f"{request.calling}@{self.address}"
        self._may_store = self.callers.may_store(request.calling, self.address)
        self.stream.grow()
        self._send(pdu.accept(request, given, maximum=MAXIMUM, implementation=IMPLEMENTATION, support=SUPPORT))
        return True

    def _head(self) -> tuple[int, int]:
        kind, _, length = struct.unpack(">BBI", self.stream.take(pdu.HEAD))
        return kind, length

    def _fragment(self) -> Fragment:
        """Return the next presentation data value, whichever PDU it comes in."""
        if not self._left:
            kind, self._left = self._head()
            if kind == pdu.RELEASE_RQ:
                self._send(pdu.released())
            if kind in (pdu.RELEASE_RQ, pdu.ABORT):
                raise _Ended
            if kind != pdu.DATA or not pdu.HEAD <= self._left <= MAXIMUM:
                msg = f"a PDU of kind {kind} and {self._left} bytes"
                raise ProtocolBroken(msg)
        length, context, control = struct.unpack(">IBB", self.stream.take(6))
        self._left -= length + 4
        if length < 2 or self._left < 0 or 0 < self._left < pdu.HEAD or context not in self._contexts:
            msg = "a presentation data value that does not fit its PDU or its context"
            raise ProtocolBroken(msg)
        return Fragment(context, bool(control & _COMMAND), bool(control & _LAST), length - 2)

    def _send(self, data: bytes) -> None:
        self.stream.sock.sendall(data)

    # messages
    def _message(self) -> None:
        self.resting = self.stream.empty
        self.stream.sock.settimeout(self.limits.idle_s)
        first = self._fragment()
        self.resting = False
        self.stream.sock.settimeout(self.limits.silence_s)
        request = dimse.read_command(self._command(first))
        field_ = int(request[dimse.FIELD])
        has_data = request.get(dimse.DATASET, dimse.NO_DATASET) != dimse.NO_DATASET
        if field_ == dimse.STORE and has_data:
            status = self._store(first.context, request)
        else:
            data = self._whole(first.context) if has_data else b""
            status = self._other(first.context, request, data)
        if field_ != dimse.CANCEL and not field_ & dimse.ANSWER:
            code, why = status
            self._send(pdu.data(first.context, dimse.answer(request, code, comment=why or _COMMENTS.get(code, ""))))

    def _command(self, fragment: Fragment) -> bytes:
        found = b""
        while True:
            if not fragment.command or len(found) + fragment.left > dimse.LONGEST_COMMAND:
                msg = "a command set that is too long, or data before its command"
                raise ProtocolBroken(msg)
            found += self.stream.take(fragment.left)
            if fragment.last:
                return found
            fragment = self._fragment()

    def _parts(self, context: int, most: int) -> Iterator[memoryview]:
        """Yield a data set as it comes, to its last fragment."""
        total = 0
        while True:
            one = self._fragment()
            total += one.left
            if one.command or one.context != context or total > most:
                msg = "a data set that is too long, or of another context than its command"
                raise ProtocolBroken(msg)
            yield from self.stream.parts(one.left)
            if one.last:
                return

    def _whole(self, context: int) -> bytes:
        return b"".join(bytes(part) for part in self._parts(context, MAXIMUM))

    def _store(self, context: int, request: dimse.Command) -> tuple[int, str]:
        abstract, syntax = self._contexts[context]
        label = Label(str(request.get(dimse.CLASS, "")), str(request.get(dimse.INSTANCE, "")), syntax, self._sender)
        refusal = dimse.UNKNOWN_CLASS if label.sop_class != abstract or not is_storage(abstract) else (
            0 if self._may_store else dimse.NOT_AUTHORIZED)  # fmt: skip
        taking = Taking(self.inbox, label, refusal=refusal)
        try:
            for part in self._parts(context, self.limits.instance_bytes):
                taking.write(part)
        except AdapterError:
            taking.drop()
            raise
        return taking.finish()

    def _other(self, context: int, request: dimse.Command, data: bytes) -> tuple[int, str]:
        (abstract, syntax), field_ = self._contexts[context], int(request[dimse.FIELD])
        if field_ == dimse.ECHO and abstract == VERIFICATION:
            return dimse.SUCCESS, ""
        if field_ == dimse.ACTION and abstract == COMMITMENT and self.commit:
            return self.commit(data, syntax, self._calling), ""
        return dimse.UNKNOWN_OPERATION, ""


