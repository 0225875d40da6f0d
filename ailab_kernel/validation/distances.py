"""Distances between the surfaces of two masks, in mm, from one shared and cropped distance transform.

A surface is the set of a mask's border voxels: those with a 6-neighbour outside it (the definition of MONAI and
MetricsReloaded; Maier-Hein et al., Metrics Reloaded, Nature Methods 2024). A distance runs between voxel centres.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

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
    borders = [mask[box] & ~ndimage.binary_erosion(mask[box], _CROSS) for mask in (prediction, truth)]
    there, back = (
        ndimage.distance_transform_edt(~target, sampling=spacing_mm)[source]
        for source, target in ((borders[0], borders[1]), (borders[1], borders[0]))
    )
    return SurfaceDistances(there, back)
