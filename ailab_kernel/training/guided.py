"""Click training: a base model learns to follow a reader's clicks; ``python -m ailab_kernel.training.guided``.

The reader is simulated (`recipes.guidance.mistakes`): from none to some clicks, each in the middle of a large mistake,
first of the base model's proposal, then of the network's own answer. Phantoms of many sites, no patient. As with the
base models (`base`), a run that breaks off resumes, and processors of one kind make the same weights again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ailab_kernel.datasets.phantoms import STYLES, make, random_phantom
from ailab_kernel.datasets.styles import Style
from ailab_kernel.ground.progress import say, track
from ailab_kernel.inference.predict import Predictor
from ailab_kernel.models import base_bundle, read_bundle, write_bundle
from ailab_kernel.recipes import Augment, FineTune, Recipe, bundle_metadata, find, prepare, truth_on_grid
from ailab_kernel.recipes.guidance import ROI, Click, guided, merge, mistakes, see
from ailab_kernel.validation.metrics import dice
from ailab_kernel.volumes.resample import to_grid
from ailab_kernel.work.processes import each

from .augment import look
from .base import SEED, asked
from .loaders import Case, case_of
from .loop import Lesson, Trained, run
from .plot import line
from .runs import Row
from .transfer import start

Wanted = Sequence[tuple[Style, range]]
BASE, NAME = "heart-wall", "heart-wall-clicks"
# Contrast CT of many sites beside the one site that it is mostly about.
SITES = replace(STYLES["mixed"], name="contrast", phases=(("venous", 0.6), ("angiography", 0.4)), coverage=("chest",),
                slice_mm=(1, 6), ranges={"wall_mm": (8, 15), "noise_hu": (6, 30), "heart_left": (0.5, 0.78),
                                         "heart_down": (-0.66, -0.3), "fat_mm": (4, 40)})  # fmt: skip
HOSPITAL = STYLES["general-hospital"]
HELD_OUT = range(8000, 8012)                   # nobody looked at these before the last run
# Pixels of some 2 mm, as the model grid has: what is right to a coarse voxel stops short of what a reader accepts.
SIZES = ((100, 192, 192), (120, 176, 176), (72, 208, 208))


@dataclass(frozen=True)
class Stage:
    """Phantoms and a schedule; a stage goes on from the weights of the one before.

    Attributes
    ----------
    learn, tune
        Seeds by style: to learn from, beside those of the stages before, and to choose the epoch by.
    sizes
        Of the new phantoms: (slices, rows, columns), in turn.
    plan
        Steps and rate.
    alone
        The phantoms of the stages before are left aside.
    """

    learn: Wanted
    tune: Wanted
    sizes: Sequence[tuple[int, int, int]]
    plan: FineTune
    alone: bool = False


# First to follow clicks at all; then to be right to half a voxel: more phantoms, and noise of every fineness. Pixels of
# 3 mm come last: without them a wall's outer border was set too far out there, whatever was clicked.
STAGES = (
    Stage(((HOSPITAL, range(5000, 5096)), (SITES, range(5000, 5048))), ((HOSPITAL, range(6000, 6006)),), SIZES,
          FineTune(epochs=28, steps=170, crop=ROI, rate=2e-3, warmup=60, patience=28)),
    Stage(((HOSPITAL, range(5100, 5340)), (SITES, range(5100, 5160))), ((HOSPITAL, range(6100, 6112)),),
          (*SIZES, (100, 160, 160), (100, 320, 320)),
          FineTune(epochs=20, steps=170, crop=ROI, rate=1e-3, warmup=60, patience=20)),
    Stage(((HOSPITAL, range(5400, 5448)),), ((HOSPITAL, range(6200, 6208)),), ((100, 448, 448), (120, 384, 384)),
          FineTune(epochs=17, steps=170, crop=ROI, rate=1e-3, warmup=60, patience=17)),
    Stage(((HOSPITAL, range(5500, 5840)), (SITES, range(5500, 5540))), ((HOSPITAL, range(6300, 6327)),),
          ((100, 160, 160), (80, 128, 128), (60, 128, 128), (120, 176, 176), (100, 320, 320), (80, 144, 144),
           (60, 112, 112), (100, 384, 384), (72, 208, 208)),
          FineTune(epochs=40, steps=170, crop=ROI, rate=1e-3, warmup=60, patience=40), alone=True),
)  # fmt: skip
# Sums are split by thread; of such small windows a second thread takes more than it gives.
THREADS = 1
AUGMENT = Augment(turn_deg=10, scale=0.1, shift_mm=12, bend_mm=4, gain=0.1, offset=0.04, gamma=0.3, noise=0.03,
                  blur=0.1)
MOST_CLICKS = 6
TEXTS = {
    "description": "Heart wall and cavity on contrast CT, refined by a reader's clicks from a mask that exists.",
    "intended_use": "Help with annotation of chest CT: a person clicks, looks and accepts. Not a medical device.",
    "limits": "It has seen phantoms only, with contrast medium only, most of them of the general hospital: that site "
              "is not new to it. Some walls stop just below Dice 0.95 however often is clicked: docs/performance.md. "
              "It looks at 19 cm around the mask and the click.",
}  # fmt: skip
_ROUNDS = (0, 1, 3)


def phantom_case(seed: int, *, style: Style, sizes: Sequence[tuple[int, int, int]], folder: Path) -> Case:
    """Return one phantom on the model grid, kept in ``folder``; its labels hold proposal * channels + truth."""
    path = folder / f"{style.name}-{seed}.npz"
    if not path.is_file():
        study = make(random_phantom(seed, style=style, size=sizes[seed % len(sizes)]))
        recipe = guided(find(BASE))
        image, grid = prepare(recipe, study.volume)
        said = to_grid(_proposer().predict(study.volume).array, study.volume.grid, grid, mode="nearest")
        code = said * recipe.channels + truth_on_grid(recipe, study.truth, grid)
        draft = path.with_suffix(".part.npz")
        np.savez_compressed(draft, image=image.astype(np.float16), code=code.astype(np.uint8))
        draft.replace(path)
    with np.load(path) as kept:
        return case_of(f"{style.name}-{seed}", kept["image"], kept["code"])


def phantom_cases(wanted: Wanted, folder: Path, *, sizes: Sequence[tuple[int, int, int]] = SIZES) -> list[Case]:
    """Return the phantoms of some styles and seeds, made by one process a core."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for style, seeds in wanted:
        missing = [seed for seed in seeds if not (folder / f"{style.name}-{seed}.npz").is_file()]
        one = partial(phantom_case, style=style, sizes=sizes, folder=folder)
        for _ in track(each(one, missing), what=f"{style.name} phantoms made and proposed on", total=len(missing)):
            pass
        cases += [one(seed) for seed in seeds]
    return cases


