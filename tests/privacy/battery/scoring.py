"""Scores what a de-identifier made of planted objects: ten categories of MIDI-B, and identities left anywhere.

Reads files only, so that every tool is scored alike.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO

import numpy as np
from pydicom import DataElement, Dataset, dcmread

from .pictures import Mark
from .planting import CATEGORIES, Planted
from .studies import ROOT, SYLLABLES, Person

ORDER = ("tag retained", "text not null", "text removed", "text retained", "date shifted", "UID changed", "UID consistent",
         "patient ID consistent", "pixels hidden", "pixels retained")  # fmt: skip
PIXELS = frozenset({"pixels hidden", "pixels retained"})
_LEGIBLE = 0.2                                 # of the contrast that a letter had
LEAK = re.compile(rb"(?:%s){2,}" % "|".join(SYLLABLES).encode() + rb"|" + re.escape(ROOT).encode())


@dataclass(frozen=True)
class Case:
    """One object as it went in; ``marks`` are texts in every frame of its pixels."""

    kind: str
    person: Person
    file: bytes
    planted: tuple[Planted, ...] = ()
    marks: tuple[Mark, ...] = ()


@dataclass
class Score:
    """Counts by category; ``leaks`` are words and UIDs of people met in outputs, ``faults`` where a check failed."""

    passed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    leaks: set[bytes] = field(default_factory=set)
    refused: int = 0

    @property
    def checked(self) -> int:
        """Actions."""
        return self.passed.total() + self.failed.total()

    def share(self, *categories: str) -> float:
        """Part of the actions that passed, of some categories or of all."""
        named = categories or ORDER
        good, bad = (sum(count[one] for one in named) for count in (self.passed, self.failed))
        return good / (good + bad) if good + bad else 1.0

    def count(self, category: str, good: bool, where: str) -> None:
        """One action."""
        (self.passed if good else self.failed)[category] += 1
        if not good:
            self.faults.append(f"{category}: {where}")


class Scorer:
    """Scores outputs one after the other, in the order of their inputs; ``None`` is an object that a tool refused."""

    def __init__(self) -> None:
        self.score = Score()
        self._uids: dict[str, str] = {}
        self._patients: dict[str, str] = {}
        self._days: dict[int, int] = {}

    def add(self, case: Case, output: bytes | None) -> None:
        """Count what became of one object."""
        before = dcmread(BytesIO(case.file))
        after = Dataset() if output is None else dcmread(BytesIO(output), force=True)
        self.score.refused += output is None
        drawn = b"" if case.planted else bytes(after.get("PixelData", b""))    # in noise any six letters are met some day
        told = (output or b"").replace(drawn, b"") if drawn else output or b""
        self.score.leaks |= set(LEAK.findall(told.lower()))
        self._own(case, before, after)
        for one in case.planted:
            for category in CATEGORIES[one.act]:
                if (category, one.stays) != ("text retained", ""):
                    where = f"{case.kind} depth {len(one.path)} {one.tag:08X}"
                    self.score.count(category, output is not None and self._holds(category, one, case, before, after), where)

    def _own(self, case: Case, before: Dataset, after: Dataset) -> None:
        """The identity that an object carries itself, and its pixels."""
        for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            if keyword in before:
                one, other = str(before[keyword].value), str(after.get(keyword, ""))
                self.score.count("UID changed", other not in {"", one}, f"{case.kind} {keyword}")
                self.score.count("UID consistent", self._same(self._uids, one, other), f"{case.kind} {keyword}")
        self.score.count("patient ID consistent", self._same(self._patients, case.person.id, str(after.get("PatientID", ""))),
                         f"{case.kind} PatientID")  # fmt: skip
        shifted = _shift(before.StudyDate, str(after.get("StudyDate", "")))
        self.score.count("date shifted", bool(shifted) and shifted == self._days.setdefault(case.person.number, shifted),
                         f"{case.kind} StudyDate")  # fmt: skip
        if case.marks:
            self._burned(case, before, after)
        elif "PixelData" in before:
            self.score.count("pixels retained", after.get("PixelData") == before.PixelData, case.kind)

    def _burned(self, case: Case, before: Dataset, after: Dataset) -> None:
        """No letter of a text that identifies is left, and whatever lies further away than a letter and a half is as it was."""
        was = _frames(before)
        now = _frames(after) if "PixelData" in after else None
        good = now is not None and now.shape == was.shape
        outside = np.ones(was.shape[1:3], bool)
        for number, mark in enumerate(case.marks):
            mark.place.grown(3 * min(mark.ink.shape) // 2, shape=outside.shape).of(outside)[...] = False
            for index, frame in enumerate(was):
                self.score.count("pixels hidden", good and _hidden(mark, frame, now[index]),
                                 f"{case.kind} line {number} frame {index}")  # fmt: skip
        self.score.count("pixels retained", good and np.array_equal(now[:, outside], was[:, outside]), case.kind)

    def _same(self, known: dict[str, str], one: str, other: str) -> bool:
        """Whether a value always becomes the same, and no two become one."""
        kept = known.setdefault(one, other)
        known.setdefault(f"from {other}", one)
        return bool(other) and kept == other and known[f"from {other}"] == one

    def _holds(self, category: str, one: Planted, case: Case, before: Dataset, after: Dataset) -> bool:
        was, now = _find(before, one), _find(after, one)
        text = "" if now is None else _text(now)
        if category == "date shifted":
            shifted = _shift(_text(was), text) if was is not None else 0
            return bool(shifted) and shifted == self._days.get(case.person.number)
        if category == "UID consistent":
            return not text or self._same(self._uids, one.gone[0], text)
        if category == "patient ID consistent":
            return not text or self._same(self._patients, case.person.id, text)
        return _CHECKS[category](one, now, text.lower())


_CHECKS: Mapping[str, Callable[[Planted, DataElement | None, str], bool]] = {
    "tag retained": lambda one, now, text: now is not None and (not one.stays or text == one.stays.lower()),
    "text not null": lambda one, now, text: now is not None and bool(text),
    "text removed": lambda one, now, text: not any(word.lower() in text for word in one.gone),
    "text retained": lambda one, now, text: one.stays.lower() in text,
    "UID changed": lambda one, now, text: one.gone[0] not in text,
    "pixels hidden": lambda one, now, text: not any(word in text for word in one.gone),
}


def _frames(ds: Dataset) -> np.ndarray:
    """Values as a viewer has them: (frames, rows, columns, samples)."""
    values = ds.pixel_array
    values = values if ds.get("NumberOfFrames") else values[None]
    return values if values.ndim == 4 else values[..., None]


def _hidden(mark: Mark, was: np.ndarray, now: np.ndarray) -> bool:
    """Whether in no piece of the text, as wide as it is high, ink stands out of its ground any more."""
    seen, left = (mark.place.of(frame).astype(np.float32).mean(axis=2) for frame in (was, now))
    step = mark.ink.shape[0]
    for at in range(0, mark.ink.shape[1], step):
        piece = np.s_[:, at:at + step]
        ink = mark.ink[piece]
        if ink.any() and not ink.all():
            before, after = (abs(one[piece][ink].mean() - one[piece][~ink].mean()) for one in (seen, left))
            if after > _LEGIBLE * before:
                return False
    return True


def table(scores: Mapping[str, Score]) -> str:
    """Markdown: a row a category, a column a tool, in per cent; then leaks and refusals."""
    lines = ["| | actions | " + " | ".join(scores) + " |", "|---|" + "---|" * (len(scores) + 1)]
    first = next(iter(scores.values()))
    for name in ORDER:
        counted = first.passed[name] + first.failed[name]
        lines.append(f"| {name} | {counted:,} | " + " | ".join(f"{100 * one.share(name):.2f}" for one in scores.values()) + " |")
    header = [name for name in ORDER if name not in PIXELS]
    lines += [
        f"| **header** | {sum(first.passed[n] + first.failed[n] for n in header):,} | "
        + " | ".join(f"**{100 * one.share(*header):.2f}**" for one in scores.values()) + " |",
        f"| **all** | {first.checked:,} | " + " | ".join(f"**{100 * one.share():.2f}**" for one in scores.values()) + " |",
        "| identities left (words, UIDs) | | " + " | ".join(f"{len(one.leaks):,}" for one in scores.values()) + " |",
        "| objects refused | | " + " | ".join(str(one.refused) for one in scores.values()) + " |",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _find(ds: Dataset, one: Planted) -> DataElement | None:
    for tag in one.path:
        if tag not in ds or not ds[tag].value:
            return None
        ds = ds[tag].value[0]
    return ds.get(one.tag)


def _text(element: DataElement) -> str:
    """Everything that an element says, its items too."""
    value = element.value
    if element.VR == "SQ":
        return " ".join(_text(inner) for item in value or () for inner in item)
    if isinstance(value, bytes):
        return value.decode("latin-1").rstrip("\0 ")
    return "" if value is None else str(value)


def _shift(one: str, other: str) -> int:
    try:
        return (datetime.strptime(other[:8], "%Y%m%d") - datetime.strptime(one[:8], "%Y%m%d")).days
    except ValueError:
        return 0
