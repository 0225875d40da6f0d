"""After inference: keep the pieces that can be anatomy. Pure functions on label arrays."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from ailab_kernel.volumes.masks import Label, Mask

from .recipe import Keep

Box = tuple[slice, slice, slice]


def tidy(mask: Mask, keep: Mapping[str, Keep]) -> Mask:
    """Return the mask after each label's rules, in label order; a filled hole never overwrites another label.

    Parameters
    ----------
    mask
        Labels on any grid.
    keep
        Rules by label name; a label without rules stays as it is.
    """
    array = np.array(mask.array)
    boxes = ndimage.find_objects(array, max_label=max((label.index for label in mask.labels), default=0))
    for label in mask.labels:
        if label.name in keep and boxes[label.index - 1] is not None:
            _tidy_label(array[boxes[label.index - 1]], label, (keep[label.name], mask.grid.voxel_ml))
    return Mask(array, mask.grid, mask.labels)


def _tidy_label(view: np.ndarray, label: Label, rules: tuple[Keep, float]) -> None:
    """Apply one label's rules in place, within its bounding box."""
    keep, voxel_ml = rules
    before = view == label.index
    after = largest_pieces(before, components=keep.components, minimum=keep.minimum_ml / voxel_ml)
    if keep.fill_holes:
        after = fill_holes(after)
    view[before & ~after] = 0
    view[after & (view == 0)] = label.index


def largest_pieces(region: np.ndarray, *, components: int, minimum: float = 0.0) -> np.ndarray:
    """Return the largest pieces of a region.

    Parameters
    ----------
    region
        bool, shape (slices, rows, columns).
    components
        How many connected pieces (6-neighbours) to keep; 0 keeps all.
    minimum
        Pieces below this many voxels are dropped.
    """
    if not components and minimum <= 1:
        return region
    pieces, count = ndimage.label(region)
    if count == 0 or (count <= components and minimum <= 1):
        return region
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[: components or count]
    kept = np.zeros(count + 1, bool)
    kept[order] = sizes[order] >= max(minimum, 1)
    return kept[pieces]


def fill_holes(region: np.ndarray) -> np.ndarray:
    """Return the region with every hole that is enclosed within one slice filled; bool (slices, rows, columns)."""
    plane = np.zeros((3, 3, 3), bool)
    plane[1, 1, :] = plane[1, :, 1] = True
    air, count = ndimage.label(~region, plane)
    if count == 0:
        return region
    open_pieces = np.zeros(count + 1, bool)
    for face in edges(air):
        open_pieces[face] = True
    return ~(open_pieces[air] & ~region)


def edges(array: np.ndarray) -> Sequence[np.ndarray]:
    """Return the first and last row and column of every slice."""
    return array[:, 0], array[:, -1], array[:, :, 0], array[:, :, -1]
