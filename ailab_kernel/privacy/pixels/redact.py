"""One object without text in its pixels: rules, reading, masks, and what a person should look at."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from io import BytesIO

import numpy as np
from pydicom import Dataset

from ailab_kernel.privacy.rules.text import Cleaner

from .boxes import Box, outside
from .pictures import Frames, Reader, mask
from .pictures.masking import Boxes, clear_spare_bits
from .risk import Look, Risk, risk_of
from .search import Found, Search
from .texts import Judge, known_in

_THUMBNAIL, _PICTURES = 640, 3


class Pixels(StrEnum):
    """How far pixels are searched for text."""

    OFF = "off"                    # not at all
    RULES = "rules"                # what lies outside of ultrasound's regions is filled; other objects at risk are held
    DETECT = "detect"              # objects that the rules do not clear are read
    EVERY = "every"                # every picture is read, whatever the rules say


@dataclass(frozen=True)
class View:
    """A frame before and after, as PNG; what was burned in is seen in the first."""

    frame: int
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)
    shape: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Redaction:
    """What became of an object's pixels. Its texts and views identify: they stay on the clinical side.

    Attributes
    ----------
    risk
        What the rules said.
    boxes
        By frame, what was filled.
    found
        Every text that was read, and its fate.
    read
        How many frames were read.
    held
        Why a person should look before the object is passed on; empty where nobody need to.
    views
        Frames before and after, for the sheet.
    decided
        Whether a person said what is filled.
    """

    risk: Risk
    boxes: Mapping[int, tuple[Box, ...]] = field(default_factory=dict)
    found: tuple[Found, ...] = field(default=(), repr=False)
    read: int = 0
    held: str = ""
    views: tuple[View, ...] = field(default=(), repr=False)
    decided: bool = False

    @property
    def masked(self) -> int:
        """How many frames were changed."""
        return len(self.boxes)

    @property
    def summary(self) -> dict[str, int | str]:
        """What a report may say: nothing of it identifies."""
        fates = Counter(one.fate.name.lower() for one in self.found)
        boxes = sum(len(one) for one in self.boxes.values())
        told = {"look": self.risk.look.value, "why": self.risk.why, "frames_read": self.read,
                "frames_masked": self.masked, "boxes": boxes, **fates, "held": self.held}  # fmt: skip
        return told | ({"decided": 1} if self.decided else {})

    @property
    def looked(self) -> bool:
        """Whether frames were read or filled, or a person looked at them."""
        return bool(self.read or self.boxes or self.decided)


@dataclass(frozen=True)
class Redactor:
    """Takes text out of pixels.

    Attributes
    ----------
    mode
        How far they are searched.
    keep_technical
        Whether text that is only technical stays on screens and ultrasound too.
    hold
        Whether objects are held in which the rules expect text and none was found.
    samples
        How many frames of a cine are read at least.
    pictures
        Whether the result carries views for the contact sheet.
    reader
        Who reads.
    exactly
        By frame, the boxes that a person decided on: these are filled, whatever the rules say, and nobody reads.
    """

    mode: Pixels = Pixels.DETECT
    keep_technical: bool = False
    hold: bool = False
    samples: int = 5
    pictures: bool = False
    reader: Reader = field(default_factory=Reader)
    exactly: Boxes | None = None

    def redact(self, ds: Dataset, *, identifiers: Iterable[str] = (), asked: Boxes | None = None) -> Redaction:
        """Fill what identifies in an object's pixels; where nothing does they keep every byte.

        Parameters
        ----------
        ds
            Changed; see :func:`.masking.mask`. Its header is to be as it came, for the rules read it.
        identifiers
            Values of the study that are looked for in what is read.
        asked
            By frame, boxes that a person wants filled besides.

        Raises
        ------
        DicomError
            An object at risk whose pixels cannot be decoded.
        """
        risk = self._risk(ds)
        if self.mode is not Pixels.OFF:
            clear_spare_bits(ds)
        if risk.look is Look.CLEAR and not asked and self.exactly is None:
            return Redaction(risk)
        Frames(ds).check()
        made = self._decided(ds, risk, frozenset(identifiers))
        made = replace(made, boxes=_joined(made.boxes, asked or {}, Frames(ds)))
        before = self._shown(ds, made) if self.pictures else {}
        mask(ds, made.boxes)
        after = self._shown(ds, made) if self.pictures else {}
        shape = Frames(ds).shape
        return replace(made, views=tuple(View(index, png, after[index], shape) for index, png in before.items()))

    def again(self, ds: Dataset, identifiers: Iterable[str]) -> tuple[Found, ...]:
        """Return texts of a finished object that hold an identifier: there should be none.

        Parameters
        ----------
        ds
            De-identified. Every frame that the search would read is read.
        identifiers
            What is looked for.
        """
        if self.mode in {Pixels.OFF, Pixels.RULES}:
            return ()
        frames, judge = Frames(ds), Judge(_known(identifiers))
        frames.check()
        search = Search(frames, self.reader, judge, Risk(Look.READ, "proof"), self.samples)
        search.boxes()
        return tuple(one for one in search.found if known_in(judge.identifiers, one.text.words))

    def _risk(self, ds: Dataset) -> Risk:
        if self.mode is Pixels.OFF:
            return Risk(Look.CLEAR, "nobody asked")
        risk = risk_of(ds)
        there = self.mode is Pixels.EVERY and "PixelData" in ds and int(ds.get("BitsAllocated") or 0) > 1
        return Risk(Look.READ, "every picture is read") if there and risk.look is Look.CLEAR else risk

    def _decided(self, ds: Dataset, risk: Risk, identifiers: frozenset[str]) -> Redaction:
        frames = Frames(ds)
        if self.exactly is not None:
            return Redaction(risk, _joined({}, self.exactly, frames), decided=True)
        if risk.look is Look.CLEAR:
            return Redaction(risk)
        if self.mode is Pixels.RULES:
            places = outside(risk.regions, shape=frames.shape) if risk.regions else ()
            around = tuple(frames.fitted(one) for one in places)
            held = "" if risk.regions else f"text may be burned in ({risk.why}), and nobody read it"
            return Redaction(risk, dict.fromkeys(range(frames.count), around) if around else {}, held=held)
        search = Search(frames, self.reader, Judge(_known(identifiers), self.keep_technical), risk, self.samples)
        boxes = search.boxes()
        expected = self.hold and risk.look is Look.ALL and not boxes
        many = "too many frames differ: some were filled in every place of text, unread" if search.given_up else ""
        held = f"text is expected ({risk.why}), and none was found" if expected else many
        return Redaction(risk, boxes, tuple(search.found), len(search.read), held)

    def _shown(self, ds: Dataset, made: Redaction) -> dict[int, bytes]:
        wanted = list(dict.fromkeys((*made.boxes, *(one.frame for one in made.found), 0)))[:_PICTURES]
        return {index: _png(Frames(ds).pictures(index)) for index in sorted(wanted)}


NOBODY = Redactor(Pixels.OFF)


def _known(identifiers: Iterable[str]) -> frozenset[str]:
    """Identifiers whole and in the parts that a picture may show."""
    return Cleaner.of(identifiers).identifiers


def _joined(boxes: Boxes, asked: Boxes, frames: Frames) -> Mapping[int, tuple[Box, ...]]:
    return {index: (*boxes.get(index, ()), *(frames.fitted(Box(*one)) for one in asked.get(index, ())))
            for index in sorted({*boxes, *asked})}  # fmt: skip


def _png(pictures: tuple[np.ndarray, ...]) -> bytes:
    from PIL import Image

    picture = Image.fromarray(pictures[0] if pictures else np.zeros((8, 8, 3), np.uint8))
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()
