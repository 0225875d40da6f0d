"""Bytes of a socket through one buffer of fixed size: what comes in pieces is read in pieces as large as they come."""

import mmap
import socket
from collections.abc import Iterator

from ailab_kernel.ground.errors import PeerGone

_BUFFER = 1 << 20


class Stream:
    """A connected socket that is read to exact lengths and never holds more than its buffer.

    Parameters
    ----------
    sock
        Connected, plain or TLS.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._view = memoryview(bytearray(4096))         # a socket that says little costs no more
        self._start = self._end = 0

    def grow(self) -> None:
        """Take the whole buffer: the peer is one that may send."""
        kept = bytes(self._view[self._start:self._end])
        self._view = memoryview(mmap.mmap(-1, _BUFFER))  # memory only as far as it is used; a bytearray is filled
        self._view[:len(kept)] = kept
        self._start, self._end = 0, len(kept)

    @property
    def empty(self) -> bool:
        """Whether nothing was read that was not taken."""
        return self._start == self._end

    def take(self, size: int) -> bytes:
        """Return exactly so many bytes, a copy.

        Raises
        ------
        PeerGone
            The other side closed, or stayed silent beyond the socket's timeout.
        """
        return b"".join(bytes(part) for part in self.parts(size)) if size > self._end - self._start else self._cut(size)

    def parts(self, size: int) -> Iterator[memoryview]:
        """Yield so many bytes as they come; each part is valid until the next is asked for."""
        while size:
            if self._start == self._end:
                self._start, self._end = 0, self._read()
            stop = min(self._end, self._start + size)
            size -= stop - self._start
            begin, self._start = self._start, stop
            yield self._view[begin:stop]

    def _cut(self, size: int) -> bytes:
        begin, self._start = self._start, self._start + size
        return bytes(self._view[begin:self._start])

    def _read(self) -> int:
        try:
            got = self.sock.recv_into(self._view)
        except TimeoutError:
            msg = "the peer stayed silent for too long"
            raise PeerGone(msg) from None
        except OSError as error:
            msg = f"the connection broke ({error.strerror or type(error).__name__})"
            raise PeerGone(msg) from None
        if not got:
            msg = "the peer closed the connection"
            raise PeerGone(msg)
        return got
