"""Every no is counted and stands in the audit trail."""

import threading
import time
from collections import Counter

from .ledger import Ledger

EVENT = "service.refused"
_NOBODY = "(unknown token)"
_EVERY_S = 1.0                     # nobody's tries share lines: a flood of them must not fill the disk


class Refusals:
    """Counts since the service started; details are names of acts and routes, never what a request held."""

    def __init__(self, trail: Ledger) -> None:
        self._trail = trail
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, str, int]] = Counter()
        self._untold, self._told_at = 0, -_EVERY_S

    def note(self, user: str, act: str, *, route: str, status: int) -> None:
        """Count a refusal and write its line; ``user`` is empty where the token is nobody's."""
        with self._lock:
            self._counts[user or _NOBODY, act, route, status] += 1
            times = 1 if user else self._due()
        if times:
            self._trail.by(user or _NOBODY).audit(EVENT, act=act, route=route, status=str(status), times=str(times))

    def counts(self) -> list[dict[str, str | int]]:
        """Return who was refused what, where, and how often."""
        with self._lock:
            found = sorted(self._counts.items())
        return [{"user": user, "act": act, "route": route, "status": status, "times": times}
                for (user, act, route, status), times in found]  # fmt: skip

    def _due(self) -> int:
        """How many of nobody's tries are to be written now; 0 when a line was written just before."""
        self._untold += 1
        if time.monotonic() - self._told_at < _EVERY_S:
            return 0
        due, self._untold, self._told_at = self._untold, 0, time.monotonic()
        return due
