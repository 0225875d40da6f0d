"""Places in a frame, and what a frame says there."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Box(NamedTuple):
    """A rectangle of pixels, half open: ``frame[top:bottom, left:right]``; rows and columns count from 0."""

    top: int
    left: int
    bottom: int
    right: int

    def grown(self, by: int, *, shape: tuple[int, ...]) -> "Box":
        """The box with a border of ``by`` pixels, inside a frame of ``shape`` (rows, columns)."""
        return Box(max(self.top - by, 0), max(self.left - by, 0), min(self.bottom + by, shape[0]),
                   min(self.right + by, shape[1]))  # fmt: skip

    def of(self, frame: np.ndarray) -> np.ndarray:
        """The pixels of a frame (rows, columns, ...) in the box: a view."""
        return frame[self.top:self.bottom, self.left:self.right]

    def overlap(self, other: "Box") -> int:
        """How many pixels both have."""
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        width = min(self.right, other.right) - max(self.left, other.left)
        return max(height, 0) * max(width, 0)

    @property
    def area(self) -> int:
        """How many pixels it has."""
        return max(self.bottom - self.top, 0) * max(self.right - self.left, 0)


@dataclass(frozen=True)
class Text:
    """Text in a frame.

    Attributes
    ----------
    box
        Where.
    words
        What was read. It may identify: it stays on the clinical side.
    score
        How sure the reader is, 0 to 1.
    """

    box: Box
    words: str = field(repr=False)
    score: float


def outside(boxes: Iterable[Box], *, shape: tuple[int, int]) -> tuple[Box, ...]:
    """Cover what lies in none of ``boxes``, in a frame of ``shape`` (rows, columns), with rectangles."""
    inside = sorted(boxes)
    rows = sorted({0, shape[0], *(edge for one in inside for edge in (one.top, one.bottom))})
    found: list[Box] = []
    for top, bottom in pairwise(rows):
        at = 0
        spans = sorted((one.left, one.right) for one in inside if one.top <= top and bottom <= one.bottom)
        for left, right in (*spans, (shape[1], shape[1])):
            if left > at:
                found.append(Box(top, at, bottom, left))
            at = max(at, right)
    return tuple(found)
