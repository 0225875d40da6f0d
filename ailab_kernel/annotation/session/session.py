"""One reader draws on one series: the mask is what the journal's operations make, replayed in order.

Nothing is ever rewritten: undo and redo are records too. A browser numbers what it sends; a number that is in the
journal already changes nothing, so that strokes may be sent again after a lost connection.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ailab_kernel.annotation.drawing import Change, Click, Operation, apply, read_operation
from ailab_kernel.ground.errors import AnnotationError, WrongUse
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume

from .checkpoint import Checkpoint, load_checkpoint, store_checkpoint
from .clicks import Clicks, read_clicks
from .journal import Journal
from .records import Case, Done, begin, begins, begun, now, numbered, pack, unpack

__all__ = ["Case", "Done", "Session"]

# What a rasteriser or a library under it may raise, beside a refusal; the mask is changed in one last step only.
_FAULTS = (ArithmeticError, LookupError, MemoryError, TypeError, ValueError)
_NOTHING = Change(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.uint8))
# Replaying so many operations at opening is worth a checkpoint.
_MANY = 50


class Session:
    """An opened session: `do` what the browser sent, `mask` as it stands.

    Attributes
    ----------
    case, vol
        What is drawn, on which volume.
    array
        uint8, shape (slices, rows, columns), changed in place by `do`.
    saved
        The newest ``saved`` record; empty when nothing was saved.
    """

    def __init__(
        self, folder: Path, vol: Volume, *, case: Case, start: Mask | None = None, take_over: bool = False
    ) -> None:
        """Open a session, or begin it.

        Parameters
        ----------
        folder
            Where journals lie.
        vol
            The series, shape (slices, rows, columns).
        case
            Whose session on what.
        start
            Mask to begin with, on the volume's grid; a session that was begun before goes on as it stood.
        take_over
            Also where another process has it open.

        Raises
        ------
        SessionTaken, JournalDamaged
            See `Journal`.
        AnnotationError
            The journal was drawn on another grid or with other labels.
        """
        self.case, self.vol, self.saved = case, vol, dict[str, Any]()
        self._clicks = Clicks()
        self._last: dict[str, int] = {}
        self._live: list[int] = []
        self._undone: list[int] = []
        self._changes: dict[int, Change] = {}
        self.journal = Journal(folder / f"{case.name}.strokes", who=case.reader, take_over=take_over)
        try:
            self.records = self.journal.records
            if not self.records:
                self.records.append(begin(case, vol.grid, start))
                self.journal.append(self.records[0])
            if not begins(self.records[0], case, vol.grid):
                msg = (f"series {case.series_uid} was drawn on with another grid or other labels; "
                       "the archive's images changed: make a new task")  # fmt: skip
                raise AnnotationError(msg)
            self._replay(load_checkpoint(self._checkpoint_path))
        except AnnotationError:
            self.journal.close()
            raise

    @property
    def mask(self) -> Mask:
        """The mask as it stands, a copy."""
        return Mask(self.array.copy(), self.vol.grid, self.case.labels)

    @property
    def can_undo(self) -> bool:
        """Whether something is there to be taken back."""
        return bool(self._live)

    @property
    def can_redo(self) -> bool:
        """Whether something was taken back and nothing was drawn since."""
        return bool(self._undone)

    @property
    def edits(self) -> int:
        """How many operations stand."""
        return len(self._live)

    @property
    def waiting(self) -> tuple[Click, ...]:
        """Clicks that no proposal has answered yet."""
        return tuple(self._clicks.waiting)

    @property
    def clicks(self) -> tuple[Click, ...]:
        """Every click of the proposal that is neither accepted nor taken back, answered or not, oldest first."""
        return self._clicks.of(self._live)

    @property
    def clicked(self) -> int:
        """The label that the clicks speak of; 0 where there are none."""
        return self._clicks.label_of(self._live)

    @property
    def helped_by(self) -> tuple[str, ...]:
        """What made the patches that stand: models' references, methods, readers; each once."""
        return self._clicks.makers(self._live)

    def expected(self, client: str) -> int:
        """Return the number that a browser's next message must have."""
        return self._last.get(client, 0) + 1

    def do(self, message: Mapping[str, Any], points: bytes = b"") -> Done:
        """Do what a browser sent, once: it is in the journal, on the disk, when this returns.

        Parameters
        ----------
        message
            ``client`` and ``number`` (from 1, without gaps); ``kind``: ``draw`` with ``operation``, ``undo``, ``redo``,
            ``click`` with ``operation`` (label, value), ``accept``, ``refused`` with ``said``.
        points
            The operation's points, little-endian float32.

        Raises
        ------
        AnnotationError
            It could not be kept; the mask is as before.
        """
        client, number, kind = numbered(message)
        expected = self.expected(client)
        if number != expected:
            return Done(client, number, again=expected if number > expected else 0)
        try:
            change, head = self._try(kind, message, points)
        except WrongUse as refusal:
            change, head, points = None, {"kind": "refused", "said": str(refusal)}, b""
        except _FAULTS as fault:
            # Its number is used up all the same: a browser that sent it for ever would keep every later stroke back.
            said = f"this could not be drawn ({type(fault).__name__}); nothing was changed, draw it in another way"
            change, head, points = None, {"kind": "refused", "said": said}, b""
        record = pack({**head, "client": client, "number": number, "at": now()}, points)
        try:
            self.journal.append(record)
        except AnnotationError:
            if change is not None:
                self._put(change.at, change.before)
            raise
        self._note(record, change)
        return Done(client, number, change.span(self.vol.grid.shape) if change else [], str(head.get("said", "")))

    def note(self, head: Mapping[str, Any]) -> None:
        """Write a record that changes no voxel: ``saved``."""
        record = pack(head)
        self.journal.append(record)
        self._note(record, None)

    def checkpoint(self) -> None:
        """Keep the mask beside the journal, so that the next opening is quick; it can always be made again."""
        store_checkpoint(self._checkpoint_path, Checkpoint(
            len(self.records), self.journal.chain[-1], tuple(self._live), tuple(self._undone), self.array))  # fmt: skip

    def close(self) -> None:
        """Make a checkpoint and let others open the session."""
        self.checkpoint()
        self.journal.close()

    @property
    def _checkpoint_path(self) -> Path:
        return self.journal.path.with_suffix(".checkpoint")

    def _replay(self, checkpoint: Checkpoint | None) -> None:
        """Make the mask: from a checkpoint that fits, and what came after it; else from the beginning."""
        fits = checkpoint is not None and checkpoint.fits(self.journal.chain, self.vol.grid.shape)
        first = checkpoint.records if checkpoint and fits else 1
        self.array = checkpoint.array if checkpoint and fits else begun(self.records[0], self.vol.grid.shape)
        self._live = list(checkpoint.live) if checkpoint and fits else []
        self._undone = list(checkpoint.undone) if checkpoint and fits else []
        for index, record in enumerate(self.records):
            head, points = unpack(record)
            if index >= first:
                self._step(index, head, points)
            self._count(index, head, points)
        if len(self.records) - first > _MANY:
            self.checkpoint()

    def _step(self, index: int, head: Mapping[str, Any], points: bytes) -> None:
        """Do what one record says to the mask and to what can be taken back."""
        if head["kind"] == "draw":
            self._changes[index] = apply(_operation(head, points, self), self.array, self.vol)
            self._live.append(index)
            self._undone.clear()
        elif head["kind"] == "undo":
            self._undo()
            self._undone.append(self._live.pop())
        elif head["kind"] == "redo":
            index = self._undone.pop()
            self._changes[index] = self._redo(index)
            self._live.append(index)

    def _try(self, kind: str, message: Mapping[str, Any], points: bytes) -> tuple[Change, dict[str, Any]]:
        """Change the mask as asked; the record is written after."""
        if kind == "draw":
            operation = _operation(message, points, self)
            return apply(operation, self.array, self.vol), {"kind": kind, "operation": operation.head()}
        if kind == "click":
            head, _ = read_clicks(message.get("operation"), points, shape=self.vol.grid.shape, values=self.case.values)
            return _NOTHING, {"kind": kind, "operation": head}
        if (kind == "accept" and self.clicks) or (kind == "undo" and self.waiting):
            return _NOTHING, {"kind": "accept" if kind == "accept" else "drop"}
        if kind == "refused":
            raise WrongUse(str(message.get("said")))
        if kind == "undo" and self._live:
            return self._undo(), {"kind": kind}
        if kind == "redo" and self._undone:
            return self._redo(self._undone[-1]), {"kind": kind}
        msg = f"there is nothing to {kind if kind in {'undo', 'redo', 'accept'} else 'do'}"
        raise WrongUse(msg)

    def _note(self, record: bytes, change: Change | None) -> None:
        """Remember a record that is in the journal and whose change is in the mask."""
        head, points = unpack(record)
        self.records.append(record)
        index = len(self.records) - 1
        self._count(index, head, points)
        if head["kind"] == "draw" and change is not None:
            self._changes[index] = change
            self._live.append(index)
            self._undone.clear()
        elif head["kind"] == "undo":
            self._undone.append(self._live.pop())
        elif head["kind"] == "redo" and change is not None:
            self._live.append(self._undone.pop())
            self._changes[self._live[-1]] = change

    def _count(self, index: int, head: Mapping[str, Any], points: bytes) -> None:
        self._clicks.note(index, head, points)
        if "client" in head:
            self._last[head["client"]] = head["number"]
        if head["kind"] == "saved":
            self.saved = dict(head)

    def _undo(self) -> Change:
        """Take the newest standing operation back; what stands before a checkpoint is drawn anew from the beginning."""
        change = self._changes.pop(self._live[-1], None)
        if change is not None:
            self._put(change.at, change.before)
            return Change(change.at, change.after, change.before)
        before, array = self.array, begun(self.records[0], self.vol.grid.shape)
        for index in self._live[:-1]:
            head, points = unpack(self.records[index])
            self._changes[index] = apply(_operation(head, points, self), array, self.vol)
        self.array = array                               # only when all of it could be done
        at = np.flatnonzero(before != self.array)
        return Change(at, before.reshape(-1)[at], self.array.reshape(-1)[at])

    def _redo(self, index: int) -> Change:
        head, points = unpack(self.records[index])
        return apply(_operation(head, points, self), self.array, self.vol)

    def _put(self, at: np.ndarray, values: np.ndarray) -> None:
        self.array.reshape(-1)[at] = values


def _operation(head: Mapping[str, Any], points: bytes, session: Session) -> Operation:
    return read_operation(head.get("operation", {}), points, shape=session.vol.grid.shape, values=session.case.values)
