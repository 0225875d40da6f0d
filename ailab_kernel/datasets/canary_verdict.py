"""What became of a shape on its way: flipped, transposed or shifted, and by how much; from two sets of points.

Points are compared in the index space of the grid that was sent. Of all turns and mirrors of the three axes the one is
taken that lays one set on the other; what then lies between the centroids is the shift, below a voxel as well, also
where somebody interpolated.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from ailab_kernel.volumes.geometry import Grid

AXES = ("slice", "row", "column")
SAME_MM = 1e-3
_ALIKE_VOXELS = 0.75           # mean distance up to which two shapes are the same one
_NAMED = {0.5: "half a voxel", 1.0: "a voxel"}
_NEAR = 0.02


@dataclass(frozen=True)
class Verdict:
    """How an image or a SEG came back.

    Attributes
    ----------
    flipped, transposed
        Axes of the sent grid along which it is mirrored; those that changed places.
    shift_mm, shift_voxels
        How far the middle of the grid moved along slice, row and column.
    fault
        Why it cannot be placed at all; "" when it can.
    same_values
        Whether each voxel holds what was sent there.
    """

    flipped: tuple[str, ...] = ()
    transposed: tuple[str, ...] = ()
    shift_mm: tuple[float, ...] = (0.0, 0.0, 0.0)
    shift_voxels: tuple[float, ...] = (0.0, 0.0, 0.0)
    fault: str = ""
    same_values: bool = True

    @property
    def identical(self) -> bool:
        """Whether everything is where it was, with the value it had."""
        return self.same_values and not (self.fault or self.flipped or self.transposed or self.shifted)

    @property
    def shifted(self) -> tuple[str, ...]:
        """Axes along which it moved."""
        return tuple(axis for axis, mm in zip(AXES, self.shift_mm, strict=True) if abs(mm) > SAME_MM)

    def __str__(self) -> str:
        if self.fault:
            return self.fault
        told = [f"flipped on the {axis} axis" for axis in self.flipped]
        told += [f"transposed: {', '.join(self.transposed)} axes changed places"] if self.transposed else []
        told += [f"shifted by {mm:+.3f} mm ({_in_voxels(voxels)}) on the {axis} axis"
                 for axis, mm, voxels in zip(AXES, self.shift_mm, self.shift_voxels, strict=True)
                 if axis in self.shifted]  # fmt: skip
        return ", ".join(told) or ("identical" if self.same_values else "in its place, but with other values")


@dataclass(frozen=True, eq=False)
class Cloud:
    """Where something is: points (n, 3) in LPS mm, and the weight of each, (n,)."""

    points: np.ndarray
    weights: np.ndarray

    def seen_from(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Points as (slice, row, column) indices of a grid, relative to their centroid; and the centroid, (3,)."""
        index = np.linalg.solve(grid.affine, np.c_[self.points, np.ones(len(self.points))].T)[:3].T
        middle = np.average(index, axis=0, weights=self.weights)
        return index - middle, middle


def judge(grid: Grid, sent: Cloud, back: Cloud, *, same_values: bool) -> Verdict:
    """Compare what was sent on ``grid`` with what came back."""
    if not len(back.points):
        return Verdict(fault="nothing of it came back: every voxel is empty", same_values=False)
    (ours, middle), (theirs, there) = sent.seen_from(grid), back.seen_from(grid)
    distance, turn = _best(ours, theirs, sent, back, grid)
    if distance > _ALIKE_VOXELS:
        return Verdict(fault=f"another shape came back ({distance:.1f} voxels from the nearest turn of what was sent): "
                       "cut, scaled, or not what was sent", same_values=False)
    centre = (np.array(grid.shape) - 1) / 2
    voxels = turn @ (centre - middle) + there - centre
    order = np.abs(turn).argmax(axis=1)
    signs = np.array([turn[row, column] for row, column in enumerate(order)])
    return Verdict(
        tuple(axis for axis, sign in zip(AXES, signs, strict=True) if sign < 0),
        tuple(axis for number, axis in enumerate(AXES) if order[number] != number),
        _plain(voxels * grid.spacing_mm), _plain(voxels), same_values=same_values,
    )  # fmt: skip


def _best(ours: np.ndarray, theirs: np.ndarray, sent: Cloud, back: Cloud, grid: Grid) -> tuple[float, np.ndarray]:
    """Mean distance of the two sets, in voxels, under the turn that makes it least; and that turn."""
    from scipy.spatial import KDTree

    our_tree, their_tree = KDTree(ours), KDTree(theirs)

    def _distance(turn: np.ndarray) -> float:
        there = np.average(their_tree.query(ours @ turn.T)[0], weights=sent.weights)
        back_again = np.average(our_tree.query(theirs @ np.linalg.inv(turn).T)[0], weights=back.weights)
        return float(max(there, back_again))

    found = [(_distance(turn), turn) for turn in _turns(grid)]
    return min(found, key=lambda one: round(one[0], 6))


def _turns(grid: Grid) -> Iterator[np.ndarray]:
    """(3, 3) each: the 48 turns and mirrors of the axes, in voxels and, if it differs, in millimetres; none first."""
    size = np.diag(grid.spacing_mm)
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            turn = np.zeros((3, 3))
            turn[range(3), order] = signs
            yield turn
            if order != (0, 1, 2):
                yield np.linalg.inv(size) @ turn @ size


def _in_voxels(shift: float) -> str:
    named = next((name for size, name in _NAMED.items() if abs(abs(shift) - size) < _NEAR), "")
    return named or f"{abs(shift):.2f} voxels"


def _plain(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 6) + 0.0 for value in values)
