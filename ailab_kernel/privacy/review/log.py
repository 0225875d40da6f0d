"""The journal of a review: one line a decision, on the disk before it is acknowledged, and never changed.

A line holds a keyed digest, boxes, a pseudonym and a time: nothing of a patient. It is written under a lock of the file
system, so that two pages, or a page and a run that releases, do not cross. What a run takes to release is frozen.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ailab_kernel.ground.errors import DatasetError, WrongUse
from ailab_kernel.ground.store import sync_folder

from .places import Place, read_places

_FILE = "decisions.jsonl"
Check = Callable[["Course"], str]


@dataclass(frozen=True)
class State:
    """Boxes of one object, and whether a person said that these are the ones."""

    places: tuple[Place, ...] | None = None    # None: as proposed
    done: bool = False


@dataclass(frozen=True)
class Taken:
    """What is masked in an object that is released.

    Attributes
    ----------
    number
        Place of the line in the journal, from 1.
    """

    number: int
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Course:
    """How one object went: its states, and at which of them it is.

    Attributes
    ----------
    taken
        With what a run took it to release; None where it may be changed.
    """

    states: tuple[State, ...] = (State(),)
    at: int = 0
    taken: Taken | None = None

    @property
    def now(self) -> State:
        """The state that counts."""
        return self.states[self.at]

    def after(self, told: Mapping[str, Any], number: int) -> "Course":
        """The course after one more line."""
        kind = told["kind"]
        if kind == "taken":
            return Course(self.states, self.at, Taken(number, read_places(told["boxes"])))
        if kind in {"undo", "redo"}:
            at = self.at + (1 if kind == "redo" else -1)
            return Course(self.states, min(max(at, 0), len(self.states) - 1))
        state = State(read_places(told["boxes"]), done=kind == "done")
        return Course((*self.states[:self.at + 1], state), self.at + 1)


@dataclass
class Log:
    """The journal in a folder, as far as it was read.

    Attributes
    ----------
    folder
        Of the review.
    session
        A random name of the journal.
    courses
        By an object's name.
    expected
        By a page's name, the number of the act that it is to send next.
    """

    folder: Path
    session: str = ""
    courses: dict[str, Course] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    _read: int = 0
    _lines: int = 0

    def __post_init__(self) -> None:
        """Open it, or begin it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._open() as file:
            if not self.session:
                self._write(file, [{"review": secrets.token_hex(8)}])
        sync_folder(self.folder)

    def refresh(self) -> None:
        """Read what others wrote meanwhile."""
        with self._open():
            pass

    def course(self, name: str) -> Course:
        """How an object went."""
        return self.courses.get(name, Course())

    def act(self, told: Mapping[str, Any], *, name: str, who: str, refusal: Check) -> str:
        """Write one act of a page, unless it was written before, and return why it was refused, if it was.

        Parameters
        ----------
        told
            ``client``, ``number``, ``kind`` (boxes, done, undo, redo) and, of the first two, ``boxes``.
        name
            Of the object.
        who
            Pseudonym of the person.
        refusal
            Says why an object in that state may not be changed; asked under the lock.

        Raises
        ------
        WrongUse
            Acts are missing before this one: the page sends them again.
        """
        client, number = str(told.get("client", ""))[:64], told.get("number")
        with self._open() as file:
            next_ = self.expected.get(client, 1)
            if not client or not isinstance(number, int) or number > next_:
                msg = f"act {next_} of the page is missing; it is sent again"
                raise WrongUse(msg)
            if number < next_:
                return ""
            said = refusal(self.course(name))
            kept = {"kind": "refused"} if said else {key: told[key] for key in ("kind", "boxes") if key in told}
            self._write(file, [{"name": name, **kept, "who": who, "client": client, "number": number}])
            return said

    def take(self) -> int:
        """Freeze every object that is decided, and return how many are new: a run may release them."""
        with self._open() as file:
            due = {name: one for name, one in self.courses.items() if one.now.done and not one.taken}
            self._write(file, [{"name": name, "kind": "taken", "boxes": one.now.places or ()}
                               for name, one in sorted(due.items())])  # fmt: skip
        return len(due)

    @contextmanager
    def _open(self) -> Iterator[int]:
        """The file, locked and read to its end; what a crash left half written is cut off."""
        file = os.open(self.folder / _FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            data = os.pread(file, os.fstat(file).st_size - self._read, self._read)
            whole = data[:data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                os.ftruncate(file, self._read + len(whole))
            self._take_in(whole)
            yield file
        finally:
            os.close(file)

    def _write(self, file: int, records: Sequence[Mapping[str, Any]]) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        data = b"".join(json.dumps({**one, "at": at}).encode() + b"\n" for one in records)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(file, left):]
            os.fsync(file)
        except OSError as error:
            os.ftruncate(file, self._read)
            msg = f"the decision could not be kept ({error.strerror}); free disk space, then decide again"
            raise DatasetError(msg) from None
        self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        for line in data.splitlines():
            try:
                told = json.loads(line)
                self._lines += 1
                if "review" in told:
                    self.session = told["review"]
                    continue
                if "client" in told:
                    self.expected[told["client"]] = told["number"] + 1
                if told["kind"] != "refused":
                    self.courses[told["name"]] = self.course(told["name"]).after(told, self._lines)
            except (ValueError, KeyError, TypeError):
                msg = f"line {self._lines + 1} of the review's journal is damaged; restore it from a backup"
                raise DatasetError(msg) from None
        self._read += len(data)


def take(folder: Path) -> int:
    """Freeze what a person decided in a folder's review, for a run to release; return how many objects are new."""
    return Log(folder).take() if (folder / _FILE).is_file() else 0


def taken_of(folder: Path) -> Mapping[str, Taken]:
    """What is frozen in a review, by object."""
    path = folder / _FILE
    return _taken(folder, path.stat().st_size) if path.is_file() else MappingProxyType({})


@lru_cache(maxsize=4)
def _taken(folder: Path, _size: int) -> Mapping[str, Taken]:
    return MappingProxyType({name: one.taken for name, one in Log(folder).courses.items() if one.taken})
