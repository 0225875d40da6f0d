"""The beginning of a PS3.10 file for a data set that came over the network (PS3.10 section 7.1)."""

import struct

from .uids import derived_uid

IMPLEMENTATION = derived_uid("ailab", "implementation")


def file_head(sop_class: str, sop_instance: str, *, syntax: str) -> bytes:
    """Return preamble, prefix and file meta information; the data set follows as it was sent.

    Parameters
    ----------
    sop_class, sop_instance
        Media Storage SOP Class and Instance UID (0002,0002), (0002,0003).
    syntax
        Transfer Syntax UID (0002,0010) that was negotiated.
    """
    meta = b"".join((
        b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01",
        _uid(0x02, sop_class), _uid(0x03, sop_instance), _uid(0x10, syntax), _uid(0x12, IMPLEMENTATION),
    ))  # fmt: skip
    return bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta)) + meta


def _uid(element: int, uid: str) -> bytes:
    """Element of group 0002 with VR UI, padded to even length."""
    value = uid.encode("ascii", "replace")
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, element, b"UI", len(value)) + value
