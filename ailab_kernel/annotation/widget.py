"""The widget in a notebook's cell: slices out, strokes in, each acknowledged when it is on the disk.

Pixels travel as binary custom messages, slice by slice on demand; no trait holds any. The page draws a stroke at once,
and shows the session's own voxels when the acknowledgement brings them.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets

from ailab_kernel.ground.errors import AilabError, WrongUse
from ailab_kernel.volumes.masks import Mask

from .drawing import Operation
from .screen import Answer, Helper, Solid, scene_of, screen_values, slice_counts, taken
from .session import Session

if TYPE_CHECKING:
    from .assist import Refiner

_STATIC = Path(__file__).parent / "static"
_MOST_SLICES = 64
# Who numbers what a helper drew: the kernel is one more hand at the journal.
_HELPER = "helper"
Save = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Worklist:
    """The cases that the person may turn to.

    Attributes
    ----------
    states
        State of every case as it stands now, in order.
    turn
        Opens a case by its number, from 0: its session, a title, what its save button does, and other readers' masks
        as of `Annotator`.
    series_uids
        SeriesInstanceUID (0020,000E) of every case.
    """

    states: Callable[[], Sequence[str]]
    turn: Callable[[int], tuple[Session, str, Save, Mapping[str, Mask]]]
    series_uids: Sequence[str]

    @property
    def told(self) -> list[str]:
        """States, for the page."""
        return list(self.states())


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
        refiner: "Refiner | None" = None, references: Mapping[str, Mask] | None = None,
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
        refiner
            What answers clicks; None: the one that needs no model.
        references
            Other readers' masks of the first case on its grid, by a name to be shown (a pseudonym): outlines that may
            be hidden, and taken over.

        Raises
        ------
        WrongUse
            A reference lies on another grid.
        """
        self._worklist = worklist
        self._lock = threading.RLock()         # the helper's thread draws too
        self._helper = Helper(refiner, self._thought)
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="ailab-solid")
        self._show(session, title, save, references)
        super().__init__(scene=self._scene())
        self.on_msg(self._heard)

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Every trait is the kernel's: one that a page sets is refused in one line."""
        with self._told({}):
            msg = f"the page sets {', '.join(sorted(sync_data))[:60]}, which is the kernel's; reload the page"
            raise WrongUse(msg)

    def _show(
        self, session: Session, title: str, save: Save | None, references: Mapping[str, Mask] | None = None
    ) -> None:
        shown = dict(references or {})
        wrong = [name for name, mask in shown.items() if not mask.grid.matches(session.vol.grid)]
        if wrong:
            msg = f"the reference {wrong[0]!r} lies on another grid than the series; resample it first"
            raise WrongUse(msg)
        self.session, self._title, self._save, self._references = session, title, save, shown
        self._helper.drop()
        self._pixels, self._scale = screen_values(session.vol)
        self._solid = Solid(session.vol.grid.shape, session.vol.spacing_mm)
        self._counts = slice_counts(session.array, self._values)

    @property
    def _values(self) -> list[int]:
        return list(self.session.case.values)

    def _scene(self) -> dict[str, Any]:
        work = self._worklist
        return scene_of(
            self.session, self._pixels, scale=self._scale, references=list(self._references), title=self._title,
            can_save=self._save is not None, cases=work.told if work else [],
            case=work.series_uids.index(self.session.case.series_uid) if work else 0,
        )  # fmt: skip

    def _heard(self, widget: Any, message: Any, buffers: Sequence[Any]) -> None:
        """Answer one message of the page; what cannot be done is one line on it."""
        with self._told(message if isinstance(message, dict) else {}):
            kind = str(message["kind"]) if isinstance(message, dict) and "kind" in message else ""
            answer = _ANSWERS.get(kind)
            if answer is None:
                msg = f"message {kind[:20]!r} is unknown; reload the page, and run the cell again"
                raise WrongUse(msg)
            if message.get("session") != self.session.case.name:
                msg = "this page shows another case than the kernel; what you drew waits in it: reload the page"
                raise WrongUse(msg)
            answer(self, message, bytes(buffers[0]) if buffers else b"")

    @contextmanager
    def _told(self, about: Mapping[str, Any], *, what: str = "this") -> Iterator[None]:
        """One act at a time; whatever goes wrong in it is one line on the page, and the whole story in the log."""
        try:
            with self._lock:
                yield
        except AilabError as error:
            self._tell({"kind": "failed", "said": str(error)}, to=about)
        except Exception as error:             # the boundary: whatever it is, the person gets one line
            self.log.error("annotation widget", exc_info=error)
            said = f"{what} failed ({type(error).__name__}); what you drew is kept: reload the page if it comes again"
            self._tell({"kind": "failed", "said": said}, to=about)

    def _tell(
        self, content: Mapping[str, Any], buffers: Sequence[bytes] = (), *, to: Mapping[str, Any] | None = None
    ) -> None:
        """Send to the pages that show the session, or to those that show what a message was about."""
        session = (to or {}).get("session", self.session.case.name)
        self.send({"session": session, **content}, list(buffers))

    def _hello(self, message: Mapping[str, Any], _: bytes) -> None:
        """A page begins, or comes back: from which number on its strokes are wanted; clicks that wait are asked on."""
        clients = [str(one)[:64] for one in message.get("clients", ())][:1000]
        if self.session.waiting and not self._helper.thinking:
            self._think()
        self._tell({"kind": "welcome", "expected": {one: self.session.expected(one) for one in clients},
                   **self._standing()})  # fmt: skip

    def _slices(self, message: Mapping[str, Any], _: bytes) -> None:
        """Slices that the page has not, whole; labels alone of those that it has (``labels``)."""
        for axis, index in _places(message.get("want"), self.session.vol.grid.shape)[:_MOST_SLICES]:
            others = [_plane(mask.array, axis, index) for mask in self._references.values()]
            self._tell({"kind": "slice", "axis": axis, "index": index},
                      [self._labels(axis, index), _plane(self._pixels, axis, index), *others])  # fmt: skip
        for axis, index in _places(message.get("labels"), self.session.vol.grid.shape)[:_MOST_SLICES]:
            self._tell({"kind": "slice", "axis": axis, "index": index}, [self._labels(axis, index)])

    def _solids(self, message: Mapping[str, Any], _: bytes) -> None:
        """The volume in small (``image``), made beside the drawing, or the labels on it."""
        if message.get("what") == "image":
            made = self._beside.submit(self._solid.small, self._pixels)
            made.add_done_callback(partial(self._image_made, self._solid))
        else:
            self._tell_solid("labels", self._solid.labels(self.session.array))

    def _image_made(self, solid: Solid, made: "Future[np.ndarray]") -> None:
        with self._told({}, what="the view in 3-D"):
            if solid is self._solid:                     # else another case is shown now
                self._tell_solid("image", made.result())

    def _tell_solid(self, what: str, small: np.ndarray) -> None:
        self._tell({"kind": "solid", "what": what, "counts": self._solid.counts, "edits": self._stamp},
                   [small.tobytes()])  # fmt: skip

    def _drawn(self, message: Mapping[str, Any], points: bytes) -> None:
        act = message.get("act")
        asked: Mapping[str, Any] = {**message, "kind": _ACTS.get(str(act), "")}
        if act == "take":
            asked, points = self._taken(asked)
        done = self.session.do(asked, points)
        self._count(done.span)
        if not self.session.waiting:
            self._helper.drop()
        elif act == "click" and not done.said and not done.again:
            self._think()
        shown = _places(message.get("shown"), self.session.vol.grid.shape)[:3]
        self._tell({"kind": "kept", "client": done.client, "number": done.number, "span": done.span,
                   "said": done.said, "again": done.again, "shown": shown, **self._standing()},
                  [self._labels(axis, index) for axis, index in shown])  # fmt: skip

    def _count(self, span: list[list[int]]) -> None:
        self._solid.changed(span)
        if span:
            first, last = span[0]
            part = self.session.array[first : last + 1]
            self._counts[first : last + 1] = slice_counts(part, self._values)

    def _taken(self, message: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
        """A label as a reference has it, in one slice or whole, as a patch."""
        try:
            operation = taken(message.get("operation"), self._references, self.session)
        except WrongUse as refusal:                      # its number is used up all the same
            return {**message, "kind": "refused", "said": str(refusal)}, b""
        return {**message, "operation": operation.head()}, operation.patch.packed() if operation.patch else b""

    def _think(self) -> None:
        self._helper.ask(self.session.vol, self.session.array, self.session.clicks, label=self.session.clicked)

    def _thought(self, asked: "Future[Answer]") -> None:
        """In the helper's thread: what it says is drawn like a stroke, or why it could not say anything."""
        with self._told({}, what="the proposal"):
            if not self._helper.takes(asked):
                return
            error = asked.exception()
            if error is not None:
                self.session.note({"kind": "drop"})
                self._tell({"kind": "changed", "span": [], **self._standing()})
                raise error
            answer = asked.result()
            others = tuple(one for one in self._values if one != answer.label)
            patch = answer.patch(self.session.array)
            operation = Operation("patch", answer.label, locked=others, patch=patch).head()
            done = self.session.do({"client": _HELPER, "number": self.session.expected(_HELPER), "kind": "draw",
                                    "operation": operation}, patch.packed())  # fmt: skip
            self._count(done.span)
            self._tell({"kind": "changed", "span": done.span, "said": done.said, **self._standing()})

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
        self._show(*opened)
        if opened[0].journal.path != before.journal.path:
            before.close()
        self.scene = self._scene()

    def _labels(self, axis: int, index: int) -> bytes:
        return _plane(self.session.array, axis, index)

    @property
    def _stamp(self) -> int:
        """Grows with every record: which of two label slices is newer."""
        return len(self.session.records)

    def _standing(self) -> dict[str, Any]:
        """What the page shows beside the picture."""
        slices, voxels = (self._counts > 0).sum(axis=0), self._counts.sum(axis=0)
        return {"edits": self._stamp, "undo": self.session.can_undo or bool(self.session.waiting),
                "redo": self.session.can_redo, "slices": slices.tolist(), "voxels": voxels.tolist(),
                "clicks": [list(one) for one in self.session.clicks], "clicked": self.session.clicked,
                "thinking": self._helper.thinking}  # fmt: skip


_ANSWERS: dict[str, Callable[[Annotator, Mapping[str, Any], bytes], None]] = {
    "hello": Annotator._hello, "slices": Annotator._slices, "solid": Annotator._solids, "do": Annotator._drawn,
    "save": Annotator._saved, "case": Annotator._turned,
}  # fmt: skip
# What a page may do to the journal, and the kind of record that it becomes.
_ACTS = {"draw": "draw", "undo": "undo", "redo": "redo", "click": "click", "accept": "accept", "take": "draw"}


def _plane(array: np.ndarray, axis: int, index: int) -> bytes:
    return np.ascontiguousarray(np.take(array, index, axis=axis)).tobytes()


def _places(asked: Any, shape: tuple[int, int, int]) -> list[list[int]]:
    """Slices that a page speaks of, those that there are."""
    if not isinstance(asked, list):
        return []
    pairs = [one for one in asked if isinstance(one, list) and len(one) == 2]
    return [[axis, index] for axis, index in pairs
            if axis in (0, 1, 2) and isinstance(index, int) and 0 <= index < shape[axis]]  # fmt: skip
