"""Telling a person how far long work is: a bar in the notebook or terminal, lines where there is neither.

A report runs in a process of its own; its lines go to the file that ``AILAB_PROGRESS`` names, which whoever started
the report reads out.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
VARIABLE = "AILAB_PROGRESS"
_EVERY_S = 10.0


def say(line: str) -> None:
    """Write one line of progress; standard output stays for results."""
    file = os.environ.get(VARIABLE)
    if file:
        with Path(file).open("a", encoding="utf8") as log:
            log.write(line + "\n")
        return
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def track(items: Iterable[Item], *, what: str, total: int | None = None) -> Iterator[Item]:
    """Yield ``items`` while showing how many are done and the time left.

    Parameters
    ----------
    items
        What is worked through.
    what
        Two or three words for the person, e.g. ``cases validated``.
    total
        Number of items where it cannot be counted.
    """
    quiet = VARIABLE in os.environ or not (sys.stderr.isatty() or "ipykernel" in sys.modules)
    if quiet:
        yield from _lines(items, what, total)
        return
    from tqdm.auto import tqdm

    yield from tqdm(items, desc=what, total=total, leave=False)


def _lines(items: Iterable[Item], what: str, total: int | None) -> Iterator[Item]:
    """A log gets a line now and then, and one at the end, instead of a bar."""
    total = total if total is not None else len(items) if isinstance(items, Sized) else None
    started = told = time.monotonic()
    count = 0
    for item in items:
        yield item
        count, now = count + 1, time.monotonic()
        if total and count < total and now - told > _EVERY_S:
            told = now
            say(f"  {count} of {total} {what}, about {(now - started) / count * (total - count):.0f} s left")
    if count:
        say(f"  {count} {what} in {time.monotonic() - started:.1f} s")
