"""The centre line of a mask, and the clDice of tubes: how much of each centre line lies in the other mask.

The mask is thinned from its six sides in turn. A voxel goes when it is no end of a line and when without it the mask's
pieces, holes and tunnels stay what they are: a simple point (Bertrand and Malandain, Pattern Recognition Letters 1994).
Voxels that go at once lie two apart along an axis at least, so that none of them was needed by another.
"""

import numpy as np

from .boxes import bounding_box

# A voxel and its 26 neighbours are the bits of an integer: bit 9·(slice + 1) + 3·(row + 1) + (column + 1).
_ALL, _CENTRE = (1 << 27) - 1, 1 << 13
_AXES = ((1, 3), (3, 9), (9, 27))  # of columns, rows, slices: how far a step shifts, and the length of a period


def _bits(axis: int, place: int) -> int:
    """The bits of one of the three planes across an axis."""
    shift, period = _AXES[axis]
    return sum(1 << bit for bit in range(27) if bit % period // shift == place)


_NOT_FIRST = [np.uint32(_ALL & ~_bits(axis, 0)) for axis in range(3)]
_NOT_LAST = [np.uint32(_ALL & ~_bits(axis, 2)) for axis in range(3)]
_SHIFT = [np.uint32(shift) for shift, _ in _AXES]
_FACE = np.uint32(sum(_CENTRE << shift | _CENTRE >> shift for shift, _ in _AXES))
_CORNER = sum(1 << bit for bit in range(27) if all(bit % period // shift != 1 for shift, period in _AXES))
_WITHOUT_CORNERS = np.uint32(_ALL & ~_CORNER & ~_CENTRE)
_AROUND = np.uint32(_ALL & ~_CENTRE)
_ONE = np.uint32(1)


def cl_dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Centre-line Dice (Shit et al., clDice, CVPR 2021): harmonic mean of both centre lines' shares in the other mask.

    1 when both are empty, 0 when one is or when neither centre line meets the other mask.

    Parameters
    ----------
    prediction, truth
        Boolean, shape (slices, rows, columns).
    """
    lines = skeleton(prediction), skeleton(truth)
    sizes = [int(np.count_nonzero(line)) for line in lines]
    if not all(sizes):
        return float(not any(sizes))
    precision = int(np.count_nonzero(lines[0] & truth)) / sizes[0]
    sensitivity = int(np.count_nonzero(lines[1] & prediction)) / sizes[1]
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def skeleton(mask: np.ndarray) -> np.ndarray:
    """Return the centre line of a mask: as many pieces, holes and tunnels as the mask has, one voxel thin.

    Parameters
    ----------
    mask
        Boolean, shape (slices, rows, columns); what lies beyond the image counts as outside.
    """
    line, box = np.zeros(mask.shape, bool), bounding_box(mask)
    if box is None:
        return line
    wide = np.pad(mask[box], 1)
    _thin(wide)
    line[box] = wide[1:-1, 1:-1, 1:-1]
    return line


def _thin(wide: np.ndarray) -> None:
    """Thin an array with an empty frame, in place."""
    flat = wide.view(np.uint8).reshape(-1)
    strides = np.array([wide.shape[1] * wide.shape[2], wide.shape[2], 1], np.int64)
    steps = np.array([(bit // 9 - 1) * strides[0] + (bit // 3 % 3 - 1) * strides[1] + (bit % 3 - 1)
                      for bit in range(27)], np.int64)  # fmt: skip
    left = np.flatnonzero(flat)
    parity = np.array([1, 2, 4]) @ (np.stack(np.unravel_index(left, wide.shape)) & 1)
    changed = True
    while changed:
        changed = False
        for side in (*strides, *-strides):
            border = flat[left + side] == 0
            places, fields = left[border], parity[border]
            for field in range(8):
                some = places[fields == field]
                gone = some[_removable(_around(flat, some, steps))]
                flat[gone] = 0
                changed = changed or len(gone) > 0
            stays = flat[left] != 0
            left, parity = left[stays], parity[stays]


def _around(flat: np.ndarray, places: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The neighbours of each place, uint32, shape (n,)."""
    code = np.zeros(len(places), np.uint32)
    for bit, step in enumerate(steps):
        code |= flat[places + step].astype(np.uint32) << np.uint32(bit)
    return code


def _removable(code: np.ndarray) -> np.ndarray:
    """Whether each voxel is a simple point and no end of a line, boolean, shape (n,)."""
    filled, empty = code & _AROUND, ~code & _WITHOUT_CORNERS
    faces, first = empty & _FACE, filled & (~filled + _ONE)
    line_goes_on = filled != first  # more than one neighbour
    one_piece = _flood(first, filled, by_faces=False) == filled
    one_outside = faces & ~_flood(faces & (~faces + _ONE), empty, by_faces=True) == 0
    return line_goes_on & one_piece & one_outside & (faces != 0)


def _flood(seed: np.ndarray, within: np.ndarray, *, by_faces: bool) -> np.ndarray:
    """What hangs together with the seed's bits in ``within``, by faces or by faces, edges and corners."""
    while True:
        grown = seed
        for shift, first, last in zip(_SHIFT, _NOT_FIRST, _NOT_LAST, strict=True):
            start = seed if by_faces else grown
            grown = grown | (start << shift & first) | (start >> shift & last)
        grown &= within
        if (grown == seed).all():
            return grown
        seed = grown
