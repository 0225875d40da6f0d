"""What a task is, as a value: labels, what the network sees, the network, and how it is tuned."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from ailab_kernel.ground.errors import NotFound, VolumeError, WrongUse
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.resample import model_grid, to_grid
from ailab_kernel.volumes.volume import Volume

RECIPES = ("brain-tissue", "heart-wall", "lung-lesions", "lungs")
# Recipes that answer with one probability an image; `classification` finds them.
CLASSIFIERS = ("enlarged-heart",)
# Fields that a digest holds only where they say something: recipes without them keep the digest that they had before.
_LATER = ("expects", "candidates")


@dataclass(frozen=True)
class Keep:
    """What of a label survives after inference.

    Attributes
    ----------
    components
        How many of the largest connected pieces (6-neighbours); 0 keeps all.
    fill_holes
        Whether background enclosed by the label in a slice becomes the label.
    minimum_ml
        Smaller pieces are dropped, ml.
    """

    components: int = 0
    fill_holes: bool = False
    minimum_ml: float = 0.0


@dataclass(frozen=True)
class Augment:
    """How far training images are moved and changed; every figure is the largest change, drawn around none.

    Attributes
    ----------
    turn_deg, scale, shift_mm, bend_mm
        Rotation about each axis, relative size, shift and smooth local displacement.
    flip
        Probability of a left-right mirror image.
    crop
        Largest share of the field of view cut from one face, left as air.
    gain, offset, gamma
        Relative contrast, shift (in units of the window) and log2 of the exponent.
    noise
        Standard deviation of added noise, in units of the window.
    blur, coarse, window
        Probability of a smoothing, of a coarser sampling and of a narrower window.
    """

    turn_deg: float = 8.0
    scale: float = 0.1
    shift_mm: float = 12.0
    bend_mm: float = 3.0
    flip: float = 0.0
    crop: float = 0.0
    gain: float = 0.1
    offset: float = 0.05
    gamma: float = 0.3
    noise: float = 0.04
    blur: float = 0.1
    coarse: float = 0.0
    window: float = 0.0


@dataclass(frozen=True)
class FineTune:
    """How a base model becomes a site's model.

    Attributes
    ----------
    epochs, patience
        Most epochs, and epochs without a better tuning Dice before it stops.
    steps, batch
        Optimizer steps in an epoch and crops in a step.
    crop
        (slice, row, column) voxels of a training crop.
    rate, warmup, decay
        Largest learning rate of AdamW, steps of linear warm-up, weight decay.
    frozen
        (first epoch, parameter prefixes that rest from then on), in order: stages thaw as training goes on.
    """

    epochs: int
    steps: int
    crop: tuple[int, int, int]
    batch: int = 1
    patience: int = 6
    rate: float = 1e-3
    warmup: int = 10
    decay: float = 1e-4
    frozen: tuple[tuple[int, tuple[str, ...]], ...] = ((0, ()),)


@dataclass(frozen=True)
class Recipe:
    """One task.

    Attributes
    ----------
    name, title
        ``heart-wall`` and a line for people.
    labels
        What the network tells apart; index n is output channel n, channel 0 is background.
    counts_as
        Names that a truth may use, by the label that they count as (a lesion in a lung is lung).
    spacing_mm
        (slice, row, column) wished spacing of the model grid, whose axes run to head, posterior and left.
    window_hu
        Values that become 0 and 1; beyond them an image is cut off. None: the image's own smallest and largest value,
        where values have no unit (MR).
    roi
        (slice, row, column) voxels that the network sees at once; multiples of its strides' product.
    network
        MONAI ``network_def``.
    keep
        Post-processing by label name.
    fine_tune, augment
        Training.
    expects
        Smallest and largest volume, ml, that a label has in any image of this kind; an answer outside is held. Labels
        that may be absent (a lesion) do not stand here.
    candidates
        Labels whose pieces are findings with a score each, and the probability from which a voxel belongs to one.
    """

    name: str
    title: str
    labels: tuple[Label, ...]
    counts_as: Mapping[str, str]
    spacing_mm: tuple[float, float, float]
    window_hu: tuple[float, float] | None
    roi: tuple[int, int, int]
    network: Mapping[str, Any]
    keep: Mapping[str, Keep]
    fine_tune: FineTune
    augment: Augment = field(default_factory=Augment)
    expects: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    candidates: Mapping[str, float] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Output channels: background and one a label."""
        return len(self.labels) + 1

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the recipe: changed recipe, other results, other UIDs."""
        told = asdict(self)
        return sha256(canonical_json({key: value for key, value in told.items() if key not in _LATER or value}))


def find(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises
    ------
    NotFound
        There is none.
    """
    if name not in RECIPES:
        msg = f"there is no recipe {name!r}; there are {', '.join(RECIPES)}"
        if name in CLASSIFIERS:
            msg = f"recipe {name} answers with a probability, not with a mask: read it by inference.classify"
        raise NotFound(msg)
    return import_module(f"ailab_kernel.recipes.{name.replace('-', '_')}").RECIPE


