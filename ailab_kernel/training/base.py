"""The base models that come with the product, made by ``python -m ailab_kernel.training.base NAME``.

Everything that they depend on is here: the phantoms' style, seeds and sizes, the schedule and the augmentation. A run
that breaks off resumes; processors of one kind make the same weights again, whatever their number of cores. No image of
a patient is used.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ailab_kernel import models
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.ground.progress import say, track
from ailab_kernel.inference.predict import Predictor
from ailab_kernel.models import read_bundle, write_bundle
from ailab_kernel.recipes import Augment, FineTune, Recipe, bundle_metadata, find, truth_on_grid
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume
from ailab_kernel.work.processes import each

from .loaders import Case, Sample, case_of, to_case
from .loop import Trained, run
from .plot import line

SEED = 20261124
# Sums are split by thread: one count makes the same bytes on machines with any number of cores.
THREADS = 2


@dataclass(frozen=True)
class Base:
    """How one base model is made.

    Attributes
    ----------
    recipe
        Labels, network and preparation.
    style
        The site whose phantoms it learns from.
    train, tune, held_out
        Phantom seeds: to learn from, to choose the epoch by, to judge by.
    sizes
        (slices, rows, columns) that the phantoms take in turn.
    plan, augment
        Instead of the recipe's, which are for fine-tuning.
    texts
        Card: description, intended use and limits.
    elsewhere
        Another style to show where it does worse.
    """

    recipe: str
    style: str
    train: range
    tune: range
    held_out: range
    sizes: tuple[tuple[int, int, int], ...]
    plan: FineTune
    augment: Augment
    texts: dict[str, str]
    elsewhere: str = ""


BASES = {
    "lungs": Base(
        "lungs", "mixed", range(1000, 1240), range(2000, 2010), range(3000, 3020),
        sizes=((88, 96, 96), (72, 112, 112), (110, 80, 80), (60, 128, 128)),
        plan=FineTune(epochs=32, steps=60, crop=(80, 96, 96), rate=2e-3, warmup=60, patience=30),
        augment=find("lungs").augment,
        texts={
            "description": "Both lungs on CT of the chest, learnt from phantoms of many body forms and scanners.",
            "intended_use": "A start for annotation and fine-tuning on chest CT. Not a medical device.",
            "limits": "It has seen no patient. Consolidated lung is inside its label, effusion is not.",
        },
    ),
    "heart-wall": Base(
        "heart-wall", "university", range(1000, 1060), range(2000, 2006), range(3000, 3020),
        sizes=((60, 128, 128), (80, 112, 112), (96, 96, 96)),
        plan=FineTune(epochs=24, steps=50, crop=(80, 96, 96), rate=2e-3, warmup=50, patience=24),
        augment=find("heart-wall").augment,
        texts={
            "description": "Heart wall and cavity on contrast CT of one site, a phantom university hospital.",
            "intended_use": "A start for fine-tuning on another site's chest CT. Not a medical device.",
            "limits": "It knows one scanner, one contrast phase and one site's hearts; elsewhere it must be tuned.",
        },
        elsewhere="general-hospital",
    ),
}  # fmt: skip


def phantom_study(seed: int, *, style: str, size: tuple[int, int, int]) -> tuple[Volume, Mask]:
    """Return one phantom's volume and truth.

    Parameters
    ----------
    seed
        Which patient.
    style
        Which site.
    size
        (slices, rows, columns).
    """
    study = make(random_phantom(seed, style=style, size=size))
    return study.volume, study.truth


def phantom_case(seed: int, *, base: Base, folder: Path) -> Case:
    """Return one phantom on the model grid, kept in ``folder`` for the next attempt."""
    recipe, path = find(base.recipe), folder / f"{base.style}-{seed}.npz"
    if not path.is_file():
        size = base.sizes[seed % len(base.sizes)]
        case = to_case(recipe, Sample(str(seed), partial(phantom_study, seed, style=base.style, size=size)))
        draft = path.with_suffix(".part.npz")
        np.savez_compressed(draft, image=case.image.numpy(), truth=case.truth.numpy())
        draft.replace(path)
    with np.load(path) as kept:
        return case_of(f"{base.style}-{seed}", kept["image"], kept["truth"])


def phantom_cases(base: Base, seeds: Sequence[int], folder: Path) -> list[Case]:
    """Return the phantoms of ``seeds`` on the model grid, made by one process a core."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not (folder / f"{base.style}-{seed}.npz").is_file()]
    one: Callable[[int], Case] = partial(phantom_case, base=base, folder=folder)
    for _ in track(each(one, missing), what=f"{base.style} phantoms made", total=len(missing)):
        pass
    return [one(seed) for seed in seeds]


