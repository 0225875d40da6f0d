"""A helper works beside the drawing: strokes go on meanwhile, and only the newest question is answered."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ailab_kernel.annotation.drawing import Click, Patch, box_of
from ailab_kernel.ground.errors import AnnotationError
from ailab_kernel.volumes.volume import Volume

if TYPE_CHECKING:
    from ailab_kernel.annotation.assist import Refiner


@dataclass(frozen=True, eq=False)
class Answer:
    """What a refiner said.

    Attributes
    ----------
    label
        That was asked about.
    box
        What holds every voxel that changed.
    differs, after
        bool, the box's shape: which changed, and where the label is to be.
    made_by
        The refiner's name.
    clicks
        What it answers.
    """

    label: int
    box: tuple[slice, slice, slice]
    differs: np.ndarray
    after: np.ndarray
    made_by: str
    clicks: tuple[Click, ...]

    def patch(self, array: np.ndarray) -> Patch:
        """Return what it means for the mask as it stands now: what was drawn meanwhile stays where it says nothing."""
        now = array[self.box] == self.label
        return Patch(self.box, np.where(self.differs, self.after, now), self.made_by, self.clicks)


class Helper:
    """One refiner, in a thread of its own; a new question takes the place of an older one."""

    def __init__(self, refiner: "Refiner | None", answered: "Callable[[Future[Answer]], None]") -> None:
        """Make one.

        Parameters
        ----------
        refiner
            None: the one that needs no model, loaded when it is first asked.
        answered
            Called in the thread with what became of a question that no newer one took the place of.
        """
        self._refiner, self._answered = refiner, answered
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ailab-refine")
        self._asked: Future[Answer] | None = None

    @property
    def thinking(self) -> bool:
        """Whether a question is open."""
        return self._asked is not None

    def ask(self, vol: Volume, array: np.ndarray, clicks: Sequence[Click], *, label: int) -> None:
        """Ask for a proposal; ``array`` is copied."""
        self.drop()
        asked = self._pool.submit(self._refine, vol, array.copy(), tuple(clicks), label)
        self._asked = asked
        asked.add_done_callback(self._answered)

    def drop(self) -> None:
        """Forget the open question; what a running refiner says will not be heard."""
        if self._asked is not None:
            self._asked.cancel()
        self._asked = None

    def takes(self, asked: "Future[Answer]") -> bool:
        """Whether an answer is to the open question, which it closes."""
        if asked is not self._asked or asked.cancelled():
            return False
        self._asked = None
        return True

    def _refine(self, vol: Volume, array: np.ndarray, clicks: tuple[Click, ...], label: int) -> Answer:
        from ailab_kernel.annotation import assist

        refiner = self._refiner = self._refiner or assist.fallback()
        hints = [assist.Hint((one, two, three), value) for one, two, three, value in clicks]
        before = array == label
        after = np.asarray(refiner.refine(vol, array, hints, label=label))
        if after.shape != before.shape:
            msg = f"{refiner.name} answered with shape {after.shape}, not {before.shape}; use another model"
            raise AnnotationError(msg)
        differs = before != (after == label)
        box = box_of(differs)
        return Answer(label, box, differs[box], after[box] == label, refiner.name, clicks)
