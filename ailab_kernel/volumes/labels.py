"""From a network's scores on its own grid to labels on the source's."""

import numpy as np
from scipy import ndimage

from .geometry import Grid
from .resample import Step, aligned_steps, along, cheapest_first, to_grid

_MARGIN = 2
_SLAB = 16


def labels_from_logits(logits: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Interpolate class scores linearly to another grid and take the largest.

    Only the part around what the scores call foreground is interpolated, in slabs: memory stays bounded, and what is
    far from every foreground voxel is background.

    Parameters
    ----------
    logits
        float32, shape (classes, slices, rows, columns) on ``source``; class 0 is background.
    source, target
        The model's grid and the volume's own.

    Returns
    -------
    np.ndarray
        uint8, shape of ``target``.
    """
    labels = np.zeros(target.shape, np.uint8)
    foreground = logits.argmax(0) > 0
    if not foreground.any():
        return labels
    steps = aligned_steps(source, target)
    if steps is None:
        scores = to_grid(logits, source, target)
        return scores.argmax(0).astype(np.uint8)
    box = ndimage.find_objects(ndimage.binary_dilation(foreground, iterations=_MARGIN).astype(np.uint8))[0]
    reach = [_reach(step, box[step.axis]) for step in steps]
    if any(span.start == span.stop for span in reach):
        return labels
    near = logits[(slice(None), *(slice(part.start, part.stop) for part in box))]
    cut = [_cut(step, box[step.axis], span) for step, span in zip(steps, reach, strict=True)]
    order = [step.axis for step in cut]
    for step in cheapest_first(cut[1:]):
        near = along(near, step)
    axis, step = cut[0].axis, cut[0]
    for first in range(0, step.size_out, _SLAB):
        count = min(_SLAB, step.size_out - first)
        part = along(near, Step(axis, step.scale, step.offset + step.scale * first, step.size_in, count))
        turned = part.transpose(0, *(1 + axis for axis in order))
        place = slice(reach[0].start + first, reach[0].start + first + count)
        labels[place, reach[1], reach[2]] = _largest(turned)
    return labels


def _largest(scores: np.ndarray) -> np.ndarray:
    """Index of the largest score; the first of equals. Faster than argmax over a leading axis."""
    best, winner = scores[0], np.zeros(scores.shape[1:], np.uint8)
    for index in range(1, len(scores)):
        better = scores[index] > best
        winner[better] = index
        best = np.maximum(best, scores[index])
    return winner


def _reach(step: Step, box: slice) -> slice:
    """Target voxels whose centres lie in the box of source voxels."""
    inside = np.flatnonzero((step.centres >= box.start - 0.5) & (step.centres <= box.stop - 0.5))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def _cut(step: Step, box: slice, span: slice) -> Step:
    """The same step between the two cut-out parts."""
    offset = step.scale * span.start + step.offset - box.start
    return Step(step.axis, step.scale, offset, box.stop - box.start, span.stop - span.start)
