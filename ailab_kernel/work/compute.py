"""Compute is Dask: a cluster in this process by default; worker processes, Slurm or an existing scheduler by setting.

One code path for all: whatever runs here runs there, and a worker that dies costs time, not results.
"""

import atexit
import gc
import logging
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from ailab_kernel.ground.errors import AilabError, JobError, SettingsError

if TYPE_CHECKING:
    from distributed import Client

Item = TypeVar("Item")
Result = TypeVar("Result")
_DEATHS_ALLOWED = 3
# How long a worker that has just died is called in vain (Dask: 30 s).
_CONNECT = "5s"
# Dask always serves its health pages; without an address it does so to the whole network, at a fixed port.
_HTTP = "127.0.0.1:0"


def map_cases(
    func: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    compute: str = "local",
    done: Callable[[int, Result], None] | None = None,
) -> list[Result | AilabError]:
    """Call ``func`` on every item and return the results in the items' order.

    Parameters
    ----------
    func
        A module-level function, or a ``functools.partial`` of one: it may travel to another process.
    items
        What to work on.
    compute
        The setting of that name: ``local``, ``local:N``, ``slurm://PARTITION`` (`work.slurm`) or a scheduler's address.
    done
        Called with place and result as each item is finished, in the order of finishing.

    Returns
    -------
    list
        Results; an item whose call raised an AilabError has that error in its place, and the rest went on.

    Raises
    ------
    JobError
        A call raised anything else, or its workers kept dying.
    """
    from distributed import as_completed

    client = cluster(compute)
    futures = client.map(func, items, pure=False, retries=0)
    place = {future.key: number for number, future in enumerate(futures)}
    results: list[Any] = [None] * len(futures)
    try:
        for future in as_completed(futures, loop=client.loop):
            number = place[future.key]
            results[number] = _outcome(future.exception()) if future.status == "error" else future.result()
            if done and not isinstance(results[number], AilabError):
                done(number, results[number])
    finally:
        client.cancel(futures)
    return results


def _outcome(error: BaseException) -> AilabError:
    if isinstance(error, AilabError):
        return error
    if type(error).__name__ == "KilledWorker":
        msg = f"a case killed its worker {_DEATHS_ALLOWED + 1} times (memory?); give it more memory, or set it aside"
        raise JobError(msg)
    msg = f"a case failed with {type(error).__name__}, which is an error in the program: tell its makers"
    raise JobError(msg) from error


def cluster(compute: str) -> "Client":
    """Return this process's client of the cluster that the setting names; it is closed when the process ends."""
    if _opened(compute).status in {"closing", "closed"}:
        _opened.cache_clear()
    return _opened(compute)


@cache
def _opened(compute: str) -> "Client":
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.scheduler.allowed-failures": _DEATHS_ALLOWED, "distributed.admin.tick.limit": "1h",
                     "distributed.comm.timeouts.connect": _CONNECT})  # fmt: skip
    for name in ("distributed", "distributed.worker", "distributed.nanny", "distributed.scheduler", "distributed.core"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if compute.startswith("local"):
        own = LocalCluster(
            **_local(compute), dashboard_address=None, scheduler_kwargs={"dashboard_address": _HTTP},
            worker_dashboard_address=_HTTP, silence_logs=logging.CRITICAL,
        )  # fmt: skip
        client = Client(own, set_as_default=False)
        atexit.register(own.close)
    elif compute.startswith("slurm:"):
        from .slurm import open_slurm

        jobs = open_slurm(compute)
        client = Client(jobs, set_as_default=False)
        atexit.register(jobs.close)
    else:
        client = _join(compute)
    atexit.register(client.close)
    return client


def _local(compute: str) -> dict[str, Any]:
    """A cluster in this process (one case at a time, each may use every core), or N worker processes."""
    if compute == "local":
        # No limit: the worker is this very process, and a limit would make it wait for memory that nobody gives back.
        return {"processes": False, "memory_limit": 0, "n_workers": 1, "threads_per_worker": 1, "protocol": "inproc"}
    count = compute.removeprefix("local:")
    if not count.isdecimal() or not 1 <= int(count) <= 4 * (os.cpu_count() or 1):
        msg = (f"compute = {compute!r}: local, local:N with N worker processes, slurm://PARTITION or tcp://HOST:PORT "
               "is expected")  # fmt: skip
        raise SettingsError(msg)
    # TLS with a certificate of the moment: whoever reaches a worker's port could run code in it, and TCP ports of a
    # shared host are everybody's.
    return {"processes": True, "n_workers": int(count), "threads_per_worker": 1, "host": "127.0.0.1", "security": True}


def _join(address: str) -> "Client":
    from distributed import Client

    try:
        return Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        reason = type(error).__name__
    gc.collect()  # the half-made client closes now: collected later, under the next one's lock, it waits for ever
    msg = f"compute = {address!r}: no Dask scheduler answers there ({reason}); start it or use local"
    raise SettingsError(msg)
