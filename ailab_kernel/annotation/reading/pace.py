"""How long a reader worked on a case, from the times in its journal."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from ailab_kernel.annotation.session.records import unpack

IDLE_S = 180.0


def active_seconds(records: Sequence[bytes], *, idle_s: float = IDLE_S) -> float:
    """Return the time between a journal's records, s; a gap of more than ``idle_s`` was no work and counts nothing."""
    heads = (unpack(record)[0] for record in records)
    times = [datetime.fromisoformat(head["at"]) for head in heads if "at" in head]
    gaps = [(after - before).total_seconds() for before, after in pairwise(times)]
    return round(sum(gap for gap in gaps if 0 < gap <= idle_s), 1)
