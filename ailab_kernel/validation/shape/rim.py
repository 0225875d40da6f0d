"""The rim of a mask, and how far two rims are the same: the boundary IoU."""

import numpy as np
from scipy import ndimage

from .boxes import SLACK, Spacing, flat_steps, offsets_within

_FACES = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.int64)
_MANY = 1000  # steps, above which a distance transform is the faster way to the same rim


def boundary_iou(one: np.ndarray, other: np.ndarray, *, width_mm: float, spacing_mm: Spacing) -> float:
    """Intersection over union of two masks' rims (Cheng et al., Boundary IoU, CVPR 2021); 1 when both are empty.

    Parameters
    ----------
    one, other
        Boolean, shape (slices, rows, columns).
    width_mm, spacing_mm
        As in `rim`.
    """
    first, second = (rim(mask, width_mm=width_mm, spacing_mm=spacing_mm) for mask in (one, other))
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / union if union else 1.0


def rim(mask: np.ndarray, *, width_mm: float, spacing_mm: Spacing) -> np.ndarray:
    """Return the voxels of a mask whose centre lies within ``width_mm`` of one outside it, and those that touch one.

    Parameters
    ----------
    mask
        Boolean, shape (slices, rows, columns); what lies beyond the image counts as outside.
    width_mm
        mm, by voxel centres. The rim is one voxel thick at least, also where slices are further apart than this.
    spacing_mm
        (slice, row, column) mm.
    """
    offsets = np.concatenate([_FACES, offsets_within(width_mm, spacing_mm)[0]])
    reach = [int(n) + 1 for n in np.abs(offsets).max(axis=0)]  # so that no step from beside the mask leaves the array
    inside = (slice(reach[0], -reach[0]), slice(reach[1], -reach[1]), slice(reach[2], -reach[2]))
    wide = np.pad(mask, [(n, n) for n in reach])
    outside = np.flatnonzero(_beside(wide) & ~wide)
    if len(offsets) > _MANY:
        near = ndimage.distance_transform_edt(wide, sampling=spacing_mm) <= width_mm * SLACK
        offsets = _FACES
    else:
        near = np.zeros(wide.shape, bool)
    # The outside voxel nearest to one inside touches the mask: from those few the rim is reached in few steps.
    flat = near.reshape(-1)
    for step in flat_steps(offsets, wide.shape):
        flat[outside + step] = True
    return (near & wide)[inside]


def _beside(wide: np.ndarray) -> np.ndarray:
    """Whether each voxel has a 6-neighbour in a mask with an empty frame."""
    near = np.zeros(wide.shape, bool)
    for axis in range(3):
        low, high = ((slice(None),) * axis + (side,) for side in (slice(None, -1), slice(1, None)))
        near[low] |= wide[high]
        near[high] |= wide[low]
    return near
