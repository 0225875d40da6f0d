"""A label in a box, as bits: what a helper or another reader's mask puts in, so that a replay needs neither of them."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ailab_kernel.ground.errors import WrongUse

# A click: slice, row and column, and the value that belongs there (0: background).
Click = tuple[float, float, float, int]
_MOST_CLICKS = 100_000


@dataclass(frozen=True, eq=False)
class Patch:
    """What a label is in a box of voxels.

    Attributes
    ----------
    box
        Slices, rows and columns.
    bits
        bool, of the box's shape: where the label is.
    made_by
        What made it: a model's reference, a method, or a reader's name.
    clicks
        What it answers, oldest first; empty where nobody clicked.
    """

    box: tuple[slice, slice, slice]
    bits: np.ndarray
    made_by: str
    clicks: tuple[Click, ...] = ()

    def head(self) -> dict[str, Any]:
        """Everything but the bits, as JSON values."""
        return {"box": [[span.start, span.stop] for span in self.box], "made_by": self.made_by,
                "clicks": [list(one) for one in self.clicks]}  # fmt: skip

    def packed(self) -> bytes:
        """The bits, eight a byte, zlib-compressed."""
        return zlib.compress(np.packbits(self.bits).tobytes(), 1)


def box_of(where: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the smallest box that holds every marked voxel, bool in 3-D; one voxel where none is marked."""
    box = []
    for axis in range(3):
        there = np.flatnonzero(where.any(axis=tuple(one for one in range(3) if one != axis)))
        box.append(slice(int(there[0]), int(there[-1]) + 1) if len(there) else slice(0, 1))
    return box[0], box[1], box[2]


def read_patch(head: Mapping[str, Any], data: bytes, shape: tuple[int, int, int]) -> Patch:
    """Return the patch of `Patch.head` and `Patch.packed`.

    Raises
    ------
    WrongUse
        The box is not in the volume, or the bits do not fill it.
    """
    spans = [(int(first), int(stop)) for first, stop in head["box"]]
    clicks = tuple((float(one), float(two), float(three), int(value)) for one, two, three, value in head["clicks"])
    fits = len(spans) == 3 and all(0 <= first < stop <= size for (first, stop), size in zip(spans, shape, strict=True))
    sizes = [stop - first for first, stop in spans]
    # Never more than the box may hold, whatever the bytes say of themselves.
    most = -(-int(np.prod(sizes)) // 8) if fits else 0
    try:
        bits = zlib.decompressobj().decompress(data, most + 1) if fits else b""
    except zlib.error:
        bits = b""
    if not fits or len(bits) != most or len(clicks) > _MOST_CLICKS:
        msg = "a proposal that does not fit the series; reload the page, and ask for it again"
        raise WrongUse(msg)
    marked = np.unpackbits(np.frombuffer(bits, np.uint8), count=int(np.prod(sizes))).astype(bool).reshape(sizes)
    box = tuple(slice(first, stop) for first, stop in spans)
    return Patch((box[0], box[1], box[2]), marked, str(head["made_by"])[:200], clicks)
