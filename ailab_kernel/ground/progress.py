"""Telling a person how far long work is: a bar in the notebook or terminal, a line where there is neither."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def say(line: str) -> None:
    """Write one line of progress to the terminal's error stream (standard output stays for results)."""
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
    if not sys.stderr.isatty() and "ipykernel" not in sys.modules:
        yield from _lines(items, what)
        return
    from tqdm.auto import tqdm

    yield from tqdm(items, desc=what, total=total, leave=False)


def _lines(items: Iterable[Item], what: str) -> Iterator[Item]:
    """A log file or pipe gets a line at the end, not a bar."""
    started, count = time.monotonic(), 0
    for item in items:
        yield item
        count += 1
    say(f"  {count} {what} in {time.monotonic() - started:.1f} s")