def train_base(base: Base, work: Path) -> Trained:
    """Train one base model from nothing in the folder ``work``, or go on where it broke off."""
    recipe = replace(find(base.recipe), fine_tune=base.plan, augment=base.augment)
    train, tune = (phantom_cases(base, seeds, work / "cases") for seeds in (base.train, base.tune))
    return run(recipe, None, cases=(train, tune), folder=work / "run", seed=SEED, on_epoch=line)


def judge(predictor: Predictor, base: Base, *, style: str) -> dict[str, float]:
    """Return the mean Dice by label over the held-out phantoms of a style, on their own grids."""
    scores = []
    for seed in track(base.held_out, what=f"held-out {style} phantoms judged"):
        volume, truth = phantom_study(seed, style=style, size=base.sizes[seed % len(base.sizes)])
        scores.append(dice(predictor.recipe, predictor.predict(volume), truth))
    return {label.name: float(np.mean([row[label.name] for row in scores])) for label in predictor.recipe.labels}


def dice(recipe: Recipe, answer: Mask, truth: Mask) -> dict[str, float]:
    """Return the Dice of each label; 1 where both are empty."""
    expected = truth_on_grid(recipe, truth, answer.grid)
    result = {}
    for label in recipe.labels:
        ours, theirs = answer.array == label.index, expected == label.index
        both = int(ours.sum() + theirs.sum())
        result[label.name] = 2 * int((ours & theirs).sum()) / both if both else 1.0
    return result


def write(name: str, trained: Trained, out: Path) -> Path:
    """Write the bundle, judge it, and write it again with its figures on the card."""
    base, recipe = BASES[name], find(BASES[name].recipe)
    metadata = {**bundle_metadata(recipe), **base.texts, **_made_of(base, trained)}
    fixed: dict[str, Any] = {
        "name": name, "recipe": recipe.name, "network": recipe.network, "state_dict": trained.state_dict,
    }  # fmt: skip
    write_bundle(out, **fixed, metadata=metadata)
    predictor = Predictor(read_bundle(out, name=name), engine="torch")
    styles = [style for style in (base.style, base.elsewhere) if style]
    metadata["performance"] = {f"Dice, {style} phantoms {base.held_out.start} to {base.held_out.stop - 1}": _figures(
        judge(predictor, base, style=style)) for style in styles}  # fmt: skip
    write_bundle(out, **fixed, metadata=metadata)
    return out


def _made_of(base: Base, trained: Trained) -> dict[str, Any]:
    return {
        "training_data": {"images": f"{len(base.train)} phantoms of style {base.style}, seeds {base.train.start} to "
                          f"{base.train.stop - 1}; {len(base.tune)} to choose the epoch by",
                          "patients": "none"},
        "made_with": {"command": f"python -m ailab_kernel.training.base {base.recipe}", "seed": SEED,
                      "epochs": len(trained.curve), "steps": len(trained.curve) * base.plan.steps,
                      "best epoch": trained.best_epoch},
    }  # fmt: skip


def _figures(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in scores.items())


def asked(program: str, about: str | None, *, threads: int, names: Sequence[str] = ()) -> argparse.Namespace:
    """Return what a command that makes a shipped model is told (``work``, ``out``, of several ``name``); set threads.

    Parameters
    ----------
    program, about
        Module and what it does.
    threads
        Sums are split by thread: the bytes depend on it.
    names
        Models to choose from.
    """
    parser = argparse.ArgumentParser(prog=f"python -m ailab_kernel.training.{program}", description=about)
    if names:
        parser.add_argument("name", choices=names)
    parser.add_argument("--work", type=Path, default=Path("build/base"), help="phantoms and run folders")
    parser.add_argument("--out", type=Path, default=Path(models.__file__).parent / "base", help="where the bundle goes")
    torch.set_num_threads(threads)
    return parser.parse_args()


def main() -> None:
    """Make one base model and say what it can do."""
    given = asked("base", __doc__, threads=THREADS, names=sorted(BASES))
    trained = train_base(BASES[given.name], given.work / given.name)
    out = write(given.name, trained, given.out / given.name)
    say(f"{out.name}: {read_bundle(out).metadata['performance']}, {trained.seconds:.0f} s")


if __name__ == "__main__":
    main()
