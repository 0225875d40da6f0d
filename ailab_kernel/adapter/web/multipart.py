"""A ``multipart/related`` body (RFC 2046 section 5.1) as it arrives: parts go on in pieces, and none is whole here.

A body that was cut off has no closing delimiter: it is an error, never a shorter message.
"""

from collections.abc import Mapping
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Protocol

from ailab_kernel.ground.errors import ProtocolBroken

_HEADERS = 1 << 14                             # longest preamble or part header, bytes
_PADDING = 256                                 # spaces that may follow a delimiter


class Sink(Protocol):
    """Where parts go."""

    def begin(self, headers: Mapping[str, str]) -> None:
        """Take a new part's headers, names in lower case."""

    def write(self, part: memoryview) -> None:
        """Take some of its body."""

    def end(self) -> None:
        """Take its end."""


def boundary_of(content_type: str) -> tuple[str, bytes]:
    """Return a body's media type and the boundary of its parts; empty where it has none."""
    header = Message()
    header["Content-Type"] = content_type
    return header.get_content_type(), (header.get_boundary() or "").encode("ascii", "replace")


class Parts:
    """Takes a body in pieces of any size.

    Parameters
    ----------
    boundary
        From the body's Content-Type.
    sink
        Is told of each part.
    """

    def __init__(self, boundary: bytes, sink: Sink) -> None:
        self._mark = b"\r\n--" + boundary
        self._sink = sink
        self._held = b"\r\n"                   # the first delimiter has no line break of its own
        self._step = self._preamble

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        Raises
        ------
        ProtocolBroken
            It is no such message.
        """
        data, self._held = self._held + piece, b""
        at: int | None = 0
        while at is not None:
            at = self._step(data, at)

    def close(self) -> None:
        """Take the body's end; ProtocolBroken where it comes before the closing delimiter."""
        if self._step != self._epilogue:
            msg = "the body ends before its closing delimiter"
            raise ProtocolBroken(msg)

    # each step takes data from a place on, and returns where the next begins, or None when more must come
    def _preamble(self, data: bytes, at: int) -> int | None:
        found = data.find(self._mark, at)
        if found < 0:
            return self._keep(data, at, _HEADERS + len(self._mark))
        self._step = self._delimiter
        return found + len(self._mark)

    def _delimiter(self, data: bytes, at: int) -> int | None:
        if data[at:at + 2] == b"--":
            self._step = self._epilogue
            return None
        line = data.find(b"\r\n", at)
        if line < 0:
            return self._keep(data, at, _PADDING)
        if data[at:line].strip(b" \t"):
            msg = "a delimiter of the body ends in neither a line break nor --"
            raise ProtocolBroken(msg)
        self._step = self._headers
        return line                            # with its line break: a part may have no headers

    def _headers(self, data: bytes, at: int) -> int | None:
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            return self._keep(data, at, _HEADERS)
        found = BytesHeaderParser().parsebytes(data[at + 2:end + 2] + b"\r\n")
        self._step = self._body
        self._sink.begin({name.lower(): str(value) for name, value in found.items()})
        return end + 4

    def _body(self, data: bytes, at: int) -> int | None:
        found = data.find(self._mark, at)
        end = found if found >= 0 else max(at, len(data) - len(self._mark) + 1)
        if end > at:
            self._sink.write(memoryview(data)[at:end])
        if found < 0:
            return self._keep(data, end, len(self._mark))
        self._sink.end()
        self._step = self._delimiter
        return found + len(self._mark)

    def _epilogue(self, data: bytes, at: int) -> int | None:
        return None

    def _keep(self, data: bytes, at: int, most: int) -> int | None:
        """Hold back what may be the beginning of something until more has come."""
        if len(data) - at > most:
            msg = "a part's header, or what is before the first part, is too long"
            raise ProtocolBroken(msg)
        self._held = data[at:]
        return None
