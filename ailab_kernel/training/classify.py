"""The base model of enlarged hearts: ``python -m ailab_kernel.training.classify`` makes it from projected phantoms.

As with the other base models (`base`), everything that it depends on is here and no image of a patient is used. It is
judged on phantoms that were looked at once, after everything was chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit
from torch import nn
from torch.nn import functional

from ailab_kernel import models
from ailab_kernel.datasets.projection import ENLARGED, cardiothoracic_ratio, radiograph_study
from ailab_kernel.ground.progress import say, track
from ailab_kernel.inference.classify import Classifier
from ailab_kernel.models import read_bundle, write_bundle
from ailab_kernel.recipes.classification import Classification, find_classification
from ailab_kernel.validation.calibration import calibration
from ailab_kernel.validation.rated import Rated
from ailab_kernel.validation.statistics import auc, proportion

from .base import SEED, asked

NAME = "enlarged-heart"
THREADS = 1                                    # sums are split by thread: one count makes the same bytes
TRAIN, TUNE = range(20000, 20320), range(21000, 21100)
HELD_OUT = range(22000, 22200)                 # nobody looked at these before the last run
EPOCHS, BATCH, RATE, DECAY = 60, 16, 4e-3, 1e-3
NEAR = 0.03                                    # of the limit: where two people who measure may disagree
TEXTS = {
    "description": "Is the heart wider than half of the chest? A probability, learnt from projections of phantoms.",
    "intended_use": "Something to measure and to learn from: area under the curve, calibration. Not a medical device.",
    "limits": "It has seen no patient and no radiograph, only phantoms' CT volumes projected from front to back, "
              "without scatter, grid or contrast medium. The answer is a ratio of widths, no diagnosis.",
    "training_data": {"images": f"{len(TRAIN)} projected phantoms, seeds {TRAIN.start} to {TRAIN.stop - 1}; "
                      f"{len(TUNE)} to set the temperature by", "patients": "none"},
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pictures:
    """Radiographs with their answers.

    Attributes
    ----------
    images
        float32, 0 to 1, shape (n, 1, rows, columns).
    truth
        bool, shape (n,).
    ratios
        The cardiothoracic ratio that the truth comes from, shape (n,).
    """

    images: np.ndarray
    truth: np.ndarray
    ratios: np.ndarray


def pictures(recipe: Classification, seeds: Sequence[int], folder: Path) -> Pictures:
    """Return the radiographs of phantoms, each kept in ``folder`` for the next attempt."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [_picture(recipe, seed, folder) for seed in track(list(seeds), what="radiographs made")]
    images, truth, ratios = (np.stack([one[part] for one in found]) for part in range(3))
    return Pictures(images[:, None].astype(np.float32), truth.astype(bool), ratios)


def _picture(recipe: Classification, seed: int, folder: Path) -> tuple[np.ndarray, bool, float]:
    path = folder / f"radiograph-{seed}.npz"
    if not path.is_file():
        study = radiograph_study(seed)
        draft = path.with_suffix(".part.npz")
        np.savez_compressed(draft, image=recipe.see(study.volume).astype(np.float16), truth=recipe.truth(study.truth),
                            ratio=cardiothoracic_ratio(study.truth))  # fmt: skip
        draft.replace(path)
    with np.load(path) as kept:
        return kept["image"], bool(kept["truth"]), float(kept["ratio"])


def train(recipe: Classification, learn: Pictures) -> nn.Module:
    """Train the recipe's network from nothing for a fixed number of epochs; one thread makes the same bytes again."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = models.build_network(recipe.network).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
        steps = EPOCHS * (len(learn.truth) // BATCH)
        pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for epoch in track(range(EPOCHS), what="epochs"):
            random = np.random.default_rng((SEED, epoch))
            for chosen in np.split(random.permutation(len(learn.truth))[:steps // EPOCHS * BATCH], steps // EPOCHS):
                optimizer.zero_grad(set_to_none=True)
                logits = network(_changed(learn.images[chosen], random))[:, 0]
                wanted = torch.from_numpy(learn.truth[chosen].astype(np.float32))
                functional.binary_cross_entropy_with_logits(logits, wanted).backward()
                optimizer.step()
                pace.step()
    return network.eval()


def _changed(images: np.ndarray, random: np.random.Generator) -> torch.Tensor:
    """Pictures moved by some pixels, larger or smaller, lighter or darker; never mirrored: a heart has a side."""
    count = len(images)
    theta = np.zeros((count, 2, 3), np.float32)
    theta[:, 0, 0] = theta[:, 1, 1] = random.uniform(0.9, 1.1, count)
    theta[:, :, 2] = random.uniform(-0.08, 0.08, (count, 2))
    grid = functional.affine_grid(torch.from_numpy(theta), list(images.shape), align_corners=False)
    moved = functional.grid_sample(torch.from_numpy(images), grid, align_corners=False)
    gain = torch.from_numpy(random.uniform(0.9, 1.1, (count, 1, 1, 1)).astype(np.float32))
    noise = torch.from_numpy(random.normal(0, 0.01, images.shape).astype(np.float32))
    return moved * gain + noise


def temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return what logits are to be divided by so that their sigmoid is a probability (Guo et al., ICML 2017).

    Parameters
    ----------
    logits, truth
        Of cases that the network did not learn from, shape (n,).
    """
    def _loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        return float(np.mean(np.logaddexp(0, np.where(truth, -scaled, scaled))))

    return float(np.exp(minimize_scalar(_loss, bounds=(-3, 3), method="bounded").x))


