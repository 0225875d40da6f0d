"""What stands in a session's journal: a head of JSON, a zero byte, and data (points, or the mask it began with)."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask

_VERSION = 1


@dataclass(frozen=True)
class Case:
    """Which session: the names of its journal.

    Attributes
    ----------
    task
        Digest of the task's record; empty outside of tasks.
    series_uid
        SeriesInstanceUID (0020,000E).
    reader
        Pseudonym of who draws.
    labels
        What may be drawn.
    """

    task: str
    series_uid: str
    reader: str
    labels: tuple[Label, ...]

    @property
    def name(self) -> str:
        """Name of the journal: it says nothing about anybody."""
        return sha256(canonical_json([self.task, self.series_uid, self.reader]))[:32]

    @property
    def values(self) -> tuple[int, ...]:
        """The labels' values."""
        return tuple(label.index for label in self.labels)


@dataclass(frozen=True)
class Done:
    """What became of one message of the browser.

    Attributes
    ----------
    client, number
        Whose message it was.
    span
        First and last slice, row and column that changed; empty when nothing did.
    said
        Why nothing was done; empty otherwise.
    again
        The number that is expected next, where one is missing: send from there.
    """

    client: str
    number: int
    span: list[list[int]] = field(default_factory=list)
    said: str = ""
    again: int = 0


def pack(head: Mapping[str, Any], data: bytes = b"") -> bytes:
    """Return a record's bytes; JSON holds no zero byte."""
    return canonical_json(dict(head)) + b"\0" + data


def unpack(record: bytes) -> tuple[dict[str, Any], bytes]:
    """Return a record's head and data."""
    head, _, data = record.partition(b"\0")
    return json.loads(head), data


def begin(case: Case, grid: Grid, start: Mask | None) -> bytes:
    """Return a session's first record: whose, on which grid, with which labels, and the mask to begin with."""
    labels = [{"index": label.index, "name": label.name, "code": asdict(label.code)} for label in case.labels]
    head = {"kind": "begin", "version": _VERSION, "task": case.task, "series": case.series_uid,
            "reader": case.reader, "shape": list(grid.shape), "affine": grid.affine.ravel().tolist(),
            "labels": labels, "at": now()}  # fmt: skip
    array = b"" if start is None else np.ascontiguousarray(start.array, np.uint8).tobytes()
    return pack(head, zlib.compress(array, 1))


def begun(record: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the mask that a session began with, uint8, writable."""
    data = zlib.decompress(unpack(record)[1])
    return np.frombuffer(bytearray(data), np.uint8).reshape(shape) if data else np.zeros(shape, np.uint8)


def begins(record: bytes, case: Case, grid: Grid) -> bool:
    """Whether a first record speaks of this grid and these labels."""
    head, _ = unpack(record)
    place = Grid(tuple(head["shape"]), np.array(head["affine"]).reshape(4, 4))
    return place.matches(grid) and [one["index"] for one in head["labels"]] == list(case.values)


def numbered(message: Mapping[str, Any]) -> tuple[str, int, str]:
    """Return the client, number and kind of a browser's message.

    Raises
    ------
    WrongUse
        It has none.
    """
    client, number, kind = (message.get(key) for key in ("client", "number", "kind"))
    if not isinstance(client, str) or not 0 < len(client) <= 64 or not isinstance(number, int) or number < 1:
        msg = "a message without its number; reload the page, and run the cell again"
        raise WrongUse(msg)
    return client, number, str(kind)


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
