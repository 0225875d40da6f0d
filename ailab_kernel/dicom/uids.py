"""UIDs derived from content, so that the same work gives the same objects (DESIGN.md, Records)."""

import hashlib
import re
import uuid

from ailab_kernel.ground.errors import DicomError

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST = 64


def derived_uid(*parts: str) -> str:
    """UID under 2.25 (PS3.5 B.2) made from the SHA-256 of ``parts``: equal parts, equal UID.

    Parameters
    ----------
    parts
        What the object is made from (source UIDs, digests, parameters), in a fixed order.
    """
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def check_uid(uid: str) -> str:
    """The UID itself, when it is one (PS3.5 section 9) and so safe as part of a path or a URL.

    Raises
    ------
    DicomError
        Anything but 1 to 64 digits and dots, with digits between the dots.
    """
    text = str(uid)
    if len(text) > _LONGEST or not _UID.fullmatch(text):
        raise DicomError(f"a UID of {len(text)} characters is not valid; expected at most {_LONGEST} digits and dots")
    return text
