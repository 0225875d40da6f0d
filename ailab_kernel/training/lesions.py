"""The base model of lung lesions: ``python -m ailab_kernel.training.lesions`` makes it from phantoms, and judges it.

As with the other base models (`base`), everything that it depends on is here, a run that breaks off resumes, and no
image of a patient is used. It is judged on phantoms that were looked at once, after everything was chosen.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ailab_kernel.datasets.nodules import SCREENING, nodule_exam
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.ground.progress import say, track
from ailab_kernel.inference.predict import Predictor
from ailab_kernel.models import read_bundle, write_bundle
from ailab_kernel.recipes import FineTune, bundle_metadata, find
from ailab_kernel.validation.detection import (
    ScanFindings,
    case_auc,
    froc,
    lesion_counts,
    lesion_rows,
    sensitivity_bound,
)
from ailab_kernel.validation.scoring import RULE, scan_findings
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume

from .base import SEED, asked
from .loaders import Case, Sample, case_of, to_case
from .loop import Trained, run
from .plot import line

NAME = "lung-lesions"
THREADS = 1                                    # sums are split by thread: one count makes the same bytes
SIZES = ((100, 120, 120), (112, 128, 128), (92, 112, 112))
# Even seeds have lesions. Crops of theirs that hold none are examples without one, too, so fewer odd seeds are needed;
# and a Dice of phantoms without a lesion is best where nothing is ever found, so that none tunes.
TRAIN, TUNE = (*range(1000, 1080, 2), *range(1001, 1025, 2)), range(2000, 2016, 2)
HELD_OUT = range(9000, 9060)                   # nobody looked at these before the last run
PLAN = FineTune(epochs=10, steps=100, crop=(32, 32, 32), batch=6, rate=3e-3, warmup=40, patience=10)
# First what a lesion is; then, from those weights and with fewer lesions among the crops, what is none.
STAGES = ((TRAIN, PLAN), ((*range(1000, 1024, 2), *range(1001, 1025, 2)), replace(PLAN, epochs=6, rate=2e-3)))
SMALL_ML = 0.268                               # a ball of 8 mm
TEXTS = {
    "description": "Solid nodules on CT of the chest, each with a score, learnt from phantoms of many body forms.",
    "intended_use": "A start for fine-tuning a detector, and something to measure. Not a medical device.",
    "limits": "It has seen no patient. It knows solid lumps of 5 to 25 mm that lie wholly in the lung: none at the "
              "pleura, no ground glass, no spiculation. It was trained briefly and takes forks of vessels for "
              "lesions: tens of candidates a scan. Its scores rank findings; they are no calibrated probabilities.",
    "training_data": {"images": f"{len(TRAIN)} phantoms of style {SCREENING.name}, seeds {TRAIN[0]} to {max(TRAIN)}; "
                      f"{len(TUNE)} to choose the epoch by", "patients": "none"},
}  # fmt: skip


def lesion_study(seed: int) -> tuple[Volume, Mask]:
    """Return one phantom's volume and truth; of odd seeds no lesion is in it."""
    study = make(random_phantom(seed, style=SCREENING, size=SIZES[seed % len(SIZES)], exam=nodule_exam(seed)))
    return study.volume, study.truth


def lesion_case(seed: int, folder: Path) -> Case:
    """Return one phantom on the model grid, kept in ``folder`` for the next attempt."""
    path = folder / f"screening-{seed}.npz"
    if not path.is_file():
        case = to_case(find(NAME), Sample(str(seed), partial(lesion_study, seed)))
        draft = path.with_suffix(".part.npz")
        np.savez_compressed(draft, image=case.image.numpy(), truth=case.truth.numpy())
        draft.replace(path)
    with np.load(path) as kept:
        return case_of(f"screening-{seed}", kept["image"], kept["truth"])