@cache
def _proposer() -> Predictor:
    return Predictor(base_bundle(BASE))


def show(
    recipe: Recipe, network: nn.Module, cases: Sequence[Case], *, chance: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one crop with its mask and clicks, and its truth; see `Lesson.show`."""
    random = np.random.default_rng(chance)
    case = cases[int(random.integers(len(cases)))]
    image, code = look(case.image, case.truth, centre=np.median(case.places, axis=0), recipe=recipe, random=random)
    proposal, truth = np.divmod(code[0].numpy(), recipe.channels)
    mask = proposal if random.random() < 0.85 else np.zeros_like(proposal)
    seen = read(recipe, network, (image[0].numpy(), mask, truth), random=random)
    return seen, torch.from_numpy(truth)[None, None]


def read(
    recipe: Recipe, network: nn.Module, study: tuple[np.ndarray, np.ndarray, np.ndarray], *, random: np.random.Generator
) -> torch.Tensor:
    """Return what the network sees after a simulated reader has clicked so often as chance has it.

    Parameters
    ----------
    recipe, network
        As far as it is trained: the reader answers to its answer.
    study
        Image, mask and truth, shape (slices, rows, columns).
    random
        Chance.
    """
    image, mask, truth = study
    count = int(random.integers(MOST_CLICKS + 1))
    first = int(random.integers(min(count, 1), count + 1))
    clicks = _clicks(recipe, mask, truth, count=first, random=random)
    if clicks:
        said = answer(network, see(image, mask, clicks, recipe=recipe))
        # Labels are refined one at a time: at times one of them still stands as it was proposed.
        label = int(random.integers(recipe.channels))
        mask = merge(mask, said, label) if label else said
        clicks += _clicks(recipe, mask, truth, count=count - first, random=random)
    return _tensor(see(image, mask, clicks, recipe=recipe))


def _clicks(
    recipe: Recipe, mask: np.ndarray, truth: np.ndarray, *, count: int, random: np.random.Generator
) -> list[Click]:
    """Clicks on the largest mistakes; where a label is too much, half of them say only that it is not there."""
    found = mistakes(mask, truth, spacing_mm=recipe.spacing_mm, count=count) if count else []
    return [(place, 0 if mask[tuple(map(int, place))] and random.random() < 0.5 else label) for place, label in found]


def answer(network: nn.Module, seen: np.ndarray) -> np.ndarray:
    """Return the labels that the network finds, shape (slices, rows, columns)."""
    with torch.no_grad():
        return network(_tensor(seen))[0].contiguous().argmax(0).numpy()


def _tensor(seen: np.ndarray) -> torch.Tensor:
    # Channels last: convolutions take a sixth of the time on a CPU.
    return torch.from_numpy(seen)[None].contiguous(memory_format=torch.channels_last_3d)


def judge(recipe: Recipe, network: nn.Module, cases: Sequence[Case]) -> Row:
    """Return the mean Dice after none, one and three clicks on cases, and of it all; see `Lesson.judge`."""
    network.eval()
    rows = [_judged(recipe, network, case) for case in cases]
    scores = {f"dice {clicks} clicks": float(np.mean([row[n] for row in rows])) for n, clicks in enumerate(_ROUNDS)}
    return {"dice": float(np.mean(rows)), **scores}


def _judged(recipe: Recipe, network: nn.Module, case: Case) -> list[list[float]]:
    """Dice by label after each of ``_ROUNDS``."""
    first = np.maximum(np.median(case.places, axis=0) - np.array(ROI) / 2, 0).astype(int)
    box = tuple(slice(start, start + n) for start, n in zip(first, ROI, strict=True))
    image, code = case.image[box].float().numpy(), case.truth[box].numpy()
    pad = [(0, n - have) for n, have in zip(ROI, image.shape, strict=True)]
    image, (mask, truth) = np.pad(image, pad), np.divmod(np.pad(code, pad), recipe.channels)
    clicks: list[Click] = []
    scores: list[list[float]] = []
    for count in range(max(_ROUNDS) + 1):
        clicks += mistakes(mask, truth, spacing_mm=recipe.spacing_mm) if count else []
        mask = answer(network, see(image, mask, clicks, recipe=recipe))
        if count in _ROUNDS:
            scores.append([dice(mask == label.index, truth == label.index) for label in recipe.labels])
    return scores


def train(folder: Path) -> tuple[Trained, ...]:
    """Train in the folder stage by stage, or go on where it broke off; what each stage gave, the last one the model."""
    learn, done = list[Case](), list[Trained]()
    weights = grown(guided(find(BASE)))
    for number, stage in enumerate(STAGES, 1):
        recipe = replace(guided(find(BASE)), fine_tune=stage.plan, augment=AUGMENT)
        learn = [] if stage.alone else learn
        learn += phantom_cases(stage.learn, folder / "cases", sizes=stage.sizes)
        tune = phantom_cases(stage.tune, folder / "cases", sizes=stage.sizes)
        done.append(run(recipe, weights, cases=(list(learn), tune), folder=folder / f"run-{number}", seed=SEED,
                        on_epoch=line, lesson=Lesson(show, judge)))  # fmt: skip
        weights = done[-1].state_dict
    return tuple(done)


def grown(recipe: Recipe) -> dict[str, torch.Tensor]:
    """Return the base's weights for the guided network; its first layer is blind to mask and clicks at first."""
    more = recipe.network["in_channels"] - 1
    weights = base_bundle(BASE).weights()
    first = next(name for name, value in weights.items() if value.ndim == 5 and value.shape[1] == 1)
    return {**weights, first: functional.pad(weights[first], (0, 0, 0, 0, 0, 0, 0, more))}


def write(stages: Sequence[Trained], out: Path, *, cases: Path) -> Path:
    """Judge the network on phantoms that it has not seen and write the bundle."""
    recipe, trained = guided(find(BASE)), stages[-1]
    network = start(recipe, trained.state_dict, seed=SEED)
    performance = {}
    for style in (HOSPITAL, SITES):
        row = judge(recipe, network, phantom_cases([(style, HELD_OUT)], cases))
        about = f"Mean Dice on the model grid, {style.name} phantoms {HELD_OUT.start} to {HELD_OUT.stop - 1}"
        performance[about] = ", ".join(f"{row[f'dice {n} clicks']:.3f} after {n} clicks" for n in _ROUNDS)
    epochs = [len(one.curve) for one in stages]
    metadata = {**_metadata(recipe), **TEXTS, "performance": performance, "training_data": {
        "images": ", ".join(f"{len(seeds)} phantoms of style {style.name}, seeds {seeds.start} to {seeds.stop - 1}"
                            for stage in STAGES for style, seeds in stage.learn)
        + f"; {sum(len(seeds) for stage in STAGES for _, seeds in stage.tune)} more to choose the epochs by",
        "patients": "none"},
        "made_with": {"command": "python -m ailab_kernel.training.guided", "base": f"{BASE}@general", "seed": SEED,
                      "epochs": epochs, "best epochs": [one.best_epoch for one in stages], "steps": sum(
                          count * stage.plan.steps for count, stage in zip(epochs, STAGES, strict=True))}}  # fmt: skip
    return write_bundle(out, name=NAME, recipe=recipe.name, network=recipe.network, metadata=metadata,
                        state_dict=trained.state_dict)  # fmt: skip


def _metadata(recipe: Recipe) -> dict[str, Any]:
    told = bundle_metadata(recipe)
    labels = [label.name for label in recipe.labels]
    named = ["image", *(f"mask of {name}" for name in labels), "clicks on background",
             *(f"clicks on {name}" for name in labels)]  # fmt: skip
    told["network_data_format"]["inputs"]["image"] |= {
        "num_channels": len(named), "channel_def": {str(n): name for n, name in enumerate(named)},
    }  # fmt: skip
    return told


def main() -> None:
    """Train the model that follows clicks, and say what it can do."""
    given = asked("guided", __doc__, threads=THREADS)
    stages = train(given.work / NAME)
    out = write(stages, given.out / NAME, cases=given.work / NAME / "cases")
    say(f"{out.name}: {read_bundle(out).metadata['performance']}, {sum(one.seconds for one in stages):.0f} s")


if __name__ == "__main__":
    main()