def prepare(recipe: Recipe, vol: Volume, *, offset: float = 0.0) -> tuple[np.ndarray, Grid]:
    """Return what the network sees of a volume, and where.

    Parameters
    ----------
    recipe
        Spacing and window.
    vol
        CT in Hounsfield units, or an image in no unit, on any grid.
    offset
        Voxels by which the model grid is moved along each of its axes.

    Returns
    -------
    tuple
        float32, 0 to 1, shape (slices, rows, columns) on the model grid, and that grid.
    """
    low, high = recipe.window_hu or _range(vol)
    grid = model_grid(vol.grid, recipe.spacing_mm)
    grid = grid.moved(offset) if offset else grid
    cut, slope, intercept = _cut_off(vol, low, high)
    image = to_grid(cut, vol.grid, grid)
    image *= np.float32(slope / (high - low))
    image += np.float32((intercept - low) / (high - low))
    return np.clip(image, 0.0, 1.0, out=image), grid


def _range(vol: Volume) -> tuple[float, float]:
    """Smallest and largest value of a volume.

    Raises
    ------
    VolumeError
        They are the same: there is no image.
    """
    low, high = float(vol.values.min()), float(vol.values.max())
    if not low < high:
        msg = f"every voxel of the image has the value {low:g}; there is nothing to see"
        raise VolumeError(msg)
    return low, high


def _cut_off(vol: Volume, low: float, high: float) -> tuple[np.ndarray, float, float]:
    """Samples cut off at the window, with the rescale that they still need.

    Cut off before averaging: padding of -3024 HU beside the body must not darken the skin. Stored integers are cut as
    they are and rescaled on the coarse grid, since both are linear: a tenth of the work on a fine one.
    """
    if np.ndim(vol.slope) or np.ndim(vol.intercept) or float(vol.slope) <= 0 or vol.array.dtype.kind not in "iu":
        return np.clip(vol.values, low, high), 1.0, 0.0
    slope, intercept = float(vol.slope), float(vol.intercept)
    kinds = np.iinfo(vol.array.dtype)
    first, last = (round(min(max((end - intercept) / slope, kinds.min), kinds.max)) for end in (low, high))
    return np.clip(vol.array, first, last), slope, intercept


def truth_on_grid(recipe: Recipe, truth: Mask, grid: Grid) -> np.ndarray:
    """Return the truth as the recipe's labels, on another grid.

    A voxel takes the label that fills most of it, so that a coarse grid keeps the volume.

    Parameters
    ----------
    recipe
        Labels, and the names that count as them.
    truth
        Labels by name; unknown names are background.
    grid
        Usually the model grid.

    Returns
    -------
    np.ndarray
        uint8, shape (slices, rows, columns).
    """
    values = truth_values(recipe, truth)
    shares = [to_grid(np.isin(truth.array, values[label.name]).astype(np.float32), truth.grid, grid)
              for label in recipe.labels]  # fmt: skip
    background = 1.0 - np.sum(shares, axis=0)
    winner = np.argmax([background, *shares], axis=0)
    return np.array([0, *(label.index for label in recipe.labels)], np.uint8)[winner]


def truth_values(recipe: Recipe, truth: Mask) -> dict[str, list[int]]:
    """Return the values of ``truth`` that count as each of the recipe's labels.

    Raises
    ------
    WrongUse
        None of the recipe's labels is among the truth's.
    """
    found: dict[str, list[int]] = {label.name: [] for label in recipe.labels}
    for label in truth.labels:
        called = recipe.counts_as.get(label.name, label.name)
        if called in found:
            found[called].append(label.index)
    if not any(found.values()):
        given = ", ".join(label.name for label in truth.labels) or "no labels"
        msg = f"the truth has {given}; recipe {recipe.name} learns {', '.join(found)}; map its names in counts_as"
        raise WrongUse(msg)
    return found
