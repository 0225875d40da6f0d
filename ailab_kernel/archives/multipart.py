"""Parts of a ``multipart/related`` answer (RFC 2046 section 5.1), one by one as they arrive, each bounded, none parsed.

A part that says its Content-Length is read in one piece: nothing is copied, no boundary looked for among pixels. What
follows must then be a delimiter, and the last one must close: an answer that was cut off is never a short series.
"""

import re
from collections.abc import Callable, Iterator
from email.message import Message

from ailab_kernel.dicom.parsing import MAX_BYTES
from ailab_kernel.ground.errors import ArchiveError, ArchiveUnreachable

_HEADERS = 1 << 14             # longest preamble or part header, bytes
_BLOCK = 1 << 18
_FIRST_HEADER = 96
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,12})[ \t]*\r\n", re.IGNORECASE)

Read = Callable[[int], bytes]


def parts(read: Read, content_type: str, *, limit: int = MAX_BYTES) -> Iterator[bytes]:
    """Bodies of the parts; an answer that is one ``application/dicom`` is the only part.

    Parameters
    ----------
    read
        Gives up to so many bytes, none at the end.
    content_type
        Of the answer, with its boundary.
    limit
        Largest part that is accepted, in bytes.

    Raises
    ------
    ArchiveError
        The answer is no such message, or a part is larger than ``limit``.
    ArchiveUnreachable
        It ends before its closing delimiter.
    """
    header = Message()
    header["Content-Type"] = content_type
    kind, boundary = header.get_content_type(), header.get_boundary()
    if kind == "application/dicom":
        yield _Stream(read).rest(limit)
    elif kind.startswith("multipart/") and boundary:
        yield from _parts(_Stream(read), b"\r\n--" + boundary.encode("ascii", "replace"), limit)
    else:
        raise ArchiveError(f"the answer is {kind}, expected multipart/related; check the path in the archive's URL")


class _Stream:
    """Bytes in order; what was read too far waits for the next question."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._ahead = b""

    def exactly(self, size: int) -> bytes:
        """So many bytes."""
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        while len(data) < size:
            more = self._more(size - len(data))
            data = data + more if data else more
        return data

    def until(self, mark: bytes, limit: int, *, guess: int = _BLOCK, begin: bytes = b"") -> bytes:
        """Up to and with ``mark``; ``begin`` is put before what comes, ``guess`` is how much that may be."""
        data, self._ahead, searched = bytearray(begin + self._ahead), b"", 0
        while (at := data.find(mark, searched)) < 0:
            if len(data) > limit + len(mark):
                raise ArchiveError(f"a part of the answer has more than the {limit} bytes accepted")
            searched = max(0, len(data) - len(mark) + 1)
            data += self._more(max(guess - len(data), len(mark)))
        end = at + len(mark)
        self._ahead = bytes(memoryview(data)[end:])
        return bytes(memoryview(data)[:end])

    def rest(self, limit: int) -> bytes:
        """Everything that is left."""
        blocks, size = [], 0
        while block := self._read(_BLOCK):
            blocks.append(block)
            size += len(block)
            if size > limit:
                raise ArchiveError(f"the answer has more than the {limit} bytes accepted")
        return b"".join(blocks)

    def _more(self, size: int) -> bytes:
        data = self._read(size)
        if not data:
            raise ArchiveUnreachable("the answer broke off in the middle; retrieve it again")
        return data


def _parts(stream: _Stream, mark: bytes, limit: int) -> Iterator[bytes]:
    stream.until(mark, _HEADERS, guess=len(mark), begin=b"\r\n")   # the first delimiter has no line break of its own
    guess = _FIRST_HEADER
    while not _closed(stream.exactly(2)):
        head = stream.until(b"\r\n\r\n", _HEADERS, guess=guess, begin=b"\r\n")
        guess = len(head)                      # the next one is mostly as long: nothing is read ahead of its body
        length = _LENGTH.search(head)
        if length is None:
            yield stream.until(mark, limit)[:-len(mark)]
            continue
        size = int(length[1])
        if size > limit:
            raise ArchiveError(f"a part of the answer has {size} bytes, more than the {limit} accepted")
        body = stream.exactly(size)
        if stream.exactly(len(mark)) != mark:
            raise ArchiveError(f"a part of the answer is not as long as it says ({size} bytes); see the archive's log")
        yield body


def _closed(after: bytes) -> bool:
    """Whether what follows a delimiter closes the message."""
    if after not in (b"\r\n", b"--"):
        raise ArchiveError("the answer is no multipart message: a delimiter ends in neither a line break nor --")
    return after == b"--"
