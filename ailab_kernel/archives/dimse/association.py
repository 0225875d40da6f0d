"""One DIMSE association (PS3.8), through pynetdicom: opened, named when it fails, and closed.

pynetdicom reads a socket in steps of 4 KiB, keeps Nagle's algorithm on, takes any length a peer announces and, once
connected, waits for it without end. Each association is therefore given a reader of its own: whole PDUs at once,
bounded in length and in time.
"""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ailab_kernel.dicom.parsing import MAX_BYTES
from ailab_kernel.ground.errors import ArchiveError, ArchiveRefused, ArchiveUnreachable, MissingExtra

from .peer import Peer

if TYPE_CHECKING:
    from pynetdicom import AE
    from pynetdicom.association import Association
    from pynetdicom.events import Event

_PDU_BYTES = 1 << 18            # that we ask for; a peer takes what it likes up to this
_MOST_PDU = 1 << 26            # that we take, whatever was agreed
_CONNECT_S = 5.0
_POLL_S = 1e-4                 # how soon an answer is seen; pynetdicom looks every millisecond
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)      # Linux
PENDING = (0xFF00, 0xFF01)
CONTEXTS = 126                 # for storage, of the 128 that an association may propose (PS3.8 9.3.2.2)
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
# SOP classes: Verification; Study Root Query/Retrieve Information Model - FIND, GET, MOVE (PS3.4 table C.6.2.3-1).
VERIFICATION = "1.2.840.10008.1.1"
FIND, GET, MOVE = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2"
# Source and reason of A-ASSOCIATE-RJ (PS3.8 table 9-21).
_REJECTED = {
    (1, 2): "it does not know DICOM's application context; check that the port is a DICOM port",
    (1, 3): "it does not know the calling AE title; have its administrator enter {calling}, or give another before @",
    (1, 7): "it is not called {called}; check the AE title at the end of the archive's URL",
    (2, 2): "it does not know this version of the protocol; check that the port is a DICOM port",
    (3, 1): "it is too busy; try again later",
    (3, 2): "it has as many associations as it takes; try again later",
}


def context(uid: str, *syntaxes: str) -> Any:
    """Presentation context for one SOP class, in these transfer syntaxes (default: :data:`SYNTAXES`)."""
    try:
        from pynetdicom import build_context
    except ModuleNotFoundError as error:
        raise MissingExtra(f"a dimse: archive needs {error.name}; pip install 'ailab-kernel[dimse]'") from error
    return build_context(uid, list(syntaxes or SYNTAXES))


def application(peer: Peer) -> "AE":
    """Our own application entity, with its limits."""
    from pynetdicom import AE, _config

    # No formatting of every message for a log that nobody reads, and no patient's name in it.
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    made = AE(peer.calling)
    made.maximum_pdu_size = _PDU_BYTES
    made.connection_timeout = min(_CONNECT_S, peer.timeout_s)
    made.acse_timeout = made.dimse_timeout = made.network_timeout = peer.timeout_s
    return made


@contextmanager
def associate(peer: Peer, contexts: Sequence[Any], *, negotiation: Sequence[Any] = (), handlers: Sequence[Any] = ()
              ) -> "Iterator[Association]":
    """An association for the block; released after it, aborted when it fails.

    Parameters
    ----------
    contexts
        Presentation contexts to propose.
    negotiation
        Items of extended negotiation: roles (PS3.7 D.3.3.4), relational queries (PS3.4 C.5.2.1).
    handlers
        pynetdicom's (event, handler) pairs.

    Raises
    ------
    ArchiveUnreachable
        Nobody answers.
    ArchiveRefused
        The association is rejected; the reason is told.
    """
    try:
        association = application(peer).associate(
            peer.host, peer.port, contexts=list(contexts), ae_title=peer.called, max_pdu=_PDU_BYTES,
            ext_neg=list(negotiation), evt_handlers=[*wiring(peer), *handlers],
            tls_args=(peer.tls.context(), peer.host) if peer.tls else None,
        )  # fmt: skip
    except (OSError, UnicodeError):            # a name that does not resolve, or is none
        raise ArchiveUnreachable(f"nobody knows the host of {peer.name}; check its name in the archive's URL") from None
    if not association.is_established:
        raise _refusal(peer, association)
    gate = _Gate()
    association._reactor_checkpoint = gate
    gate.reached.wait(peer.timeout_s)
    try:
        yield association
        gate.held = False
        association.release()
    finally:
        gate.held = False
        gate.set()
        if association.is_alive():
            association.abort()


