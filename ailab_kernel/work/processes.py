"""Independent pieces of numpy work on every core of this machine; what needs a cluster goes by `compute`."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(func: Callable[[Item], Result], items: Sequence[Item], *, processes: int | None = None) -> Iterator[Result]:
    """Yield ``func`` of every item, in order, computed ahead by worker processes.

    Parameters
    ----------
    func
        A module-level function, or a ``functools.partial`` of one: it travels to another process.
    items
        What to work on; one item is worked on in this process.
    processes
        How many; by default one a core.
    """
    count = min(processes or os.cpu_count() or 1, len(items))
    if count < 2:
        yield from map(func, items)
        return
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        yield from pool.map(func, items)
