"""A label is taken over from another reader's mask, in one slice or whole."""

from collections.abc import Mapping
from typing import Any

from ailab_kernel.annotation.drawing import Operation, Patch, box_of
from ailab_kernel.annotation.session import Session
from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.volumes.masks import Mask


def taken(asked: Any, references: Mapping[str, Mask], session: Session) -> Operation:
    """Return the patch that makes a label what a reference has.

    Parameters
    ----------
    asked
        What a page sent: ``reference`` (name), ``label``, ``axis`` and ``index`` of the slice (axis -1: the whole
        label), ``locked`` (values that must not change).
    references
        Masks on the session's grid, by name.
    session
        Its mask as it stands.

    Raises
    ------
    WrongUse
        There is no such reference, label or slice.
    """
    try:
        name, label, axis, index = str(asked["reference"]), int(asked["label"]), int(asked["axis"]), int(asked["index"])
        locked = tuple(int(one) for one in asked["locked"])
        theirs = references[name].array
    except (LookupError, TypeError, ValueError) as fault:
        msg = f"there is no such reading here; the readings are {', '.join(references) or 'none'}: reload the page"
        raise WrongUse(msg) from fault
    here: list[slice] = [slice(None)] * 3
    if axis in (0, 1, 2) and 0 <= index < theirs.shape[axis]:
        here[axis] = slice(index, index + 1)
    elif axis != -1:
        msg = f"slice {index} is not in the series; choose one that is shown"
        raise WrongUse(msg)
    place = (here[0], here[1], here[2])
    marked = theirs[place] == label
    box = box_of(marked | (session.array[place] == label))
    spans = [slice(span.start + (part.start or 0), span.stop + (part.start or 0))
             for span, part in zip(box, place, strict=True)]  # fmt: skip
    patch = Patch((spans[0], spans[1], spans[2]), marked[box], name)
    return Operation("patch", label, locked=locked, patch=patch)
