"""The surface of a mask in elements: one in the middle of every 2×2×2 block of voxels that the mask fills in part.

An element has the area of the surface that passes half-way between the block's filled and empty corners (Lorensen and
Cline, Marching Cubes, SIGGRAPH 1987). Of the eight corners the fewer are cut off, each group of them that hangs
together by edges by a patch of its own. Distances to elements, weighted by area, are those of DeepMind's
surface-distance (Nikolov et al., JMIR 2021) and of MONAI's ``use_subvoxels``.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import permutations, product

import numpy as np

from .boxes import Spacing

Corner = tuple[int, ...]
# A group of corners (slice, row, column of the block) and the flat pieces of its patch: the area of each as seen along
# the three axes, in eighths of a voxel's face. Every other group is one of these turned or mirrored.
_PATCHES: tuple[tuple[tuple[str, ...], tuple[Corner, ...]], ...] = (
    (("111",), ((1, 1, 1),)),
    (("110", "111"), ((4, 4, 0),)),
    (("101", "110", "111"), ((3, 3, 3), (4, 0, 0))),
    (("100", "101", "110", "111"), ((8, 0, 0),)),
    (("011", "101", "110", "111"), ((6, 6, 6),)),
    (("011", "100", "110", "111"), ((0, 2, 2), (4, 4, 4), (2, 0, 2))),
)
_MOST_PIECES = 4
_CORNERS: tuple[Corner, ...] = tuple(product((1, 0), repeat=3))  # in the order of the code's bits, lowest first


def neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """Return which corners of each 2×2×2 block are filled, one bit a corner.

    Parameters
    ----------
    mask
        Boolean, shape (slices, rows, columns). What touches the edge has no surface there: pad by one voxel for it.

    Returns
    -------
    np.ndarray
        uint8, each side one shorter. 0 and 255 are blocks without surface; bit 0 is the corner of the highest indices.
    """
    one = mask.view(np.uint8)
    two = one[..., :-1] << np.uint8(1) | one[..., 1:]
    four = two[:, :-1] << np.uint8(2) | two[:, 1:]
    return four[:-1] << np.uint8(4) | four[1:]


def has_surface(codes: np.ndarray) -> np.ndarray:
    """Whether each block is filled in part, boolean."""
    return (codes + np.uint8(1)) > 1  # 255 wraps round to 0


def element_areas(spacing_mm: Spacing) -> np.ndarray:
    """Return the area of the surface element of each neighbour code, mm², shape (256,)."""
    slices, rows, columns = spacing_mm
    faces = np.array([rows * columns, slices * columns, slices * rows]) / 8
    return np.sqrt(((_pieces() * faces) ** 2).sum(axis=2)).sum(axis=1)


@lru_cache(maxsize=1)
def _pieces() -> np.ndarray:
    """Flat pieces of each neighbour code, in eighths of a voxel's face, shape (256, 4, 3); unused ones are 0."""
    patches = _turned()
    table = np.zeros((256, _MOST_PIECES, 3))
    for code in range(256):
        filled = [corner for bit, corner in enumerate(_CORNERS) if code >> bit & 1]
        fewer = filled if len(filled) <= 4 else [corner for corner in _CORNERS if corner not in filled]
        pieces = [piece for group in _groups(fewer) for piece in patches[group]]
        table[code, : len(pieces)] = np.reshape(pieces, (-1, 3))
    return table


def _turned() -> dict[frozenset[Corner], list[Corner]]:
    """Every group of corners with its patch: those of the table in all 48 symmetries of the cube."""
    found = {}
    for (corners, pieces), axes, mirror in product(_PATCHES, permutations(range(3)), _CORNERS):
        moved = frozenset(tuple(int(corner[axis]) ^ flip for axis, flip in zip(axes, mirror, strict=True))
                          for corner in corners)  # fmt: skip
        found[moved] = [tuple(piece[axis] for axis in axes) for piece in pieces]
    return found


def _groups(corners: list[Corner]) -> Iterator[frozenset[Corner]]:
    """Corners in groups that hang together by edges of the block."""
    left = set(corners)
    while left:
        group, new = set(), {left.pop()}
        while new:
            group |= new
            left -= new
            new = {one for one in left if any(sum(a != b for a, b in zip(one, other, strict=True)) == 1
                                              for other in new)}  # fmt: skip
        yield frozenset(group)