def train(work: Path) -> Trained:
    """Train from nothing in the folder ``work``, stage by stage, or go on where it broke off."""
    (work / "cases").mkdir(parents=True, exist_ok=True)
    known = {seed: lesion_case(seed, work / "cases") for seed in track([*TRAIN, *TUNE], what="phantoms made")}
    done: list[Trained] = []
    for number, (seeds, plan) in enumerate(STAGES, 1):
        cases = [known[seed] for seed in seeds], [known[seed] for seed in TUNE]
        done.append(run(replace(find(NAME), fine_tune=plan), done[-1].state_dict if done else None, cases=cases,
                        folder=work / f"stage-{number}", seed=SEED + number - 1, on_epoch=line))  # fmt: skip
    return done[-1]


def judge(detector: Predictor, seeds: Sequence[int]) -> tuple[ScanFindings, ...]:
    """Return what a detector finds in phantoms, matched with what is there, on their own grids."""
    found = []
    for seed in track(list(seeds), what="held-out phantoms judged"):
        volume, truth = lesion_study(seed)
        found.append(replace(scan_findings(detector, volume, truth), case=str(seed), patient=str(seed)))
    return tuple(found)


def figures(scans: Sequence[ScanFindings]) -> dict[str, str]:
    """Return the figures of a detector in words, for its card."""
    curve, area = froc(scans), case_auc(scans)
    few = lesion_counts(scans, threshold=_threshold(scans, 1.0))
    bound = sensitivity_bound(scans, 1.0, seed=SEED)
    small = [row.found for row in lesion_rows(scans, threshold=_threshold(scans, 1.0)) if row.volume_ml < SMALL_ML]
    at = ", ".join(f"{value:.3f} at {rate:g}" for rate, value in zip(curve.rates, curve.at_rates, strict=True))
    ends = f"lower 97.5 % bound {bound.bound:.3f}" if bound.bound is not None else bound.refused
    return {
        f"sensitivity at false positives per scan, {curve.lesions} lesions in {curve.scans} phantoms": at,
        "mean of the seven": f"{curve.mean:.3f}",
        "at 1 false positive per scan": f"{few.hits} of {few.hits + few.misses} found, {few.false_positives} false; "
                                        f"{ends}; of those under 8 mm {sum(small)} of {len(small)}",
        "AUC of phantoms with against those without a lesion": f"{area.value:.3f} ({area.low:.3f} to {area.high:.3f}), "
                                                               f"{area.positives} + {area.negatives}",
    }  # fmt: skip


def _threshold(scans: Sequence[ScanFindings], rate: float) -> float:
    """The lowest score with no more false positives per scan."""
    curve = froc(scans)
    within = [one for one, per in zip(curve.thresholds, curve.false_positives_per_scan, strict=True) if per <= rate]
    return min(within, default=2.0)


def write(trained: Trained, out: Path) -> Path:
    """Write the bundle, judge it, and write it again with its figures on the card."""
    recipe = find(NAME)
    fixed: dict[str, Any] = {"name": NAME, "recipe": NAME, "network": recipe.network, "state_dict": trained.state_dict}
    metadata = {**bundle_metadata(recipe), **TEXTS, "made_with": {
        "command": "python -m ailab_kernel.training.lesions", "seed": SEED,
        "epochs": " + ".join(str(plan.epochs) for _, plan in STAGES), "steps an epoch": PLAN.steps,
        "best epoch of the last stage": trained.best_epoch}}  # fmt: skip
    write_bundle(out, **fixed, metadata=metadata)
    scans = judge(Predictor(read_bundle(out, name=NAME), engine="torch"), HELD_OUT)
    told = {**figures(scans), "judged on": f"phantoms {HELD_OUT.start} to {HELD_OUT.stop - 1}, match: {RULE}"}
    write_bundle(out, **fixed, metadata={**metadata, "performance": told})
    return out


def main() -> None:
    """Make the base model and say what it can do."""
    given = asked("lesions", __doc__, threads=THREADS)
    trained = train(given.work / NAME)
    out = write(trained, given.out / NAME)
    say(f"{out.name}: {read_bundle(out).metadata['performance']}, {trained.seconds:.0f} s")


if __name__ == "__main__":
    main()
