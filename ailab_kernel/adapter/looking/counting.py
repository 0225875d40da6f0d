"""How many instances the archive has of a study, for rules that wait until all of them are here."""

import time
from dataclasses import dataclass, field

from ailab_kernel.adapter.rules import Destination
from ailab_kernel.archives.archive import open_archive
from ailab_kernel.ground.errors import ArchiveError, SettingsError

from .asking import Asking

_FRESH_S = 10.0
# What is made of images comes later and belongs to no acquisition.
_DERIVED = frozenset({"SEG", "SR", "DOC", "PR", "KO", "RTSTRUCT"})


@dataclass
class Listed:
    """Asks the first archive among the destinations that knows the study; an answer is good for ten seconds."""

    destinations: tuple[Destination, ...]
    asking: Asking[int | None] = field(default_factory=lambda: Asking(None), repr=False)
    _known: dict[str, tuple[float, int | None]] = field(default_factory=dict)

    def __call__(self, study_uid: str) -> int | None:
        """Return how many instances are listed; None where no archive says, or none has said yet."""
        now = time.monotonic()
        asked, count = self._known.get(study_uid, (now - _FRESH_S, None))
        if now - asked < _FRESH_S:
            return count
        answer = self.asking(study_uid, lambda: self._ask(study_uid))
        if not answer.done():
            return None
        self._known = {uid: one for uid, one in self._known.items() if now - one[0] < _FRESH_S}
        self._known[study_uid] = (now, answer.result())
        return answer.result()

    def _ask(self, study_uid: str) -> int | None:
        for one in self.destinations:
            if one.tells:
                continue
            try:
                found = [series.instances for series in open_archive(one.url).search_series(study_uid)
                         if series.modality not in _DERIVED]  # fmt: skip
            except (ArchiveError, SettingsError):
                continue
            counts = [count for count in found if count is not None]
            if counts and len(counts) == len(found):
                return sum(counts)
        return None
