"""UIDs derived from content, so that the same work gives the same objects (DESIGN.md, Records)."""

import hashlib
import uuid


def derived_uid(*parts: str) -> str:
    """UID under 2.25 (PS3.5 B.2) made from the SHA-256 of ``parts``: equal parts, equal UID.

    Parameters
    ----------
    parts
        What the object is made from (source UIDs, digests, parameters), in a fixed order.
    """
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"
