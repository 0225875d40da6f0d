"""Boxes over frames: what a person moves is one box of a cine, not one a frame."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.privacy.pixels.boxes import Box

_ALIKE = 0.7                                   # of the larger one's pixels: two readings of the same line
_MOST = 5000                                   # places of one object


class Place(NamedTuple):
    """A box in frames ``first`` to ``last``, both included and from 0; rows and columns half open, as in `Box`."""

    first: int
    last: int
    top: int
    left: int
    bottom: int
    right: int

    @property
    def box(self) -> Box:
        """Where in each of its frames."""
        return Box(*self[2:])


def places_of(boxes: Mapping[int, Iterable[Box]]) -> tuple[Place, ...]:
    """Join what is in the same place, or nearly, of frames that follow each other.

    Every pixel of ``boxes`` is in a place; where a line was read a little larger in one frame, all get the larger box.
    """
    open_: list[Place] = []
    found: list[Place] = []
    for frame in sorted(boxes):
        found += [one for one in open_ if one.last < frame - 1]
        open_ = [one for one in open_ if one.last >= frame - 1]
        for box in boxes[frame]:
            near = next((one for one in open_ if _alike(one.box, box)), None)
            if near is not None:
                open_.remove(near)
            open_.append(_both(near, box, frame) if near else Place(frame, frame, *box))
    return tuple(sorted((*found, *open_)))


def boxes_of(places: Iterable[Place]) -> dict[int, tuple[Box, ...]]:
    """By frame, the boxes of places; the opposite of :func:`places_of`."""
    found: dict[int, list[Box]] = {}
    for place in places:
        for frame in range(place.first, place.last + 1):
            found.setdefault(frame, []).append(place.box)
    return {frame: tuple(dict.fromkeys(boxes)) for frame, boxes in sorted(found.items())}


def read_places(told: Any) -> tuple[Place, ...]:
    """Return places as they stand in JSON: lists of six whole numbers.

    Raises
    ------
    WrongUse
        They are not.
    """
    if not isinstance(told, Sequence) or isinstance(told, str) or len(told) > _MOST:
        msg = f"a list of at most {_MOST} boxes is expected; reload the page"
        raise WrongUse(msg)
    good = all(isinstance(one, Sequence) and len(one) == 6 and all(type(value) is int for value in one) for one in told)
    if not good:
        msg = "a box is first and last frame, top, left, bottom and right: six whole numbers; reload the page"
        raise WrongUse(msg)
    return tuple(Place(*one) for one in told)


def _alike(one: Box, other: Box) -> bool:
    return one.overlap(other) >= _ALIKE * max(one.area, other.area)


def _both(place: Place, box: Box, frame: int) -> Place:
    return Place(place.first, max(place.last, frame), min(place.top, box.top), min(place.left, box.left),
                 max(place.bottom, box.bottom), max(place.right, box.right))  # fmt: skip
