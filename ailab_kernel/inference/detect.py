"""Findings of a detector: connected pieces of a label's probability, each with a score, on the volume's own grid."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import softmax

from ailab_kernel.ground.errors import ModelError
from ailab_kernel.recipes import Recipe
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.resample import to_grid
from ailab_kernel.volumes.volume import Volume

from .predict import Predictor

_WHOLE = ndimage.generate_binary_structure(3, 3)


@dataclass(frozen=True, eq=False)
class Findings:
    """What a detector found in one volume.

    Attributes
    ----------
    numbered
        int32, shape (slices, rows, columns): 0 is background, each finding has a number of its own, the surest is 1.
    scores
        By number the largest probability in the finding, 0 to 1. It ranks findings; it is no calibrated probability.
    grid
        Where the voxels are: that of the volume.
    """

    numbered: np.ndarray
    scores: Mapping[int, float]
    grid: Grid

    @property
    def score(self) -> float:
        """Of the whole volume: that of its surest finding, 0 where nothing was found."""
        return max(self.scores.values(), default=0.0)


def detect(predictor: Predictor, vol: Volume, *, label: str = "") -> Findings:
    """Return every finding from the recipe's candidate probability on; which of them count is a matter of threshold.

    Parameters
    ----------
    predictor
        Of a model whose recipe has ``candidates``.
    vol
        CT in Hounsfield units, on any grid.
    label
        Which label; empty: the recipe's first that is a finding.

    Raises
    ------
    ModelError
        The model's recipe finds nothing one by one.
    """
    recipe = predictor.recipe
    called = label or next(iter(recipe.candidates), "")
    if called not in recipe.candidates:
        msg = (f"model {predictor.bundle.ref}: recipe {recipe.name} gives masks, not findings with scores"
               f"{f' of {label!r}' if label else ''}; name a detector, e.g. lung-lesions@general")  # fmt: skip
        raise ModelError(msg)
    answer, grid = predictor.scores(vol)
    likely = to_grid(softmax(answer, axis=0)[_channel(recipe, called)], grid, vol.grid)
    return pieces(likely, vol.grid, above=recipe.candidates[called])


def pieces(likely: np.ndarray, grid: Grid, *, above: float) -> Findings:
    """Return the connected pieces (26 neighbours) of a probability of ``above`` and more, the surest first.

    Parameters
    ----------
    likely
        float, 0 to 1, shape (slices, rows, columns).
    grid
        Where its voxels are.
    above
        Smallest probability of a voxel that belongs to a piece.
    """
    found, count = ndimage.label(likely >= above, _WHOLE)
    if not count:
        return Findings(found.astype(np.int32), {}, grid)
    peaks = ndimage.maximum(likely, found, np.arange(1, count + 1))
    order = np.argsort(-peaks, kind="stable")
    number = np.zeros(count + 1, np.int32)
    number[order + 1] = np.arange(1, count + 1)
    scores = {place: min(1.0, float(peaks[one])) for place, one in enumerate(order, 1)}
    return Findings(number[found], scores, grid)


def _channel(recipe: Recipe, name: str) -> int:
    return next(label.index for label in recipe.labels if label.name == name)
