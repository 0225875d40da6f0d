"""Studies become tensors on the model grid, and tensors become crops that depend on seed, epoch and step only."""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ailab_kernel.ground.errors import TrainingError
from ailab_kernel.ground.progress import track
from ailab_kernel.recipes import Recipe, prepare, truth_on_grid
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume

from .augment import look

_PLACES = 2048


@dataclass(frozen=True)
class Sample:
    """One annotated study, read when it is needed.

    Attributes
    ----------
    id
        Case or pseudonym; goes into the run's record.
    load
        Returns the volume and its truth.
    """

    id: str
    load: Callable[[], tuple[Volume, Mask]]


@dataclass(frozen=True, eq=False)
class Case:
    """One study as the network sees it.

    Attributes
    ----------
    id
        The sample's.
    image
        float16, 0 to 1, shape (slices, rows, columns) on the model grid.
    truth
        uint8, same shape.
    places
        int32, shape (n, 3): some voxels that carry a label; crops are drawn around them.
    """

    id: str
    image: torch.Tensor
    truth: torch.Tensor
    places: np.ndarray


def read_cases(recipe: Recipe, samples: Iterable[Sample], *, what: str) -> list[Case]:
    """Read every sample once.

    Parameters
    ----------
    recipe
        Spacing, window and labels.
    samples
        Annotated studies.
    what
        For the progress line, e.g. ``training cases``.
    """
    return [to_case(recipe, sample) for sample in track(list(samples), what=f"{what} read")]


def to_case(recipe: Recipe, sample: Sample) -> Case:
    """Bring one sample to the model grid.

    Raises
    ------
    TrainingError
        The truth lies on another grid than the volume.
    """
    volume, truth = sample.load()
    if not truth.grid.matches(volume.grid):
        msg = f"case {sample.id}: the truth lies on another grid than its volume; resample it first"
        raise TrainingError(msg)
    image, grid = prepare(recipe, volume)
    return case_of(sample.id, image, truth_on_grid(recipe, truth, grid))


def case_of(name: str, image: np.ndarray, truth: np.ndarray) -> Case:
    """Keep an image (float, 0 to 1) and its labels (uint8), both (slices, rows, columns) on the model grid."""
    places = np.argwhere(truth).astype(np.int32)
    places = places[:: max(1, len(places) // _PLACES)]
    return Case(name, torch.from_numpy(image.astype(np.float16)), torch.from_numpy(truth), places)


def digest_of(cases: Iterable[Case]) -> str:
    """SHA-256 of all that the network will see: a resumed run must see the same."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update(case.id.encode())
        digest.update(case.image.numpy().tobytes())
        digest.update(case.truth.numpy().tobytes())
    return digest.hexdigest()


def batch(
    recipe: Recipe, cases: Sequence[Case], *, seed: int, epoch: int, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the crops of one step; the same seed, epoch and step give the same bits.

    Parameters
    ----------
    recipe
        Crop, batch size and augmentation.
    cases
        The training cases, in a fixed order.
    seed, epoch, step
        All that chance depends on.

    Returns
    -------
    tuple
        Images float32 (batch, 1, slices, rows, columns) and labels int64 (batch, 1, slices, rows, columns).
    """
    size = recipe.fine_tune.batch
    rounds = math.ceil(size * recipe.fine_tune.steps / len(cases))
    order = np.random.default_rng((seed, epoch)).permutation(len(cases) * rounds)
    images, truths = [], []
    for item in range(size):
        case = cases[order[step * size + item] % len(cases)]
        random = np.random.default_rng((seed, epoch, step, item))
        image, truth = look(case.image, case.truth, centre=_centre(case, recipe.fine_tune.crop, random), recipe=recipe,
                            random=random)  # fmt: skip
        images.append(image)
        truths.append(truth)
    return torch.stack(images), torch.stack(truths)


def _centre(case: Case, crop: tuple[int, int, int], random: np.random.Generator) -> np.ndarray:
    """Voxel index that a crop is drawn around: half of the time a labelled voxel, never further out than needed."""
    size = np.array(case.image.shape, float)
    wish = random.uniform(0, 1, 3) * size
    if len(case.places) and random.random() < 0.5:
        wish = case.places[random.integers(len(case.places))].astype(float)
    margin = np.minimum(np.array(crop), size) / 2
    return np.clip(wish, margin, size - margin) - 0.5
