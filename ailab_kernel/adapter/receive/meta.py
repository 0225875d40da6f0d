"""File meta information (PS3.10 7.1) at the beginning of a file, of which there may be no more yet."""

import struct

CLASS, INSTANCE, SYNTAX = 0x02, 0x03, 0x10     # elements of group 0002
_START = 132                                   # where it begins, behind preamble and prefix
_LONG_VRS = frozenset({b"OB", b"OW", b"UN", b"SQ", b"UT"})
_LONGEST_UID = 64


def read_meta(head: bytes) -> tuple[dict[int, str], int] | None:
    """Return the UIDs of a file's meta information by element, and where its data set begins.

    None where this is no PS3.10 file, not enough of one, or one that does not say what it is. Group 0002 is always
    Explicit VR Little Endian.
    """
    if head[_START - 4:_START] != b"DICM":
        return None
    found: dict[int, str] = {}
    at = _START
    while head[at:at + 2] == b"\x02\x00":
        if len(head) < at + 12:
            return None
        element, vr, length = struct.unpack_from("<H2sH", head, at + 2)
        start = at + 8
        if vr in _LONG_VRS:
            start, (length,) = at + 12, struct.unpack_from("<I", head, at + 8)
        at = start + length
        if vr == b"UI":
            found[element] = head[start:at].rstrip(b"\0 ").decode("ascii", "replace")
    told = all(0 < len(found.get(element, "")) <= _LONGEST_UID for element in (CLASS, INSTANCE, SYNTAX))
    return (found, at) if told and at + 2 <= len(head) else None
