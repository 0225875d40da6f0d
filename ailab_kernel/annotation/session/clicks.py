"""Clicks that ask for a proposal: which of them wait, and which the standing proposals have answered.

A click is a record of its own; the patch that answers it holds every click of its proposal. Whatever is taken back
takes its clicks along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ailab_kernel.annotation.drawing import Click
from ailab_kernel.ground.errors import WrongUse

_MOST = 10_000


@dataclass
class Clicks:
    """What a journal says of clicks, record by record.

    Attributes
    ----------
    waiting
        Clicks that nothing has answered, oldest first, all of one label.
    """

    waiting: list[Click] = field(default_factory=list)
    _label: int = 0
    _accepted: int = 0
    _patches: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def note(self, index: int, head: Mapping[str, Any], points: bytes) -> None:
        """Take one record of the journal, by its number, into account."""
        kind, operation = head["kind"], head.get("operation") or {}
        if kind == "click":
            # A click for another label is another question; the one before it is dropped.
            kept = self.waiting if operation["label"] == self._label else []
            self._label = operation["label"]
            self.waiting = [*kept, *_clicks(operation["value"], points)]
        elif kind == "draw" and operation["tool"] == "patch":
            self._patches[index] = operation
            if operation["patch"]["clicks"]:
                self.waiting = []
        elif kind in {"accept", "drop"}:
            self.waiting = []
            self._accepted = index if kind == "accept" else self._accepted

    def of(self, live: Sequence[int]) -> tuple[Click, ...]:
        """Return the running proposal's clicks; ``live``: records of the operations that stand, in order."""
        answered = self._running(live)
        before = answered["patch"]["clicks"] if answered and answered["label"] == self.label_of(live) else ()
        return (*((one[0], one[1], one[2], one[3]) for one in before), *self.waiting)

    def label_of(self, live: Sequence[int]) -> int:
        """Return the label that the running proposal is about; 0: there is none."""
        answered = self._running(live)
        return self._label if self.waiting else int(answered["label"]) if answered else 0

    def makers(self, live: Sequence[int]) -> tuple[str, ...]:
        """Return what made the patches that stand, each once, in order."""
        return tuple(dict.fromkeys(self._patches[one]["patch"]["made_by"] for one in live if one in self._patches))

    def _running(self, live: Sequence[int]) -> Mapping[str, Any] | None:
        standing = set(live)
        newest = (one for one in reversed(self._patches) if one in standing and one > self._accepted)
        return next((self._patches[one] for one in newest if self._patches[one]["patch"]["clicks"]), None)


def read_clicks(
    head: Mapping[str, Any] | None, points: bytes, *, shape: tuple[int, int, int], values: tuple[int, ...]
) -> tuple[dict[str, Any], list[Click]]:
    """Return the clicks that a browser sent, checked: their head as JSON values, and each with its value.

    Parameters
    ----------
    head
        ``label`` that is asked about, ``value`` that belongs at the points (the label, or 0 for background), and
        ``locked``: values that must not change.
    points
        Little-endian float32, three a point (slice, row, column).
    shape
        Of the volume.
    values
        The labels' values.

    Raises
    ------
    WrongUse
        These are no clicks into this volume.
    """
    try:
        told = {"label": int((head or {})["label"]), "value": int((head or {})["value"])}
        found, locked = _clicks(told["value"], points), told["label"] in (head or {})["locked"]
    except (LookupError, TypeError, ValueError) as fault:
        msg = "what the browser sent are no clicks; reload the page, and run the cell again"
        raise WrongUse(msg) from fault
    inside = all(-0.5 <= one < size - 0.5 for click in found for one, size in zip(click, shape, strict=False))
    if locked:
        msg = "the label is locked; unlock it, then click again"
        raise WrongUse(msg)
    known = told["label"] in values and told["value"] in {0, told["label"]}
    if not known or not inside or not 0 < len(found) <= _MOST:
        msg = "the click lies outside of the image, or no label is chosen; choose a label and click into the image"
        raise WrongUse(msg)
    return told, found


def _clicks(value: int, points: bytes) -> list[Click]:
    places = np.frombuffer(points, "<f4").reshape(-1, 3).tolist()
    return [(one, two, three, value) for one, two, three in places]
