"""Whoever is turned away at a door stands in the audit trail (PS3.15 A.5.3.11, Security Alert)."""

import logging
import threading
import time
from collections.abc import Callable

from ailab_kernel.ground.errors import AilabError

EVENT = "adapter.refused"
_log = logging.getLogger(__name__)
_EVERY_S = 1.0                                 # a flood of tries must not fill the disk: they share a line


class Refusals:
    """Writes lines of the trail; what the other side said of itself is not in them.

    Parameters
    ----------
    audit
        Takes the event and its details (`ground.catalog`).
    """

    def __init__(self, audit: Callable[..., None]) -> None:
        self._audit = audit
        self._lock = threading.Lock()
        self._untold, self._told_at = 0, -_EVERY_S

    def note(self, door: str, address: str, *, why: str) -> None:
        """Note one refusal; those of the same second are counted on the next line."""
        with self._lock:
            self._untold += 1
            if time.monotonic() - self._told_at < _EVERY_S:
                return
            times, self._untold, self._told_at = self._untold, 0, time.monotonic()
        try:
            self._audit(EVENT, door=door, address=address, why=why, times=str(times))
        except AilabError as error:            # no reason to let nobody in any more
            _log.warning("%s", error)
