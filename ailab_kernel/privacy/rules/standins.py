"""Stand-ins: what a patient, a UID and a date become. Keyed, so that they hold across runs, sites and objects.

Equal values get equal stand-ins wherever the key is the same, so that references hold and intervals are kept; without
the key nobody finds the way back.
"""

import hashlib
import hmac
import re
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.ground.references import secret

Ask = Callable[[str, str], str]
_PUBLIC = "1.2.840.10008."                     # UIDs of the standard itself
_FURTHEST_DAYS = 3650
_DATE = re.compile(r"(\d{4})[.]?(\d{2})[.]?(\d{2})")   # also as ACR-NEMA wrote it: 1993.12.31
_SHORTEST_KEY = 32


class StandIns:
    """Stand-ins of one lab.

    Parameters
    ----------
    ask
        Keyed one-way function of a domain and a value, 16 hex digits: ``catalog.pseudonym``, or :func:`keyed`.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = lru_cache(maxsize=200_000)(ask)
        self._uid = lru_cache(maxsize=200_000)(self._make_uid)

    def uid(self, uid: str) -> str:
        """UID under 2.25 (PS3.5 B.2) for one that names an instance; those of the standard stay."""
        return uid if not uid or uid.startswith(_PUBLIC) else self._uid(uid)

    def patient(self, patient_id: str) -> str:
        """The lab's pseudonym of a patient."""
        return self._ask("patient", patient_id)

    def days(self, patient_id: str) -> int:
        """How many days the patient's dates are moved: back, by 1 to 3650."""
        return -(int(self._ask("date-shift", patient_id), 16) % _FURTHEST_DAYS + 1)

    def _make_uid(self, uid: str) -> str:
        both = bytes.fromhex(self._ask("uid", uid) + self._ask("uid-low", uid))
        return f"2.25.{uuid.UUID(bytes=both, version=4).int}"


def keyed(key: bytes) -> Ask:
    """HMAC-SHA-256 (RFC 2104), as `ground.seal` does it with the lab's own key.

    Raises
    ------
    SettingsError
        The key is too short to protect anything.
    """
    if len(key) < _SHORTEST_KEY:
        msg = f"the key has {len(key)} bytes; at least {_SHORTEST_KEY} random ones are needed: openssl rand 32 > KEY"
        raise SettingsError(msg)
    return lambda domain, value: hmac.new(key, f"{domain}\x1f{value}".encode(), hashlib.sha256).hexdigest()[:16]


def read_key(path: Path) -> bytes:
    """Return the key in a file that nobody but its owner may read.

    Raises
    ------
    SettingsError
        No such file, or others can read it.
    """
    return secret(f"file:{path}", what="the key file")


def moved(text: str, days: int) -> str | None:
    """Return a DICOM date, or date and time, moved by a number of days; None where it is no date.

    Parameters
    ----------
    text
        Value of DA or DT (PS3.5 table 6.2-1); the time and the offset from UTC behind a date stay as they are. A DT may
        be a year, or a year and a month: it moves as its first day does.
    """
    found = _DATE.match(text)
    rest = text[found.end():] if found else ""
    year, month, day = (int(part) for part in found.groups()) if found else _partial(text)
    if not year:
        return None
    try:
        return (date(year, month, day) + timedelta(days)).strftime("%Y%m%d")[:8 if found else len(text)] + rest
    except (ValueError, OverflowError):
        return None


def _partial(text: str) -> tuple[int, int, int]:
    if not re.fullmatch(r"\d{4}(\d{2})?", text):
        return 0, 0, 0
    return int(text[:4]), int(text[4:] or 1), 1
