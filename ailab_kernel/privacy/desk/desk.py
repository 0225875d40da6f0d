"""The desk of a review: which objects wait and how they stand, their pictures, and every act of the person."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import NotFound, WrongUse
from ailab_kernel.privacy.bulk import Followed
from ailab_kernel.privacy.elements import read
from ailab_kernel.privacy.pixels.pictures import Frames
from ailab_kernel.privacy.review import REVIEW, Course, Log, Place, Proposal, proposals_in
from ailab_kernel.privacy.review.places import read_places

_ACTS = frozenset({"boxes", "done", "undo", "redo"})
_FAINT = 0.45                                  # power of the brighter picture: what is nearly black is seen in it


class Originals(Protocol):
    """Who has the objects as they came."""

    def file(self, proposal: Proposal) -> bytes:
        """Return an object's PS3.10 file; NotFound where it is no longer there."""


@dataclass
class Desk:
    """One review at work.

    Attributes
    ----------
    folder
        Of the run's journal; the review lies in it.
    originals
        Who has the pictures.
    who
        Pseudonym of the person.
    proposals
        Every object that is to be looked at, by its name, in the order of the input.
    """

    folder: Path
    originals: Originals
    who: str
    proposals: dict[str, Proposal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read how far it is."""
        self.log = Log(self.folder / REVIEW)
        self._followed = Followed(self.folder)
        self._shown: tuple[str, Frames] | None = None
        self.refresh()

    def refresh(self) -> None:
        """See what runs and other pages did meanwhile."""
        self.proposals = {one.name: one for one in proposals_in(self.folder / REVIEW)}
        self._followed.refresh()
        self.log.refresh()

    def proposal(self, name: object) -> Proposal:
        """Return one object's proposal; NotFound where there is none."""
        found = self.proposals.get(str(name))
        if found is None:
            msg = "that object is not in this review; reload the page"
            raise NotFound(msg)
        return found

    def state(self, name: str) -> str:
        """How an object stands: open, done, releasing, released, returned (a person is to look again), refused."""
        line, course = self._followed.lines.get(name), self.log.course(name)
        if line and not line.waits:
            return "released" if line.output else "refused"
        if course.taken:
            return "returned" if line and line.decision == course.taken.number else "releasing"
        return "done" if course.now.done else "open"

    def standing(self, name: str) -> dict[str, Any]:
        """What of an object changes, as JSON: its state, its boxes, and whether there is something to take back."""
        proposal, course = self.proposals[name], self.log.course(name)
        now = course.taken.places if course.taken else course.now.places
        free = not self._refusal(name, course)
        return {"name": name, "state": self.state(name), "places": proposal.places if now is None else now,
                "undo": free and course.at > 0, "redo": free and course.at + 1 < len(course.states)}  # fmt: skip

    def detail(self, name: object) -> dict[str, Any]:
        """What the page shows of one object."""
        one = self.proposal(name)
        return {"why": one.why, "held": one.held, "proposed": one.places, "fates": one.fates, "stays": one.stays,
                "met": one.met, **self.standing(one.name)}  # fmt: skip

    def listed(self) -> list[dict[str, Any]]:
        """Every object in short."""
        return [{"name": one.name, "number": one.number, "study": one.study, "modality": one.modality,
                 "frames": one.frames, "shape": one.shape, "even": one.even, "state": self.state(one.name)}
                for one in self.proposals.values()]  # fmt: skip

    def act(self, told: Mapping[str, Any]) -> str:
        """Write one act of the person down, and return why it was refused, if it was; see `Log.act`."""
        proposal, said, kept = self.proposals.get(str(told.get("name"))), "", dict(told)
        if proposal is None or told.get("kind") not in _ACTS:
            said = "that object or act is unknown; reload the page"
        elif told["kind"] in {"boxes", "done"}:
            try:
                kept["boxes"] = _fitted(proposal, told.get("boxes"))
            except WrongUse as refusal:        # its number is used up all the same
                said = str(refusal)
        name = proposal.name if proposal else ""
        self._followed.refresh()
        return self.log.act(kept, name=name, who=self.who, refusal=lambda course: said or self._refusal(name, course))

    def picture(self, name: object, index: object, *, faint: bool = False) -> bytes:
        """Return a frame of the original as PNG; with ``faint`` so that what is nearly black is seen.

        Raises
        ------
        NotFound
            There is no such object or frame, or its source has it no longer.
        DicomError
            Its pixels cannot be decoded.
        """
        proposal = self.proposal(name)
        if not isinstance(index, int) or not 0 <= index < proposal.frames:
            msg = f"the object has {proposal.frames} frames; choose one of them"
            raise NotFound(msg)
        return _png(_visible(self._frames(proposal), index, faint=faint))

    def _frames(self, proposal: Proposal) -> Frames:
        if self._shown is None or self._shown[0] != proposal.name:
            with guarded("data set"):
                frames = Frames(read(self.originals.file(proposal)))
            frames.check()
            self._shown = proposal.name, frames
        return self._shown[1]

    def _refusal(self, name: str, course: Course) -> str:
        """Why an object may not be changed now; empty where it may."""
        line = self._followed.lines.get(name)
        if line and not line.waits:
            return "it was released before: to change it, de-identify it into a new folder"
        if course.taken and not (line and line.decision == course.taken.number):
            return "it is being released; reload the page when that is done"
        return ""


def _fitted(proposal: Proposal, boxes: Any) -> list[Place]:
    fitted = (proposal.fitted(one) for one in read_places(boxes))
    return sorted({one for one in fitted if one})


def _visible(frames: Frames, index: int, *, faint: bool) -> np.ndarray:
    """A frame as a person sees it: uint8, shape (rows, columns) or (rows, columns, 3)."""
    values = frames.coloured(index)
    if values.dtype != np.uint8 or values.ndim == 2:
        low, high = float(values.min()), float(values.max())
        values = ((values - np.float32(low)) * (255 / max(high - low, 1.0))).clip(0, 255).astype(np.uint8)
    if frames.photometric == "MONOCHROME1":
        values = 255 - values
    return (255 * (values / np.float32(255)) ** _FAINT).astype(np.uint8) if faint else values


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
