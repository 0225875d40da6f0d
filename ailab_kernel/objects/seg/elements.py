"""Data elements to bytes and back (PS3.5 section 7.1, Explicit VR Little Endian), for sequences of thousands of items.

pydicom makes objects of every element: right for a header, seconds for the groups of ten thousand frames.
"""

import struct
from collections.abc import Callable, Iterator
from functools import cache

from pydicom.datadict import dictionary_VR, tag_for_keyword

_ITEM = b"\xfe\xff\x00\xe0"
_UNDEFINED = 0xFFFFFFFF
# Value representations whose length has four bytes (PS3.5 table 7.1-1).
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})

Span = tuple[int, int]


class DelimitedError(ValueError):
    """Lengths are undefined and ends marked by delimiters (PS3.5 section 7.5.2), which only a full parser follows."""


@cache
def head(keyword: str) -> bytes:
    """Tag and value representation as they begin an element, 6 bytes."""
    tag = tag_for_keyword(keyword) or 0
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + dictionary_VR(keyword).encode()


def element(keyword: str, *values: str | int | bytes) -> bytes:
    """Encode one element.

    Parameters
    ----------
    keyword
        DICOM keyword, which gives tag and value representation.
    values
        Text, whole numbers (US, UL), or for a sequence the encoded content of each item.
    """
    start = head(keyword)
    body = _BODIES.get(start[4:], _text)(values)
    if start[4:] in _LONG:
        return start + struct.pack("<HI", 0, len(body)) + body
    return start + struct.pack("<H", len(body)) + body


def item(body: bytes) -> bytes:
    """One item of a sequence, of defined length (PS3.5 section 7.5)."""
    return _ITEM + struct.pack("<I", len(body)) + body


def _text(values: tuple, pad: bytes = b" ") -> bytes:
    body = "\\".join(values).encode()
    return body + pad * (len(body) % 2)


_BODIES: dict[bytes, Callable[[tuple], bytes]] = {
    b"SQ": lambda values: b"".join(map(item, values)),
    b"UI": lambda values: _text(values, b"\0"),
    b"UL": lambda values: struct.pack(f"<{len(values)}I", *values),
    b"US": lambda values: struct.pack(f"<{len(values)}H", *values),
}


def items(data: bytes, span: Span) -> Iterator[Span]:
    """Where the content of each item of a sequence lies.

    Raises
    ------
    DelimitedError
        Items of undefined length.
    EOFError
        What is no item, or reaches beyond the sequence.
    """
    at, stop = span
    while at < stop:
        (length,) = struct.unpack_from("<I", data, at + 4)
        _check(length, at + 8, stop, whole=data.startswith(_ITEM, at))
        yield at + 8, at + 8 + length
        at += 8 + length


def elements(data: bytes, span: Span) -> Iterator[tuple[bytes, Span]]:
    """Head (tag and value representation, 6 bytes) of each element of an item, and where its value lies.

    Raises
    ------
    DelimitedError
        Elements of undefined length.
    EOFError
        Elements that reach beyond the item.
    """
    at, stop = span
    while at < stop:
        start = data[at : at + 6]
        long = start[4:] in _LONG
        (length,) = struct.unpack_from("<I" if long else "<H", data, at + (8 if long else 6))
        at += 12 if long else 8
        _check(length, at, stop, whole=True)
        yield start, (at, at + length)
        at += length


def _check(length: int, at: int, stop: int, *, whole: bool) -> None:
    if whole and length == _UNDEFINED:
        msg = "a length is undefined"
        raise DelimitedError(msg)
    if not whole or at + length > stop:
        msg = f"no item or element of {length} bytes lies in the {max(0, stop - at)} that are left"
        raise EOFError(msg)
