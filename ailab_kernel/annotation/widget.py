"""The widget in a notebook's cell: slices out, strokes in, each acknowledged when it is on the disk.

Pixels travel as binary custom messages, slice by slice on demand; no trait holds any. The page draws a stroke at once,
and shows the session's own voxels when the acknowledgement brings them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from ailab_kernel import __version__
from ailab_kernel.ground.errors import AilabError, WrongUse
from ailab_kernel.volumes.planes import planes_of

from .session import Session

_STATIC = Path(__file__).parent / "static"
# Name, centre and width of a display window, HU (usual presets of CT).
_WINDOWS = (("soft tissue", 40, 400), ("lung", -600, 1500), ("mediastinum", 50, 350), ("bone", 400, 1800),
            ("brain", 40, 80))  # fmt: skip
_MOST_SLICES = 64
Save = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Worklist:
    """The cases that the person may turn to.

    Attributes
    ----------
    states
        State of every case as it stands now, in order.
    turn
        Opens a case by its number, from 0: its session, a title, and what its save button does.
    series_uids
        SeriesInstanceUID (0020,000E) of every case.
    """

    states: Callable[[], Sequence[str]]
    turn: Callable[[int], tuple[Session, str, Save]]
    series_uids: Sequence[str]

    @property
    def told(self) -> list[str]:
        """States, for the page."""
        return list(self.states())
_WHOLE = 65535


class Annotator(anywidget.AnyWidget):
    """A session on the screen.

    Attributes
    ----------
    session
        What it draws on.
    scene
        Trait, JSON values: grid, planes, labels, windows, names. It changes when a session is opened.
    """

    _esm = _STATIC / "annotate.js"
    _css = _STATIC / "annotate.css"
    scene = traitlets.Dict().tag(sync=True)

    def __init__(
        self, session: Session, *, title: str = "", save: Save | None = None, worklist: Worklist | None = None,
    ) -> None:  # fmt: skip
        """Show a session.

        Parameters
        ----------
        session
            Opened for writing.
        title
            A line for the person; never a patient's name or ID.
        save
            What the save button does; its answer is told to the page.
        worklist
            Other cases to turn to.
        """
        self._worklist = worklist
        self._show(session, title, save)
        super().__init__(scene=self._scene())
        self.on_msg(self._heard)

    def _show(self, session: Session, title: str, save: Save | None) -> None:
        self.session, self._title, self._save = session, title, save
        self._pixels, self._scale = _screen_values(session)
        self._counts = _slice_counts(session.array, self._values)

    @property
    def _values(self) -> list[int]:
        return list(self.session.case.values)

    def _scene(self) -> dict[str, Any]:
        vol, case = self.session.vol, self.session.case
        ct = vol.facts.get("Modality") == "CT"
        return {
            "version": __version__, "session": case.name, "title": self._title, "reader": case.reader,
            "shape": list(vol.grid.shape), "spacing": list(vol.spacing_mm), "voxel_ml": vol.grid.voxel_ml,
            "metric": (vol.grid.affine[:3, :3].T @ vol.grid.affine[:3, :3]).tolist(),
            "planes": [plane.told() for plane in planes_of(vol.grid)],
            "labels": [{"value": one.index, "name": one.name, "meaning": one.code.meaning, "color": list(one.color)}
                       for one in case.labels],
            "windows": [*(_WINDOWS if ct else ()), ("whole range", *_whole_window(vol.array, self._scale))],
            "unit": "HU" if ct else "", "dtype": self._pixels.dtype.name, **self._scale,
            "case": self._worklist.series_uids.index(case.series_uid) if self._worklist else 0,
            "can_save": self._save is not None, "cases": self._worklist.told if self._worklist else [],
        }  # fmt: skip

    def _heard(self, widget: Any, message: Any, buffers: Sequence[Any]) -> None:
        """Answer one message of the page; what cannot be done is one line on it."""
        try:
            kind = str(message["kind"]) if isinstance(message, dict) else ""
            answer = _ANSWERS.get(kind)
            if answer is None:
                msg = f"message {kind[:20]!r} is unknown; reload the page, and run the cell again"
                raise WrongUse(msg)
            if message.get("session") != self.session.case.name:
                msg = "this page shows another case than the kernel; what you drew waits in it: reload the page"
                raise WrongUse(msg)
            answer(self, message, bytes(buffers[0]) if buffers else b"")
        except AilabError as error:
            self._tell({"kind": "failed", "said": str(error)}, to=message)

    def _tell(
        self, content: Mapping[str, Any], buffers: Sequence[bytes] = (), *, to: Mapping[str, Any] | None = None
    ) -> None:
        """Send to the pages that show the session, or to those that show what a message was about."""
        session = (to or {}).get("session", self.session.case.name)
        self.send({"session": session, **content}, list(buffers))

    def _hello(self, message: Mapping[str, Any], _: bytes) -> None:
        """A page begins, or comes back: from which number on its strokes are wanted."""
        clients = [str(one)[:64] for one in message.get("clients", ())][:1000]
        self._tell({"kind": "welcome", "expected": {one: self.session.expected(one) for one in clients},
                   **self._standing()})  # fmt: skip

    def _slices(self, message: Mapping[str, Any], _: bytes) -> None:
        for axis, index in message.get("want", ())[:_MOST_SLICES]:
            if axis in (0, 1, 2) and isinstance(index, int) and 0 <= index < self.session.vol.grid.shape[axis]:
                plane = np.ascontiguousarray(np.take(self._pixels, index, axis=axis))
                self._tell({"kind": "slice", "axis": axis, "index": index},
                          [plane.tobytes(), self._labels(axis, index)])  # fmt: skip

    def _drawn(self, message: Mapping[str, Any], points: bytes) -> None:
        done = self.session.do({**message, "kind": message.get("act")}, points)
        if done.span:
            first, last = done.span[0]
            part = self.session.array[first : last + 1]
            self._counts[first : last + 1] = _slice_counts(part, self._values)
        shown = [[axis, index] for axis, index in message.get("shown", ())[:3] if axis in (0, 1, 2)
                 and isinstance(index, int) and 0 <= index < self.session.vol.grid.shape[axis]]  # fmt: skip
        self._tell({"kind": "kept", "client": done.client, "number": done.number, "span": done.span,
                   "said": done.said, "again": done.again, "shown": shown, **self._standing()},
                  [self._labels(axis, index) for axis, index in shown])  # fmt: skip

    def _saved(self, message: Mapping[str, Any], _: bytes) -> None:
        if self._save is None:
            msg = "this session has no place to be saved to; its strokes are kept"
            raise WrongUse(msg)
        told = self._save()
        self._tell({"kind": "saved", **told, "cases": self._worklist.told if self._worklist else []})

    def _turned(self, message: Mapping[str, Any], _: bytes) -> None:
        """Another case: its session is opened, then this one closed, and every page shows the new one."""
        number, states = message.get("number"), self._worklist.states() if self._worklist else ()
        if self._worklist is None or not isinstance(number, int) or not 0 <= number < len(states):
            msg = f"the worklist has {len(states)} cases; choose one of them"
            raise WrongUse(msg)
        opened, before = self._worklist.turn(number), self.session
        if opened[0].journal.path != before.journal.path:
            before.close()
        self._show(*opened)
        self.scene = self._scene()

    def _labels(self, axis: int, index: int) -> bytes:
        return np.ascontiguousarray(np.take(self.session.array, index, axis=axis)).tobytes()

    @property
    def _stamp(self) -> int:
        """Grows with every record: which of two label slices is newer."""
        return len(self.session.records)

    def _standing(self) -> dict[str, Any]:
        """What the page shows beside the picture."""
        slices, voxels = (self._counts > 0).sum(axis=0), self._counts.sum(axis=0)
        return {"edits": self._stamp, "undo": self.session.can_undo, "redo": self.session.can_redo,
                "slices": slices.tolist(), "voxels": voxels.tolist()}  # fmt: skip


_ANSWERS: dict[str, Callable[[Annotator, Mapping[str, Any], bytes], None]] = {
    "hello": Annotator._hello, "slices": Annotator._slices, "do": Annotator._drawn, "save": Annotator._saved,
    "case": Annotator._turned,
}  # fmt: skip


def _slice_counts(array: np.ndarray, values: list[int]) -> np.ndarray:
    """Voxels of each label in each slice, int64, shape (slices, labels)."""
    found = [np.bincount(plane.reshape(-1), minlength=256)[values] for plane in array]
    return np.array(found, np.int64).reshape(len(array), len(values))


def _screen_values(session: Session) -> tuple[np.ndarray, dict[str, float]]:
    """What the page gets: the stored values where they are 16 bits of one scale, else as finely as 16 bits allow."""
    vol, stored = session.vol, session.vol.array.dtype
    if stored.kind in "iu" and stored.itemsize <= 2 and not (np.ndim(vol.slope) or np.ndim(vol.intercept)):
        scale = {"slope": float(vol.slope), "intercept": float(vol.intercept)}
        return vol.array.astype(stored.newbyteorder("="), copy=False), scale
    values = np.nan_to_num(vol.values)
    low, high = float(values.min()), float(values.max())
    slope = (high - low) / _WHOLE or 1.0
    return np.rint((values - low) / slope).astype(np.uint16), {"slope": slope, "intercept": low}


def _whole_window(array: np.ndarray, scale: Mapping[str, float]) -> tuple[float, float]:
    """Centre and width of a window from the 1st to the 99th percentile of every few voxels."""
    step = max(1, round((array.size / 200_000) ** (1 / 3)))
    low, high = np.percentile(array[::step, ::step, ::step], (1, 99)) * scale["slope"] + scale["intercept"]
    return round(float(low + high) / 2), max(1, round(float(high - low)))
