"""An append-only file of records: each is on the disk before `Journal.append` returns, and one process writes it.

A record is its length and its checksum (each four bytes, little-endian), then its bytes. The checksum goes on from the
record before (CRC-32), so that a lost, doubled or moved record shows as well as a changed one. What a crash left half
written at the end is cut off on opening and kept beside the journal.

One writer: the newest opener's token stands in the lock file, and every append looks at it under a lock of the file
system. Who was taken over from cannot write another record, also where it hung meanwhile and goes on later.
"""

import fcntl
import json
import os
import secrets
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ailab_kernel.ground.errors import AnnotationError, JournalDamaged, SessionTaken
from ailab_kernel.ground.store import sync_folder

_MAGIC = b"AILAB-JOURNAL-1\n"
_HEAD = struct.Struct("<II")


@dataclass(frozen=True)
class Owner:
    """Who writes a journal: a process, and the person's pseudonym; ``since`` is Unix time, s."""

    token: str
    host: str
    pid: int
    who: str
    since: float

    def __str__(self) -> str:
        at = time.strftime("%d %b %H:%M", time.localtime(self.since))
        return f"{self.who}, process {self.pid} on {self.host}, since {at}"


class Journal:
    """One journal, opened for writing.

    Attributes
    ----------
    records
        What stood in it when it was opened, oldest first.
    chain
        Running checksum behind each record, as many as there are records now.
    """

    def __init__(self, path: Path, *, who: str, take_over: bool = False) -> None:
        """Open a journal, or begin it.

        Raises
        ------
        SessionTaken
            Another living process writes it, and ``take_over`` was not asked for.
        JournalDamaged
            A record in its middle is damaged.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.owner = Owner(secrets.token_hex(8), socket.gethostname(), os.getpid(), who, time.time())
        self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        self._alive = -1
        self._file = -1
        try:
            with self._locked():
                self._become_owner(take_over=take_over)
                self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                self.records, self.chain, self._end = self._read()
            sync_folder(path.parent)
        except (AnnotationError, OSError):
            self.close()
            raise

    def append(self, record: bytes) -> None:
        """Write one record, not empty; it is on the disk when this returns, and not in the journal when it raises.

        Raises
        ------
        SessionTaken
            Another process took the journal over, or it was closed.
        AnnotationError
            The disk is full or failed.
        """
        checksum = zlib.crc32(record, self.chain[-1] if self.chain else 0)
        with self._locked():
            owner = self._owner()
            if self._file < 0 or owner is None or owner.token != self.owner.token:
                msg = f"this session was taken over by {owner or 'nobody'}; run the cell again to go on here"
                raise SessionTaken(msg)
            try:
                _write(self._file, _HEAD.pack(len(record), checksum) + record, self._end)
            except OSError as error:
                os.ftruncate(self._file, self._end)
                msg = f"the stroke could not be kept ({error.strerror}); free disk space, then draw it again"
                raise AnnotationError(msg) from None
        self._end += _HEAD.size + len(record)
        self.chain.append(checksum)

    def close(self) -> None:
        """End writing; another process may open it then."""
        for handle in (self._file, self._alive, self._lock):
            if handle >= 0:
                os.close(handle)
        self._file = self._alive = self._lock = -1
        self._alive_path(self.owner).unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._lock < 0:
            msg = "this session is closed; run the cell again to go on here"
            raise SessionTaken(msg)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _become_owner(self, *, take_over: bool) -> None:
        before = self._owner()
        ours = before is not None and (before.host, before.pid) == (self.owner.host, self.owner.pid)
        if before and not ours and not take_over and self._lives(before):
            msg = (f"this session is open elsewhere ({before}); close it there, or take it over with take_over=True: "
                   "what was drawn there stays, and nothing more can be drawn there")  # fmt: skip
            raise SessionTaken(msg)
        if before and not self._lives(before):
            self._alive_path(before).unlink(missing_ok=True)
        # Held as long as this process lives: the kernel lets go of it when we are killed.
        self._alive = os.open(self._alive_path(self.owner), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._alive, fcntl.LOCK_EX)
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, json.dumps(asdict(self.owner)).encode(), 0)
        os.fsync(self._lock)

    def _owner(self) -> Owner | None:
        try:
            return Owner(**json.loads(os.pread(self._lock, 4096, 0)))
        except (ValueError, TypeError):
            return None

    def _lives(self, owner: Owner) -> bool:
        """Whether somebody holds the owner's file; no file: the process ended."""
        try:
            handle = os.open(self._alive_path(owner), os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def _alive_path(self, owner: Owner) -> Path:
        return self.path.with_suffix(f".{owner.token}.alive")

    def _read(self) -> tuple[list[bytes], list[int], int]:
        """Every whole record, the running checksums, and where the next one goes."""
        data = self.path.read_bytes()
        if not data.startswith(_MAGIC):
            if _MAGIC.startswith(data[: len(_MAGIC)]) or not any(data):
                os.ftruncate(self._file, 0)
                _write(self._file, _MAGIC, 0)
                return [], [], len(_MAGIC)
            msg = "the file is no journal of drawing; restore it from a backup"
            raise JournalDamaged(msg)
        records, chain, end = read_records(data)
        if end < len(data):
            self._cut(data, end, len(records))
        return records, chain, end

    def _cut(self, data: bytes, end: int, count: int) -> None:
        """Cut off what a crash left half written; what looks like whole records behind a bad one is damage."""
        rest = data[end:]
        size = _HEAD.unpack_from(rest)[0] if len(rest) >= _HEAD.size else len(rest)
        if any(rest) and _HEAD.size + size < len(rest) and any(rest[_HEAD.size + size :]):
            msg = (f"record {count + 1} of the journal is damaged and others follow it; nothing was changed: "
                   "restore the journal from a backup")  # fmt: skip
            raise JournalDamaged(msg)
        self.path.with_suffix(f".torn-{end}").write_bytes(rest)
        os.ftruncate(self._file, end)
        os.fsync(self._file)


def read_records(data: bytes) -> tuple[list[bytes], list[int], int]:
    """Return the whole records of a journal's bytes, their running checksums, and where the first bad byte is."""
    records: list[bytes] = []
    chain: list[int] = []
    at = len(_MAGIC)
    while at + _HEAD.size <= len(data):
        size, checksum = _HEAD.unpack_from(data, at)
        record = data[at + _HEAD.size : at + _HEAD.size + size]
        if not 0 < size == len(record) or zlib.crc32(record, chain[-1] if chain else 0) != checksum:
            break
        records.append(record)
        chain.append(checksum)
        at += _HEAD.size + size
    return records, chain, at


def _write(handle: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, at)
        view, at = view[written:], at + written
    os.fsync(handle)
