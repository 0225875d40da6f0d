"""What several readings of one case have in common."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import ndimage

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.volumes.masks import Mask


def consensus(masks: Sequence[Mask], how: str = "majority") -> Mask:
    """Return the consensus of masks with the same labels on the same grid.

    Parameters
    ----------
    masks
        One a reader, uint8, shape (slices, rows, columns).
    how
        ``majority``: the label that more than half of the readers gave a voxel, else background; of two readers that
        is what both marked. ``staple``: the most probable label when each reader's reliability is estimated with it
        (Warfield, IEEE TMI 2004; for several labels Rohlfing, IPMI 2003), within the box that holds every reader's
        marks; a tie is background.

    Raises
    ------
    WrongUse
        There is no such way, there is no mask, or the masks differ in grid or labels.
    """
    if how not in HOW or not masks:
        msg = f"consensus {how!r} of {len(masks)} masks: one of {', '.join(HOW)} is expected, and a mask"
        raise WrongUse(msg)
    first = masks[0]
    if any(not one.grid.matches(first.grid) or one.labels != first.labels for one in masks):
        msg = "the readings differ in grid or labels; a consensus is made of masks of one task"
        raise WrongUse(msg)
    found = np.zeros(first.array.shape, np.uint8)
    boxes = ndimage.find_objects(np.any([one.array > 0 for one in masks], axis=0).astype(np.uint8))
    if boxes:
        found[boxes[0]] = _MADE[how](np.stack([one.array[boxes[0]] for one in masks]))
    return Mask(found, first.grid, first.labels)


def _majority(readings: np.ndarray) -> np.ndarray:
    """``readings``: uint8, shape (readers, slices, rows, columns)."""
    found = np.zeros(readings.shape[1:], np.uint8)
    for value in np.unique(readings[readings > 0]):
        found[2 * (readings == value).sum(axis=0) > len(readings)] = value
    return found


def _staple(readings: np.ndarray) -> np.ndarray:
    import SimpleITK as sitk

    images = [sitk.GetImageFromArray(np.ascontiguousarray(one)) for one in readings]
    return sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE(images, 0)).astype(np.uint8)


_MADE: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"majority": _majority, "staple": _staple}
HOW = tuple(_MADE)
