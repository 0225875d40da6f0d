"""Where instances lie as they were received, and the order in which they become durable.

Temporary file → fsync → its name by content → fsync of the folder → ledger → and only then is the sender told 0000H.
Names are digests: nothing that a sender says becomes a path. Instances that arrive at the same time share a
transaction. A file without a row is left from a crash before the promise; sent again, it gets the same name.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Self

from ailab_kernel.adapter.ledger import ASIDE, Arrival, Ledger
from ailab_kernel.dicom.part10 import file_head
from ailab_kernel.ground.errors import AilabError
from ailab_kernel.ground.store import sync_folder

from .look import Misfit, Seen, look
from .message import OTHER_CLASS

KEPT_FOLDER, ASIDE_FOLDER, INCOMING = "kept", "aside", ".incoming"
_HEAD_BYTES = 1 << 16                          # of a data set, looked at before its file is read
_RESERVE = 64 << 20                            # bytes that stay free, for the ledger


@dataclass(frozen=True)
class Label:
    """What the association knows of an instance before its first byte."""

    sop_class: str
    uid: str
    syntax: str
    sender: str


class Inbox:
    """A folder of received instances and their ledger.

    Parameters
    ----------
    folder
        Where they lie; one file system, since files get their names by rename.
    ledger
        Where each is written down.
    durable
        False leaves out every fsync: what was acknowledged may then be lost with the power. For comparisons only.
    """

    def __init__(self, folder: Path, ledger: Ledger, *, durable: bool = True) -> None:
        self.folder, self.ledger, self.durable = folder, ledger, durable
        (folder / INCOMING).mkdir(parents=True, exist_ok=True)
        for name in (KEPT_FOLDER, ASIDE_FOLDER):
            _make_places(folder / name)
        self._sweep()
        self._incoming = Path(tempfile.mkdtemp(dir=folder / INCOMING))
        self._numbers = count()
        self._lock = (self._incoming / ".lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._waiting: deque[tuple[Arrival, Future[str]]] = deque()
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, label: Label) -> "Incoming":
        """Open a temporary file for an instance.

        Raises
        ------
        OSError
            No space, or no right to write.
        """
        return Incoming(self, label, f"{self._incoming}/{next(self._numbers)}")

    def path(self, content: str, *, state: str = "kept") -> Path:
        """Return where an instance lies."""
        return self.folder / _place(content, state)

    def written(self, arrival: Arrival) -> str:
        """Write an arrival down, together with others that wait, and return its state once it is on the disk.

        Raises
        ------
        CatalogError
            The ledger did not take it.
        """
        done: Future[str] = Future()
        self._waiting.append((arrival, done))
        with self._turn:                       # whoever's turn it is writes for all that wait
            if not done.done():
                self._write_down()
        return done.result()

    def close(self) -> None:
        """Let the folder go."""
        self._lock.close()
        shutil.rmtree(self._incoming, ignore_errors=True)

    def _write_down(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            states = self.ledger.keep([arrival for arrival, _ in batch])
        except AilabError as error:
            for _, done in batch:
                done.set_exception(error)
        else:
            for (_, done), state in zip(batch, states, strict=True):
                done.set_result(state)

    def _sweep(self) -> None:
        """Remove what receivers that are dead left unfinished; a living one holds its lock."""
        for left in (self.folder / INCOMING).iterdir():
            try:
                with (left / ".lock").open("a") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
            except BlockingIOError:
                continue
            except FileNotFoundError:
                shutil.rmtree(left, ignore_errors=True)


@dataclass
class Incoming:
    """One instance on its way in: `write` its parts, then `finish`, or `drop`."""

    inbox: Inbox
    label: Label
    path: str                                  # pathlib takes a tenth of the time of an instance
    size: int = 0
    _head: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._handle = handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        self._hash = hashlib.sha256(self.label.syntax.encode() + b"\0")
        self._part10 = file_head(self.label.sop_class, self.label.uid, syntax=self.label.syntax)
        os.write(handle, self._part10)

    def write(self, part: memoryview) -> None:
        """Append a part of the data set; OSError where the disk does not take it."""
        self._hash.update(part)
        if len(self._head) < _HEAD_BYTES:
            self._head += part[:_HEAD_BYTES - len(self._head)]
        self.size += len(part)
        while part:
            part = part[os.write(self._handle, part):]

    def finish(self, *, study_uid: str = "", misfit: Misfit | None = None) -> tuple[str, Misfit | None]:
        """Make the instance durable, write it down, and return its state and what is wrong with it, if anything.

        Parameters
        ----------
        study_uid
            Study that it must belong to; empty: any.
        misfit
            What is known to be wrong with it; it is then not looked at.

        Raises
        ------
        OSError, CatalogError
            It is not kept; the sender must be told so.
        """
        if self.inbox.durable:
            os.fsync(self._handle)
        os.close(self._handle)
        self._handle = -1
        found = Seen(misfit=misfit) if misfit else look(
            self._part10 + self._head, self.path, size=len(self._part10) + self.size)
        misfit = found.misfit or (None if (found.uid, found.sop_class) == (self.label.uid, self.label.sop_class)
                                  else Misfit.other(found.uid == self.label.uid))  # fmt: skip
        if misfit is None and study_uid not in ("", found.study_uid):
            misfit = Misfit(OTHER_CLASS, "of another study than the request names")
        content = self._hash.hexdigest()
        state = self._named(content, ASIDE if misfit else "kept")
        arrival = Arrival(self.label.uid[:64], content, found.study_uid, found.series_uid, self.label.sop_class[:64],
                          self.label.syntax, self.size, self.label.sender, time.time(), state,
                          misfit.reason if misfit else "")  # fmt: skip
        return self.inbox.written(arrival), misfit

    def drop(self) -> None:
        """Forget what came so far."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        Path(self.path).unlink(missing_ok=True)

    def _named(self, content: str, state: str) -> str:
        """Give the file its name for good; the same bytes again have it already."""
        target = f"{self.inbox.folder}/{_place(content, state)}"
        os.replace(self.path, target)  # noqa: PTH105 - see `path`
        if self.inbox.durable:
            sync_folder(target.rpartition("/")[0])
        return state


def _place(content: str, state: str) -> str:
    return f"{ASIDE_FOLDER if state == ASIDE else KEPT_FOLDER}/{content[:2]}/{content[2:]}.dcm"


def _make_places(folder: Path) -> None:
    """Make the folders that files get their names in, durably: the last one is there only when all are."""
    if (folder / "ff").is_dir():
        return
    for number in range(256):
        (folder / f"{number:02x}").mkdir(parents=True, exist_ok=True)
    for one in (folder, *folder.parents[:3]):
        sync_folder(one)


def enough_space(folder: Path) -> bool:
    """Whether there is room for another instance and its line in the ledger."""
    return free_space(folder) > _RESERVE


def free_space(folder: Path) -> int:
    """Return how many bytes are left where a folder is."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
