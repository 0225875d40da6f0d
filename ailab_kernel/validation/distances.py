"""Distances between the surfaces of two masks, in mm, cropped to what both fill.

A surface is the set of a mask's border voxels: those with a 6-neighbour outside it (the definition of MONAI and
MetricsReloaded; Maier-Hein et al., Metrics Reloaded, Nature Methods 2024). A distance runs between voxel centres.
The nearest voxel is found in a k-d tree of the border alone: the same distances as a distance transform, which works
through every voxel of the box, in a fraction of the time.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

_CROSS = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distance of each border voxel of one mask to the nearest border voxel of the other, mm.

    Attributes
    ----------
    there
        From the prediction's surface to the truth's, shape (n,).
    back
        From the truth's surface to the prediction's, shape (m,).
    """

    there: np.ndarray
    back: np.ndarray

    def hausdorff(self, percentile: float = 95.0) -> float:
        """Larger of the two directed percentiles, mm; 100 gives the Hausdorff distance."""
        return float(max(np.percentile(self.there, percentile), np.percentile(self.back, percentile)))

    def surface_dice(self, tolerance_mm: float) -> float:
        """Normalized surface Dice: share of both surfaces within ``tolerance_mm`` of the other (Nikolov 2021)."""
        near = int((self.there <= tolerance_mm).sum()) + int((self.back <= tolerance_mm).sum())
        return near / (len(self.there) + len(self.back))

    def mean(self) -> float:
        """Average symmetric surface distance, mm."""
        return float((self.there.sum() + self.back.sum()) / (len(self.there) + len(self.back)))


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]
) -> SurfaceDistances:
    """Return the distances between two masks that are both not empty.

    Parameters
    ----------
    prediction, truth
        Boolean, shape (slices, rows, columns).
    spacing_mm
        (slice, row, column) mm.
    """
    box = ndimage.find_objects((prediction | truth).astype(np.uint8))[0]
    borders = [_border(mask[box]) * np.asarray(spacing_mm) for mask in (prediction, truth)]
    # Split at the middle: on lattice points the balanced tree was up to eight times slower (concentric shells).
    trees = [cKDTree(points, balanced_tree=False, compact_nodes=False) for points in borders]
    return SurfaceDistances(trees[1].query(borders[0])[0], trees[0].query(borders[1])[0])


def _border(mask: np.ndarray) -> np.ndarray:
    """Indices of the border voxels, shape (n, 3); what lies beyond the box counts as outside."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask, _CROSS))
