"""Distances between the surfaces of two masks, in mm, weighted by area; worked out once for every figure made of them.

A surface is made of elements half-way between voxels, each with its area (`shape.surfels`): where slices are 5 mm apart
a face counts as large as it is. It is the definition of DeepMind's surface-distance and of MONAI's ``use_subvoxels``;
border voxels, which most tools count, weigh all alike (docs/metrics.md has the differences).

Most elements have the other surface near by: steps from nearest to furthest are tried for all of them at once, and a
k-d tree finds the rest. The distances are exact, and need no transform of the whole box.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .shape.boxes import SLACK, Spacing, common_box, flat_steps, offsets_within
from .shape.surfels import element_areas, has_surface, neighbour_codes

_NEAR = 125  # steps that are tried before a tree is grown


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distance of each surface element of one mask to the nearest element of the other, and the element's area.

    Attributes
    ----------
    there, there_mm2
        From the prediction's surface to the truth's, mm and mm², shape (n,).
    back, back_mm2
        From the truth's surface to the prediction's, mm and mm², shape (m,).
    """

    there: np.ndarray
    back: np.ndarray
    there_mm2: np.ndarray
    back_mm2: np.ndarray

    def hausdorff(self, percentile: float = 95.0) -> float:
        """Larger of the two directed percentiles, mm: the distance that so many percent of the area stay within.

        100 gives the Hausdorff distance.
        """
        return max(_within(self.there, self.there_mm2, percentile), _within(self.back, self.back_mm2, percentile))

    def surface_dice(self, tolerance_mm: float) -> float:
        """Normalized surface Dice: share of both surfaces' area within ``tolerance_mm`` of the other (Nikolov 2021)."""
        limit = tolerance_mm * SLACK
        near = self.there_mm2[self.there <= limit].sum() + self.back_mm2[self.back <= limit].sum()
        return float(near / (self.there_mm2.sum() + self.back_mm2.sum()))

    def mean(self) -> float:
        """Average symmetric surface distance, mm: over the area of both surfaces together."""
        total = float(self.there @ self.there_mm2 + self.back @ self.back_mm2)
        return total / float(self.there_mm2.sum() + self.back_mm2.sum())


def surface_distances(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> SurfaceDistances:
    """Return the distances between two masks that are both not empty.

    Parameters
    ----------
    prediction, truth
        Boolean, shape (slices, rows, columns). What lies beyond the image counts as outside.
    spacing_mm
        (slice, row, column) mm.
    """
    box = common_box(prediction, truth)
    offsets, lengths = _near_steps(spacing_mm)
    pad = [(int(n) + 1, int(n) + 1) for n in np.abs(offsets).max(axis=0)]  # so that no step leaves the array
    codes = [neighbour_codes(np.pad(mask[box], pad)) for mask in (prediction, truth)]
    surfaces = [has_surface(code) for code in codes]
    elements = [np.flatnonzero(surface) for surface in surfaces]
    areas = element_areas(spacing_mm)
    weights = [areas[code.reshape(-1)[found]] for code, found in zip(codes, elements, strict=True)]
    steps = flat_steps(offsets, surfaces[0].shape), lengths
    there = _nearest(elements[0], surfaces[1], steps=steps, spacing_mm=spacing_mm)
    back = _nearest(elements[1], surfaces[0], steps=steps, spacing_mm=spacing_mm)
    return SurfaceDistances(there, back, *weights)


def _near_steps(spacing_mm: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Offsets within a ball of about `_NEAR` voxels, at least the voxel itself, and their lengths."""
    radius = (_NEAR * math.prod(spacing_mm) * 3 / (4 * math.pi)) ** (1 / 3)
    return offsets_within(radius, spacing_mm)


def _nearest(
    mine: np.ndarray, theirs: np.ndarray, *, steps: tuple[np.ndarray, np.ndarray], spacing_mm: Spacing
) -> np.ndarray:
    """Distance from each of my elements (flat indices) to the nearest true voxel of ``theirs``, mm."""
    found, flat = np.zeros(len(mine)), theirs.reshape(-1)
    left, place = np.arange(len(mine)), mine
    for step, mm in zip(*steps, strict=True):
        hit = flat[place + step]
        if hit.any():
            found[left[hit]] = mm
            left, place = left[~hit], place[~hit]
        if not len(left):
            return found
    here, there = (np.stack(np.unravel_index(index, theirs.shape), axis=1) * np.asarray(spacing_mm)
                   for index in (place, np.flatnonzero(flat)))  # fmt: skip
    # Split at the middle: on lattice points the balanced tree was up to eight times slower (concentric shells).
    found[left] = cKDTree(there, balanced_tree=False, compact_nodes=False).query(here)[0]
    return found


def _within(distances: np.ndarray, areas: np.ndarray, percentile: float) -> float:
    """Smallest distance that ``percentile`` of the area stay within, mm."""
    if percentile >= 100:
        return float(distances.max())
    order = np.argsort(distances)
    area = np.cumsum(areas[order])
    # The order of equal distances must not decide by a rounding in the sum.
    return float(distances[order[np.searchsorted(area, area[-1] * percentile / 100 / SLACK)]])
