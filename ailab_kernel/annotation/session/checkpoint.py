"""The mask at some record of a journal, kept so that opening is quick; a checkpoint that does not fit is not used."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ailab_kernel.ground.ids import canonical_json
from ailab_kernel.ground.store import atomic_write


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a session stood.

    Attributes
    ----------
    records, chain
        How many records were there, and the running checksum behind the last one.
    live, undone
        Records of the operations that stand, and of those that were taken back, in order.
    array
        uint8, shape (slices, rows, columns), writable.
    """

    records: int
    chain: int
    live: tuple[int, ...]
    undone: tuple[int, ...]
    array: np.ndarray

    def fits(self, chain: Sequence[int], shape: tuple[int, int, int]) -> bool:
        """Whether a journal with these running checksums stood so once."""
        return 0 < self.records <= len(chain) and chain[self.records - 1] == self.chain and self.array.shape == shape


def store_checkpoint(path: Path, one: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all."""
    head = {"records": one.records, "chain": one.chain, "live": one.live, "undone": one.undone,
            "shape": one.array.shape}  # fmt: skip
    data = canonical_json(head) + b"\0" + zlib.compress(np.ascontiguousarray(one.array).data, 1)
    atomic_write(path, data + zlib.crc32(data).to_bytes(4, "little"))


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Return the checkpoint; None where there is none, or its bytes are not whole."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) < 4 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        return None
    head, _, packed = data[:-4].partition(b"\0")
    told = json.loads(head)
    array = np.frombuffer(bytearray(zlib.decompress(packed)), np.uint8).reshape(told["shape"])
    return Checkpoint(told["records"], told["chain"], tuple(told["live"]), tuple(told["undone"]), array)