def cooled(network: nn.Module, t: float) -> nn.Module:
    """Fold a temperature into the last layer, in place: what the network says from now on is calibrated."""
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.div_(t)
        last.bias.div_(t)
    return network


def rated(classifier: Classifier, found: Pictures, seeds: Sequence[int]) -> tuple[Rated, ...]:
    """Return a classifier's probabilities of pictures beside the answers."""
    values = expit(classifier.logits(found.images[:, 0]))
    return tuple(Rated(str(seed), str(seed), float(value), bool(truth))
                 for seed, value, truth in zip(seeds, values, found.truth, strict=True))  # fmt: skip


def figures(judged: Sequence[Rated], ratios: np.ndarray, *, threshold: float) -> dict[str, str]:
    """Return the figures of a classifier in words, for its card; the threshold is the recipe's."""
    values, answers = [one.value for one in judged], [one.truth for one in judged]
    area, told, truth = auc(values, answers), calibration(values, answers), np.array(answers)
    right = (np.array(values) >= threshold) == truth
    near = np.abs(ratios - ENLARGED) < NEAR
    sides = {"sensitivity": right[truth], "specificity": right[~truth]}
    return {
        "prevalence": f"{truth.sum()} of {len(truth)} phantoms; {near.sum()} within {NEAR:g} of a ratio of {ENLARGED}",
        "AUC": f"{area.value:.3f} ({area.low:.3f} to {area.high:.3f})",
        "Brier score, calibration error (ECE, ten bins)": f"{told.brier:.3f}, {told.ece:.3f}",
        **{f"{name} at {threshold:g}": _share(found) for name, found in sides.items()},
        "right among those near the limit": _share(right[near]),
    }


def _share(right: np.ndarray) -> str:
    found = proportion(int(right.sum()), right.size)
    return f"{found.successes} of {found.total}, {found.share:.3f} ({found.low:.3f} to {found.high:.3f})"


def metadata_of(recipe: Classification, t: float) -> dict[str, Any]:
    """Return what the bundle says of itself before it is judged."""
    shape = {"spatial_shape": [recipe.pixels, recipe.pixels], "dtype": "float32", "is_patch_data": False}
    image = {"type": "image", "format": "magnitude", "modality": "CT", "num_channels": 1, "value_range": [0, 1],
             "channel_def": {"0": recipe.picture}, **shape}  # fmt: skip
    answer = {"type": "probabilities", "format": "logit", "num_channels": 1, "channel_def": {"0": recipe.finding.name},
              "spatial_shape": [1], "dtype": "float32", "is_patch_data": False}  # fmt: skip
    return {
        "version": "1.0.0", "monai_version": version("monai"), "numpy_version": version("numpy"),
        "pytorch_version": version("torch").partition("+")[0], "task": recipe.title, "recipe_digest": recipe.digest,
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": answer}}, **TEXTS,
        "made_with": {"command": "python -m ailab_kernel.training.classify", "seed": SEED, "epochs": EPOCHS,
                      "temperature, folded into the last layer": f"{t:.3f}"},
    }  # fmt: skip


def make(work: Path, out: Path) -> Path:
    """Train, calibrate, judge and write the bundle with its figures on the card."""
    recipe = find_classification(NAME)
    learn, tune = (pictures(recipe, seeds, work / "pictures") for seeds in (TRAIN, TUNE))
    network = train(recipe, learn)
    with torch.inference_mode():
        t = temperature(network(torch.from_numpy(tune.images))[:, 0].numpy(), tune.truth)
    metadata = metadata_of(recipe, t)
    fixed: dict[str, Any] = {"name": NAME, "recipe": NAME, "network": recipe.network,
                             "state_dict": cooled(network, t).state_dict()}  # fmt: skip
    write_bundle(out, **fixed, metadata=metadata)
    held = pictures(recipe, HELD_OUT, work / "pictures")
    judged = rated(Classifier(read_bundle(out, name=NAME)), held, HELD_OUT)
    told = {**figures(judged, held.ratios, threshold=recipe.threshold),
            "judged on": f"phantoms {HELD_OUT.start} to {HELD_OUT.stop - 1}"}  # fmt: skip
    write_bundle(out, **fixed, metadata={**metadata, "performance": told})
    return out


def main() -> None:
    """Make the base model and say what it can do."""
    given = asked("classify", __doc__, threads=THREADS)
    out = make(given.work / NAME, given.out / NAME)
    say(f"{out.name}: {read_bundle(out).metadata['performance']}")


if __name__ == "__main__":
    main()
