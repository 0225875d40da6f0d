"""The listening socket: a thread for each peer that speaks, bounded in number; who says nothing makes room."""

import errno
import selectors
import socket
import ssl
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from ailab_kernel.ground.errors import SettingsError

from .association import Association, Commit, Limits
from .callers import STRANGER, Callers
from .inbox import Inbox
from .refusals import Refusals
from .stream import Stream

_STACK_BYTES = 512 << 10
_MOST_OPENING = 256                            # connected, and no association yet
_OUT_OF_FILES, _PAUSE_S = {errno.EMFILE, errno.ENFILE}, 0.05
_LOOK_S = 1.0                                  # how often who has said nothing for too long is looked for


@dataclass(frozen=True)
class Place:
    """Where to listen.

    Attributes
    ----------
    associations
        How many may be open at once; the next is told to come back later.
    tls
        Context that shows our certificate (PS3.15 annex B); None: plain.
    """

    host: str = "127.0.0.1"
    port: int = 11112
    associations: int = 64
    tls: ssl.SSLContext | None = field(default=None, repr=False)


class Receiver:
    """A storage SCP that runs until it is closed.

    Parameters
    ----------
    place
        Where it listens.
    inbox
        Where instances go.
    callers
        Who may connect.
    limits
        What one peer may cost.
    commit
        See `Association`; None: storage commitment is refused.
    refusals
        Is told who was turned away.
    """

    def __init__(
        self, place: Place, inbox: Inbox, callers: Callers, *, limits: Limits | None = None,
        commit: Commit | None = None, refusals: Refusals | None = None,
    ) -> None:  # fmt: skip
        self._place, self._inbox, self._callers, self._limits = place, inbox, callers, limits or Limits()
        self._commit, self._refusals = commit, refusals
        self._opening: OrderedDict[socket.socket, None] = OrderedDict()
        self._silent: dict[socket.socket, tuple[str, float]] = {}      # of those who has said nothing, since when
        self._ready = selectors.DefaultSelector()
        self._open: set[Association] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._socket = self._listening()
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, name="receiver", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, *, patience_s: float = 30.0) -> None:
        """Take no more, let messages under way end, and end the associations."""
        self._closing = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            resting, threads = list(self._open), list(self._threads)
            for sock in self._opening:
                _hang_up(sock)
        for one in resting:
            one.stop()
        for thread in threads:
            thread.join(patience_s)

    def _listening(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._place.host else socket.AF_INET
        try:
            return socket.create_server((self._place.host, self._place.port), family=family, backlog=512)
        except OSError as error:
            msg = (f"cannot listen on {self._place.host}:{self._place.port} ({error.strerror}); end what uses the "
                   "port, or give another: listen = \"ADDRESS:PORT\"")  # fmt: skip
            raise SettingsError(msg) from None

    def _accept(self) -> None:
        threading.stack_size(_STACK_BYTES)
        with self._ready:
            self._ready.register(self._socket, selectors.EVENT_READ)
            while not self._closing:
                spoke = [key.fileobj for key, _ in self._ready.select(_LOOK_S)]
                for sock in spoke:
                    if sock is self._socket:
                        self._let_in()
                    elif sock in self._silent:             # else it has made room meanwhile
                        self._begin(sock)
                early = time.monotonic() - self._limits.request_s
                for sock in [one for one, (_, since) in self._silent.items() if since < early]:
                    self._forget(sock)

    def _let_in(self) -> None:
        """Take a connection; it gets a thread when it says something."""
        try:
            sock, (address, *_) = self._socket.accept()
            if not self._callers.may_connect(address):
                _hang_up(sock)
                self._refused(address, STRANGER)
                return
            sock = self._secured(sock)
        except OSError as error:               # closed, out of descriptors, or the peer is gone already
            if error.errno in _OUT_OF_FILES:   # the socket stays ready: looking again at once would take a whole core
                time.sleep(_PAUSE_S)
            return
        with self._lock:
            oldest = next(iter(self._opening)) if len(self._opening) >= _MOST_OPENING else None
            self._opening[sock] = None
        if oldest:
            self._forget(oldest)
        self._silent[sock] = (address, time.monotonic())
        self._ready.register(sock, selectors.EVENT_READ)

    def _forget(self, sock: socket.socket) -> None:
        """Hang up on a peer that has no association."""
        if self._silent.pop(sock, None):
            self._ready.unregister(sock)
        with self._lock:
            self._opening.pop(sock, None)
        _hang_up(sock)

    def _secured(self, sock: socket.socket) -> socket.socket:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(self._limits.request_s)
        tls = self._place.tls
        return tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) if tls else sock

    def _begin(self, sock: socket.socket) -> None:
        """Give a peer that speaks a thread."""
        address, _ = self._silent.pop(sock)
        self._ready.unregister(sock)
        thread = threading.Thread(target=self._serve, args=(sock, address), daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _serve(self, sock: socket.socket, address: str) -> None:
        one = Association(Stream(sock), address, self._inbox, self._callers, limits=self._limits, admit=self._admit,
                          commit=self._commit, refused=lambda why: self._refused(address, why))  # fmt: skip
        try:
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            one.serve()
        except ssl.SSLError as error:
            self._refused(address, f"TLS: {str(error.reason or 'broken').lower().replace('_', ' ')}")
        except OSError:                        # gone, or silent
            pass
        finally:
            _hang_up(sock)
            with self._lock:
                self._opening.pop(sock, None)
                self._open.discard(one)
                self._threads.discard(threading.current_thread())

    def _refused(self, address: str, why: str) -> None:
        if self._refusals:
            self._refusals.note("dimse", address, why=why)

    def _admit(self, one: Association) -> bool:
        """Count an association in; False when as many are open as there may be."""
        with self._lock:
            self._opening.pop(one.stream.sock, None)
            if self._closing or len(self._open) >= self._place.associations:
                return False
            self._open.add(one)
            return True


def _hang_up(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
