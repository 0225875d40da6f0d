"""A server that ends while it starts: noticed at once, and said with its reason in plain words.

JupyterHub asks the address of a new server until `Spawner.http_timeout`, without a look at the process.
"""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

from tornado import web

_OFTEN_S = 0.2
_TAIL = 4096  # bytes of the log in which the reason is looked for
_REASONS = {
    r"No space left on device|Disk quota exceeded":
        "the disk is full. Delete files that you do not need, or ask the hub's admin for room",
    r"MemoryError|Cannot allocate memory|out of memory":
        "there was not enough memory for it. Choose a larger tier, or try again when fewer servers run",
    r"Address already in use":
        "its port was taken by another program meanwhile. Start it again",
    r"jupyter_\w+_config\.(?:py|json|d)":
        "your own Jupyter configuration stopped it. Remove or correct the files in the folder .jupyter",
    r"ModuleNotFoundError|ImportError|cannot open shared object":
        "a part of the program is missing or broken. Tell the hub's admin",
    r"PermissionError|Permission denied|Read-only file system":
        "it may not read or write one of the files it needs. Tell the hub's admin",
}  # fmt: skip


async def listening(spawner: Any, place: tuple[str, int], log: Path) -> tuple[str, int]:
    """Return the place of a server once somebody listens there, or once the hub's own wait is over.

    Parameters
    ----------
    spawner
        That has started the process.
    place
        IP address and port that it was told.
    log
        What the process has written.

    Raises
    ------
    tornado.web.HTTPError
        500: the process ended; its ``jupyterhub_message`` is for the person.
    """
    until = time.monotonic() + spawner.http_timeout
    while time.monotonic() < until and not await _answers(*place):
        status = await spawner.poll()
        if status is not None:
            raise ended(status, log)
        await asyncio.sleep(_OFTEN_S)
    return place


async def _answers(ip: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(ip, port)
    except OSError:
        return False
    writer.close()
    return True


def ended(status: int, log: Path) -> web.HTTPError:
    """Return the error that says why a server ended, by the end of its log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        last = file.read().decode(errors="replace")
    reason = next((words for pattern, words in _REASONS.items() if re.search(pattern, last)), _by(status))
    error = web.HTTPError(500, f"the server ended while it started (status {status}); its last words: {last[-1000:]!r}")
    error.jupyterhub_message = f"Your server ended while it started: {reason}."
    return error


def _by(status: int) -> str:
    number = -status if status < 0 else status - 128
    if 0 < number < 65:
        return f"it was ended from outside (signal {number}). Try again; if it happens again, tell the hub's admin"
    return f"it gave no reason that is known (status {status}). Try again; its last words are in the hub's log"
