"""Who is at work: heartbeats that keep a server from being stopped, and notices that say why one was.

A heartbeat is one small JSON file in the folder that ``AILAB_ACTIVITY`` names: what is done, since when, and until
when it counts. Work renews its own while it goes on; that of a killed program runs out by itself. People's own programs
write these files and the hub reads them, so the reader trusts neither their kind (links, pipes) nor their size nor
their dates. Kinds are ``kernel`` (a cell runs), ``report``, ``gpu`` and ``strokes`` (drawn, but not yet stored):
``with busy("strokes", "3 strokes"):`` from the first stroke until all are kept.

A notice is one line for the person whose server it is; the newest few are kept in the file that ``AILAB_NOTICES``
names.
"""

import json
import os
import secrets
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .store import atomic_write

FOLDER, NOTICES = "AILAB_ACTIVITY", "AILAB_NOTICES"
KINDS = ("kernel", "report", "gpu", "strokes")
LASTS_S = 90.0  # how long a beat counts when nobody renews it
_LONGEST_S = 600.0  # no beat counts longer than this after it was written
_MOST_BYTES, _MOST_FILES, _KEPT = 4096, 200, 5
_WORDS = 120


@dataclass(frozen=True)
class Beat:
    """Work that goes on.

    Attributes
    ----------
    kind
        ``kernel``, ``report``, ``gpu`` or ``strokes``.
    what
        A few words for the person.
    since, until
        Unix times, s: when it began, and when this beat stops to count unless it is renewed.
    """

    kind: str
    what: str
    since: float
    until: float


@dataclass(frozen=True)
class Notice:
    """One line for the person, with its Unix time, s."""

    at: float
    text: str


@contextmanager
def busy(kind: str, what: str, *, folder: Path | None = None, lasts: float = LASTS_S) -> Iterator[None]:
    """Keep a heartbeat alive while the block runs; without a folder (no hub) nothing is written.

    Parameters
    ----------
    kind
        ``kernel``, ``report``, ``gpu`` or ``strokes``.
    what
        A few words for the person.
    folder
        Where beats lie; by default what ``AILAB_ACTIVITY`` names.
    lasts
        Seconds that one beat counts; it is renewed three times as often.
    """
    named = os.environ.get(FOLDER)
    folder = folder or (Path(named) if named else None)
    if folder is None:
        yield
        return
    path = folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"
    since, over = time.time(), threading.Event()

    def _renew() -> None:
        while True:
            if not _write(path, Beat(kind, what[:_WORDS], since, time.time() + lasts)) or over.wait(lasts / 3):
                return

    thread = threading.Thread(target=_renew, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        path.unlink(missing_ok=True)


def beat(kind: str, what: str, *, folder: Path, lasts: float = LASTS_S) -> None:
    """Write one heartbeat that nobody renews: for whoever looks now and then. A later one of that kind replaces it."""
    now = time.time()
    _write(folder / f"{kind}.json", Beat(kind, what[:_WORDS], now, now + lasts))


def _write(path: Path, one: Beat) -> bool:
    """Write without a flush to the disk: a beat need not survive the machine. A full disk must not end the work."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(one)))
        temporary.replace(path)
    except OSError:
        return False
    return True


def beats(folder: Path, *, now: float | None = None) -> tuple[Beat, ...]:
    """Return the heartbeats of a folder that still count; files that are no beats are passed over.

    Parameters
    ----------
    folder
        Where one person's programs write.
    now
        Unix time, s; by default the clock's.
    """
    now = time.time() if now is None else now
    try:
        paths = sorted(folder.glob("*.json"))
    except OSError:
        return ()
    found = (_beat(path) for path in paths[:_MOST_FILES])
    return tuple(one for one in found if one and one.until > now)


def _beat(path: Path) -> Beat | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        is_a = os.fstat(handle)
        if not stat.S_ISREG(is_a.st_mode) or is_a.st_size > _MOST_BYTES:
            return None
        data = os.read(handle, _MOST_BYTES)
    finally:
        os.close(handle)
    try:
        told = json.loads(data)
        one = Beat(str(told["kind"])[:_WORDS], str(told["what"])[:_WORDS], float(told["since"]), float(told["until"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Beat(one.kind, one.what, one.since, min(one.until, is_a.st_mtime + _LONGEST_S))


def tell(file: Path, text: str, *, at: float | None = None) -> None:
    """Add one notice; the newest five are kept, and the file may be read by the person it is for."""
    notices = [*told(file), Notice(time.time() if at is None else at, text)][-_KEPT:]
    atomic_write(file, json.dumps([asdict(one) for one in notices]).encode())
    file.chmod(0o644)


def told(file: Path) -> tuple[Notice, ...]:
    """Return the notices, oldest first; none where there is no file."""
    try:
        return tuple(Notice(float(one["at"]), str(one["text"])) for one in json.loads(file.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def follow(shell: Any) -> None:
    """Beat while a cell of an IPython kernel runs, and print new notices above the next cell's output.

    Parameters
    ----------
    shell
        What ``get_ipython()`` returns.
    """
    running, seen = ExitStack(), [time.time()]

    def _begin(info: Any) -> None:
        running.close()
        _print_new(seen)
        running.enter_context(busy("kernel", "a cell is running"))

    def _end(result: Any) -> None:
        running.close()

    shell.events.register("pre_run_cell", _begin)
    shell.events.register("post_run_cell", _end)


def _print_new(seen: list[float]) -> None:
    """Print notices since ``seen``, which a kernel that was just ended and began anew sets a little back."""
    file = os.environ.get(NOTICES)
    new = [one for one in told(Path(file)) if one.at > seen[0] - LASTS_S] if file else []
    seen[0] = max((one.at for one in new), default=seen[0]) + LASTS_S
    for one in new:
        sys.stderr.write(f"AI-LAB: {one.text}\n")