def _refusal(peer: Peer, association: "Association") -> ArchiveError:
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        reason = _REJECTED.get((int(answer.result_source or 0), int(answer.diagnostic or 0)), "it gives no reason")
        told = reason.format(calling=peer.calling, called=peer.called)
        return ArchiveRefused(f"{peer.name} rejects the association: {told}")
    if answer is not None and not association.accepted_contexts and association.rejected_contexts:
        return ArchiveRefused(f"{peer.name} offers nothing of what was asked; see its DICOM conformance statement")
    secure = ", that both sides speak TLS and trust each other's certificates" if peer.tls else ""
    return ArchiveUnreachable(f"no DICOM answer from {peer.name}; check host and port in the archive's URL, that the "
                              f"archive runs, and the firewall{secure}")


def check(peer: Peer, act: str, status: Any) -> bool:
    """Whether a response (with its Status) says that more is to come; refusals and lost connections are errors."""
    if "Status" not in status:
        raise ArchiveUnreachable(f"no answer from {peer.name} to {act}; try again, or give it longer with ?timeout=")
    code = int(status.Status)
    if code in PENDING:
        return True
    if code != 0:
        raise ArchiveRefused(f"{peer.name} refused to {act} ({described(code)}); see its log")
    return False


def described(code: int) -> str:
    """A status of PS3.7 annex C or PS3.4, in words."""
    from pynetdicom.status import QR_MOVE_SERVICE_CLASS_STATUS, STORAGE_SERVICE_CLASS_STATUS

    words = (STORAGE_SERVICE_CLASS_STATUS | QR_MOVE_SERVICE_CLASS_STATUS).get(code, ("", ""))[1]
    return f"status {code:#06x}{f', {words.lower()}' if words else ''}"


def wiring(peer: Peer) -> list[Any]:
    """Handlers that give each association its reader."""
    from pynetdicom import evt

    return [(evt.EVT_CONN_OPEN, _wire, [peer.timeout_s]), (evt.EVT_DIMSE_RECV, _whole)]


class _Gate(threading.Event):
    """Keeps pynetdicom's idle loop from messages that an act of ours waits for: it stands still until we are done.

    pynetdicom pauses it for each act, but looks at a flag that may still be up from the act before; where the answer
    comes fast, the loop then takes it, and the act waits for nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held, self.reached = True, threading.Event()

    def set(self) -> None:
        """Open, once it is no longer held."""
        if not self.held:
            super().set()

    def wait(self, timeout: float | None = None) -> bool:
        """Stand still until it is open."""
        self.reached.set()
        return super().wait(timeout)


class _Reader:
    """Reads what pynetdicom asks for at once, as long as a message stays within bounds."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.since_message = 0

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes, fewer where the peer closed; an OSError ends the association."""
        self.since_message += nr_bytes
        if nr_bytes > _MOST_PDU or self.since_message > MAX_BYTES:
            raise OSError("the peer sends more than is accepted")
        data, at = bytearray(nr_bytes), 0
        view = memoryview(data)
        while at < nr_bytes:
            count = self._connection.recv_into(view[at:])
            if not count:
                return data[:at]
            at += count
        if _QUICKACK is not None:              # a peer that keeps Nagle's algorithm on waits for this before it goes on
            self._connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        return data


def _wire(event: "Event", timeout_s: float) -> None:
    outer = event.assoc.dul.socket
    assert outer is not None
    assert outer.socket is not None
    outer.socket.settimeout(timeout_s)
    outer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = _Reader(outer.socket)
    outer.recv = reader.recv                   # type: ignore[method-assign]
    event.assoc.dul._run_loop_delay = _POLL_S
    outer.ailab_reader = reader                # type: ignore[attr-defined]


def _whole(event: "Event") -> None:
    """A message is complete: the next may be as long again."""
    reader = getattr(event.assoc.dul.socket, "ailab_reader", None)
    if reader is not None:
        reader.since_message = 0
