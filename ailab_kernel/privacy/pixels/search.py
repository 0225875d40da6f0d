"""Text in the frames of one object: sampled frames are read, the others are proven to be like them, or read too."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .boxes import Box, Text
from .pictures import Frames, Reader
from .risk import Risk
from .texts import Fate, Judge

_SAME = 0.06                                   # of the values' range: what compression with loss may change
_STRIKING = 0.3                                # of the range: by how much letters differ from their ground
_LETTERS = 24                                  # pixels that change where nothing moved are letters
_OFTEN = 48                                    # frames that are read at most; the others get every box that any has


@dataclass(frozen=True)
class Found:
    """A text in a frame, and what becomes of it.

    Attributes
    ----------
    frame
        From 0.
    text
        It may identify: it stays on the clinical side.
    fate
        Goes or stays, and why.
    """

    frame: int
    text: Text
    fate: Fate

    @property
    def box(self) -> Box:
        """The text's box with a border, for letters reach out of what a reader calls their box."""
        height = min(self.text.box.bottom - self.text.box.top, self.text.box.right - self.text.box.left)
        return self.text.box.grown(max(2, height // 6), shape=(1 << 16, 1 << 16))


@dataclass
class Search:
    """Looks through the frames of one object.

    Attributes
    ----------
    frames
        Of the object.
    reader, judge, risk
        Who reads, who decides, and what the rules say.
    samples
        How many frames are read at least, spread evenly.
    """

    frames: Frames
    reader: Reader
    judge: Judge
    risk: Risk
    samples: int = 5
    found: list[Found] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    given_up: bool = False

    def boxes(self) -> Mapping[int, tuple[Box, ...]]:
        """By frame, what is to be filled; frames without anything are left out."""
        last = self.frames.count - 1
        sampled = sorted({round(at) for at in np.linspace(0, last, min(self.samples, last + 1))})
        for index in sampled:
            self._read(index)
        if self.frames.count > 1:
            self._rest(sampled)
        return {index: tuple(sorted({self.frames.fitted(one) for one in places}))
                for index, places in sorted(self._wanted.items()) if places}  # fmt: skip

    def _read(self, index: int) -> None:
        texts = self.reader.texts(self.frames.pictures(index))
        new = [Found(index, text, self.judge.fate(text, self.risk)) for text in texts]
        self.found += new
        self.read.add(index)
        self._wanted[index] = {one.box for one in new if one.fate.goes}

    def _rest(self, sampled: list[int]) -> None:
        seen = _Seen(self.frames, sampled)
        for index in range(self.frames.count):
            frame = self.frames.values(index, rgb=True)
            same, open_ = seen.compare(frame, self._wanted)
            known = same | self._wanted.get(index, set())
            if index not in self.read and (open_ or seen.changed(frame, known, outside=self.risk.regions)):
                if len(self.read) < _OFTEN:
                    self._read(index)
                    seen.add(index, frame)
                else:
                    self.given_up, known = True, known | open_
            self._wanted[index] = self._wanted.get(index, set()) | known

    def __post_init__(self) -> None:
        """Begin with nothing wanted."""
        self._wanted: dict[int, set[Box]] = {}


class _Seen:
    """Frames that were read, and what never changed among them."""

    def __init__(self, frames: Frames, sampled: list[int]) -> None:
        self._frames: dict[int, np.ndarray] = {index: frames.values(index, rgb=True) for index in sampled}
        whole = np.stack(list(self._frames.values()))
        self._low, self._high = whole.min(axis=0), whole.max(axis=0)
        self._range = max(float(self._high.max()) - float(self._low.min()), 1.0)

    def add(self, index: int, frame: np.ndarray) -> None:
        """Remember one more."""
        self._low, self._high = np.minimum(self._low, frame), np.maximum(self._high, frame)
        if len(self._frames) < 2 * 5:
            self._frames[index] = frame

    def compare(self, frame: np.ndarray, wanted: Mapping[int, set[Box]]) -> tuple[set[Box], set[Box]]:
        """Boxes that hold what a frame with that box holds, and boxes that hold what no frame that was read holds."""
        same: set[Box] = set()
        open_: set[Box] = set()
        for box in set().union(*(wanted.get(index, set()) for index in self._frames)):
            alike = {index for index, other in self._frames.items() if self._alike(box.of(frame), box.of(other))}
            if any(box in wanted.get(index, set()) for index in alike):
                same.add(box)
            elif not alike:
                open_.add(box)
        return same, open_

    def changed(self, frame: np.ndarray, known: Iterable[Box], *, outside: Iterable[Box]) -> bool:
        """Whether something strikes in a place where nothing changed among frames that were read."""
        values = frame.astype(np.float32)
        new = np.maximum(values - self._high, self._low - values) > _STRIKING * self._range
        still = (self._high.astype(np.float32) - self._low) <= _SAME * self._range
        new &= still
        for box in (*known, *outside):
            box.of(new)[...] = False
        return int(np.count_nonzero(new if new.ndim == 2 else new.any(axis=2))) >= _LETTERS

    def _alike(self, one: np.ndarray, other: np.ndarray) -> bool:
        far = np.abs(one.astype(np.float32) - other)
        return bool(far.size) and float(far.mean()) <= _SAME * self._range / 2 and float(
            np.count_nonzero(far > _STRIKING * self._range)) < max(0.005 * far.size, 4)  # fmt: skip
