"""Takes results to their destinations: each on its own, so that one that is down keeps no other waiting.

An archive is asked before and after every store (`archives.storing`): what it lists is confirmed, and nothing is sent
to it twice under one UID. A reporting system confirms by its answer; what is told twice has the same identifier.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import OperationalError

from ailab_kernel.adapter.ledger import Delivery, Ledger, Outbox, Worklist
from ailab_kernel.adapter.ledger.deliveries import CONFIRMED, DEAD, PENDING
from ailab_kernel.adapter.rules import Destination
from ailab_kernel.adapter.telling import Report, tell
from ailab_kernel.archives.archive import open_archive
from ailab_kernel.dicom.parsing import read_dataset
from ailab_kernel.ground.errors import ArchiveError, ArchiveUnreachable, DicomError, SettingsError

_TRIES = 5                                     # of what a destination refuses; one that is away is tried on and on


@dataclass(frozen=True)
class Courier:
    """One round at a time.

    Attributes
    ----------
    audit
        Writes a line of the trail: that a study's results were all delivered (PS3.15 A.5.3.7).
    """

    ledger: Ledger
    destinations: tuple[Destination, ...]
    audit: Callable[..., object] = lambda *_, **__: None

    def round(self, now: float | None = None) -> int:
        """Try everything that is due, settle the work that it belongs to, and return how much was confirmed."""
        now = time.time() if now is None else now
        if not self.destinations:
            return 0
        with ThreadPoolExecutor(len(self.destinations)) as pool:
            confirmed = sum(pool.map(lambda one: self.deliver(one, now), self.destinations))
        self.settle()
        return confirmed

    def deliver(self, destination: Destination, now: float | None = None) -> int:
        """Try what is due for one destination and return how much was confirmed; the others are not asked."""
        now = time.time() if now is None else now
        outbox, worklist = Outbox(self.ledger), Worklist(self.ledger)
        due = outbox.due(destination.name, now)
        by_work = {work: [one for one in due if one.work == work] for work in dict.fromkeys(one.work for one in due)
                   if worklist.get(work).may_leave}  # fmt: skip
        confirmed = 0
        for parcel in by_work.values():
            reasons = (_told if destination.tells else _sent)(destination, parcel)
            for one in parcel:
                reason, lasting = reasons.get(one.uid, ("", False))
                state = CONFIRMED if not reason else DEAD if lasting and one.tries + 1 >= _TRIES else PENDING
                outbox.settle(one, state, reason=reason)
                confirmed += state == CONFIRMED
        return confirmed

    def settle(self) -> None:
        """End the work whose results are all confirmed, or cannot be delivered."""
        worklist, outbox = Worklist(self.ledger), Outbox(self.ledger)
        for work in (one for state in ("delivering", "held") for one in worklist.all(state=state) if one.may_leave):
            parcels = outbox.all(work=work.id)
            dead = [one for one in parcels if one.state == DEAD]
            if parcels and all(one.state == CONFIRMED for one in parcels):
                where = ",".join(sorted({one.destination for one in parcels}))
                self.audit("adapter.delivered", study=work.study_uid, instances=str(len(parcels)), destinations=where)
                worklist.move(work.id, "done")
            elif dead and work.state == "delivering":
                worklist.move(work.id, "failed", reason=f"{dead[0].destination} does not take it: {dead[0].reason}")


def _sent(destination: Destination, parcel: list[Delivery]) -> dict[str, tuple[str, bool]]:
    """Send objects and return why some were not taken, by UID, and whether more tries may be in vain."""
    try:
        datasets = [read_dataset(Path(one.path)) for one in parcel]
        done = open_archive(destination.url).store(datasets)
    except ArchiveUnreachable as error:
        return {one.uid: (str(error), False) for one in parcel}
    except (DicomError, SettingsError) as error:
        return {one.uid: (str(error), True) for one in parcel}
    except ArchiveError as error:
        # A folder on a full or read-only disk is away, too: it refuses nothing.
        return {one.uid: (str(error), not isinstance(error.__cause__, (OSError, OperationalError))) for one in parcel}
    return {one.what: (one.reason, True) for one in done.refused}


def _told(destination: Destination, parcel: list[Delivery]) -> dict[str, tuple[str, bool]]:
    """Tell a reporting system; as `_sent`."""
    reasons = {}
    for one in parcel:
        try:
            tell(destination.url, Report.read(Path(one.path)))
        except ArchiveUnreachable as error:
            reasons[one.uid] = (str(error), False)
        except (ArchiveError, SettingsError) as error:
            reasons[one.uid] = (str(error), True)
    return reasons
