"""The lesions of one scan, each on its own: the pieces of a mask, or instances that a model names with a score."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ailab_kernel.ground.errors import WrongUse

_WHOLE = ndimage.generate_binary_structure(3, 3)


@dataclass(frozen=True, eq=False)
class Lesions:
    """Lesions of one scan.

    Attributes
    ----------
    voxels
        Of each lesion the indices (slice, row, column) of its voxels, shape (n, 3).
    scores
        Of each lesion how sure the model is of it; the larger the surer. 1 where nobody said.
    spacing_mm
        (slice, row, column) mm.
    """

    voxels: tuple[np.ndarray, ...]
    scores: tuple[float, ...]
    spacing_mm: tuple[float, float, float]

    def __post_init__(self) -> None:
        if len(self.voxels) != len(self.scores) or not all(map(math.isfinite, self.scores)):
            msg = f"{len(self.scores)} scores for {len(self.voxels)} lesions: one number a lesion is expected"
            raise WrongUse(msg)

    def __len__(self) -> int:
        return len(self.voxels)

    @property
    def sizes_ml(self) -> tuple[float, ...]:
        """Volume of each lesion, ml."""
        return tuple(len(found) * math.prod(self.spacing_mm) / 1000 for found in self.voxels)

    @property
    def centers_mm(self) -> np.ndarray:
        """Centre of gravity of each lesion from the image's first voxel, mm, shape (lesions, 3)."""
        centers = [found.mean(axis=0) for found in self.voxels]
        return np.reshape(centers, (-1, 3)) * np.asarray(self.spacing_mm)


def connected_lesions(
    mask: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    probability: np.ndarray | None = None,
    smallest_ml: float = 0.0,
) -> Lesions:
    """Return the connected pieces of a mask; voxels that touch by a face, an edge or a corner belong together.

    Parameters
    ----------
    mask
        Boolean, shape (slices, rows, columns).
    spacing_mm
        (slice, row, column) mm.
    probability
        Same shape; a piece's score is the largest value in it.
    smallest_ml
        Smaller pieces are left out. Leave it 0 for a truth: what is too small to count is to be declared beforehand.
    """
    numbered, _ = ndimage.label(mask, _WHOLE)
    found = given_lesions(numbered, spacing_mm)
    keep = [number for number, ml in enumerate(found.sizes_ml) if ml >= smallest_ml]
    voxels = tuple(found.voxels[number] for number in keep)
    scores = tuple(1.0 if probability is None else float(probability[tuple(one.T)].max()) for one in voxels)
    return Lesions(voxels, scores, spacing_mm)


def given_lesions(
    numbered: np.ndarray, spacing_mm: tuple[float, float, float], *, scores: Mapping[int, float] | None = None
) -> Lesions:
    """Return the lesions of an array in which each has a number of its own.

    Parameters
    ----------
    numbered
        Integers, shape (slices, rows, columns), 0 is background.
    spacing_mm
        (slice, row, column) mm.
    scores
        By number; 1 for all where it is left out.

    Raises
    ------
    WrongUse
        A lesion has no score, or one that is no number.
    """
    boxes = ndimage.find_objects(numbered)
    numbers = [number for number, box in enumerate(boxes, 1) if box is not None]
    if scores is not None and (without := set(numbers) - scores.keys()):
        msg = f"{len(without)} of {len(numbers)} lesions have no score; give one for each"
        raise WrongUse(msg)
    voxels = tuple(np.argwhere(numbered[boxes[number - 1]] == number) + [side.start for side in boxes[number - 1]]
                   for number in numbers)  # fmt: skip
    return Lesions(voxels, tuple(1.0 if scores is None else float(scores[number]) for number in numbers), spacing_mm)
