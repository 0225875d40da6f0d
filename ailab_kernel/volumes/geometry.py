"""Where voxels are: pure functions on grids, in LPS millimetres."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid in patient space.

    Attributes
    ----------
    shape
        (slices, rows, columns).
    affine
        (4, 4) float64, array index (slice, row, column, 1) to LPS mm of the voxel centre.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        self.affine.setflags(write=False)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """(slice, row, column) distance between voxel centres, mm."""
        slices, rows, columns = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return slices, rows, columns

    @cached_property
    def voxel_ml(self) -> float:
        """Volume of one voxel, ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def moved(self, voxels: float) -> "Grid":
        """Return a grid of the same shape, so many voxels farther along each of its axes."""
        shift = np.eye(4)
        shift[:3, 3] = voxels
        return Grid(self.shape, self.affine @ shift)

    def matches(self, other: "Grid", *, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same shape and place every corner within ``tolerance_mm``."""
        if self.shape != other.shape:
            return False
        corners = np.array([[*np.multiply(np.unravel_index(i, (2, 2, 2)), np.subtract(self.shape, 1)), 1.0]
                            for i in range(8)])
        return bool(np.abs((corners @ (self.affine - other.affine).T)[:, :3]).max() <= tolerance_mm)
