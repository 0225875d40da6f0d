"""Instances as a DIMSE peer sends them, by C-GET or by C-MOVE to a storage SCP of our own (PS3.4 C.4.2, C.4.3).

Either way a thread of its own speaks with the peer, and what arrives waits in an :class:`Inbox` of bounded size until
it is taken. An instance stays as it was encoded: its PS3.10 file is the peer's data set behind a new file meta group.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from socketserver import BaseServer
from typing import TYPE_CHECKING, Any

from ailab_kernel.dicom.part10 import file_head
from ailab_kernel.ground.errors import ArchiveError

from .association import application, context, wiring
from .peer import Peer

if TYPE_CHECKING:
    from pynetdicom.events import Event

_AHEAD_BYTES = 256 << 20       # that may wait to be taken; then the peer waits
_DONE, _REFUSED = 0x0000, 0xA700
_MESSAGES = 1 << 16
_LOOK_S = 0.5
_POLL_S = 0.02                 # how soon our storage SCP ends; the library would wait half a second


class Inbox:
    """Files on their way from the thread that receives to the one that reads."""

    def __init__(self) -> None:
        self._files: deque[bytes] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._ended = False
        self.stopped = False
        self.error: BaseException | None = None

    def __enter__(self) -> "Inbox":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Whatever ends the asking is kept for the one who reads."""
        self.error = error
        self.end()
        return True

    def take(self, event: "Event") -> int:
        """Answer a C-STORE: keep the instance, wait for room; refuse it when nobody reads any more."""
        data = _file(event)
        with self._changed:
            while self._files and self._waiting >= _AHEAD_BYTES and not self.stopped:
                self._changed.wait(_LOOK_S)
                self.stopped = self.stopped or not threading.main_thread().is_alive()      # nobody will read any more
            if self.stopped:
                event.assoc.abort()
                return _REFUSED
            self._files.append(data)
            self._waiting += len(data)
            self._changed.notify_all()
        return _DONE

    def end(self, *, stopped: bool = False) -> None:
        """Nothing more comes; ``stopped``: nothing more is wanted."""
        with self._changed:
            self._ended, self.stopped = True, self.stopped or stopped
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._files or self._ended)
                if not self._files:
                    return
                data = self._files.popleft()
                self._waiting -= len(data)
                self._changed.notify_all()
            yield data


def _file(event: "Event") -> bytes:
    """PS3.10 file of a C-STORE: its data set as it was sent.

    The library's own would take a third of the time of a whole retrieval.
    """
    request: Any = event.request
    head = file_head(str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID),
                     syntax=str(event.context.transfer_syntax))  # fmt: skip
    return head + request.DataSet.getvalue()


def received(ask: Callable[[Inbox], None]) -> Iterator[bytes]:
    """PS3.10 files that ``ask`` makes the peer send; it runs in a thread, and its error comes after what arrived."""
    inbox = Inbox()

    def _asking() -> None:
        with inbox:
            ask(inbox)

    thread = threading.Thread(target=_asking, daemon=True)     # a stream that nobody reads to its end holds no exit up
    thread.start()
    try:
        yield from inbox
        if inbox.error is not None:
            raise inbox.error
    finally:
        if not sys.is_finalizing():            # then no other thread runs any more, and none would be waited for
            inbox.end(stopped=True)
            thread.join()


@dataclass
class _Listener:
    """A storage SCP and the retrievals that wait on it, by the message ID of their C-MOVE."""

    server: Any = None
    inboxes: dict[int, Inbox] = field(default_factory=dict)

    def take(self, event: "Event") -> int:
        """Hand an instance to the retrieval that caused it; what nobody asked for is refused."""
        cause = getattr(event.request, "MoveOriginatorMessageID", None)
        with _LOCK:
            inbox = self.inboxes.get(cause) if cause else None
            if cause is None and len(self.inboxes) == 1:       # the peer does not say: it can be but this one
                inbox, = self.inboxes.values()
        return _REFUSED if inbox is None else inbox.take(event)


_LOCK = threading.RLock()
_LISTENERS: dict[tuple[str, int], _Listener] = {}
_NUMBERS = count(1)


@contextmanager
def listening(peer: Peer, inbox: Inbox) -> Iterator[int]:
    """Our storage SCP for the block; retrievals of one process share it. Yields the message ID for the C-MOVE.

    Raises
    ------
    ArchiveError
        The port is taken.
    """
    with _LOCK:
        listener = _LISTENERS.get(peer.listen) or _LISTENERS.setdefault(peer.listen, _start(peer))
        number = next(_NUMBERS) % (_MESSAGES - 1) + 1
        listener.inboxes[number] = inbox
    try:
        yield number
    finally:
        with _LOCK:
            del listener.inboxes[number]
            if not listener.inboxes:
                del _LISTENERS[peer.listen]
                BaseServer.shutdown(listener.server)
                listener.server.server_close()


def _start(peer: Peer) -> _Listener:
    from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt

    listener = _Listener()
    ae = application(peer)
    contexts = [context(one.abstract_syntax, *ALL_TRANSFER_SYNTAXES) for one in AllStoragePresentationContexts
                if one.abstract_syntax]
    try:
        listener.server = ae.make_server(
            peer.listen, ae_title=peer.calling, contexts=contexts,
            ssl_context=peer.tls.context(serving=True) if peer.tls else None,
            evt_handlers=[*wiring(peer), (evt.EVT_C_STORE, listener.take)],
        )  # fmt: skip
    except OSError as error:
        address, port = peer.listen
        raise ArchiveError(f"cannot listen on {address}:{port} for what {peer.name} moves here ({error.strerror}); end "
                           "what uses the port, or give another by ?listen= and tell the PACS") from None
    threading.Thread(target=listener.server.serve_forever, kwargs={"poll_interval": _POLL_S}, daemon=True).start()
    return listener
