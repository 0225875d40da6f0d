"""How much a click is worth: ``python -m benchmarks.assist [phantoms [first [pixels]]]``.

A scripted reader starts from ``heart-wall@general``'s proposals on phantoms of the general hospital, which neither
that model nor the one that follows clicks has seen, and clicks in the middle of the largest mistake, structure by
structure, until its Dice is 0.95, at most 20 times. ``first`` counts from seed 700,000: phantoms that nobody has looked
at; ``pixels`` 512 makes them as large as a CT is. Beside it: the strokes of drawing every fourth slice and
interpolating between them (one a piece and slice; the hole in a ring is free), and what that scores. Then the seconds
of a click on 512×512×200 and of 100 studies of 512×512×100: of the answers to the clicks, and with the scripted
reader's own look for the largest mistake. The load of the machine is printed: figures of a busy machine are no figures.
"""

import os
import sys
import time
from functools import partial

import numpy as np
from scipy import ndimage

from ailab_kernel.annotation.assist import Hint, fallback
from ailab_kernel.annotation.assist.clicking import GOAL, MOST, Clicked, click
from ailab_kernel.annotation.assist.model import ModelRefiner
from ailab_kernel.annotation.drawing.shapes import interpolated
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.ground.errors import NotFound
from ailab_kernel.inference.guided import GuidedPredictor
from ailab_kernel.inference.predict import Predictor
from ailab_kernel.models import base_bundle
from ailab_kernel.recipes import find, truth_on_grid

FIRST_SEED, STYLE, START = 700_000, "general-hospital", 0.85
SIZES = ((100, 160, 160), (80, 128, 128), (60, 128, 128))
FULL, BIG = (100, 512, 512), (200, 512, 512)
RECIPE = find("heart-wall")
# From the inside: what the cavity gives back, the wall can take.
LABELS = tuple(reversed(RECIPE.labels))


def phantom(number, size=None):
    """Volume and truth, the recipe's values on the volume's grid."""
    study = make(random_phantom(FIRST_SEED + number, style=STYLE, size=size or SIZES[number % len(SIZES)]))
    return study.volume, truth_on_grid(RECIPE, study.truth, study.volume.grid)


def refiners():
    """Those that there are, by name."""
    try:
        model = ModelRefiner("heart-wall-clicks@general", GuidedPredictor(base_bundle("heart-wall-clicks")))
    except NotFound:
        return [fallback()]
    return [model, fallback()]


def read(refiner, vol, proposal, truth):
    """Click on every label in turn; Clicked by label name."""
    array, found = proposal, {}
    for label in LABELS:
        found[label.name] = click(refiner, vol, (array, truth), label=label.index)
        array = found[label.name].array
    return found


def drawn(region, grid):
    """Strokes of drawing every fourth slice, and the Dice of what is interpolated between them."""
    slices = np.flatnonzero(region.any(axis=(1, 2)))
    keyed = sorted({*slices[::4].tolist(), int(slices[-1])})
    marked = np.zeros_like(region)
    marked[keyed] = region[keyed]
    strokes = sum(ndimage.label(region[number])[1] for number in keyed)
    between = interpolated(marked, grid, axis=0)
    return strokes, 2 * (between & region).sum() / (between.sum() + region.sum())


def shown(name, rows):
    """One line of the table: rows of (Clicked, strokes, Dice by drawing)."""
    counts = [len(one.hints) if one.done else MOST for one, _, _ in rows]
    failed = sum(not one.done for one, _, _ in rows)
    strokes, by_hand = (np.mean([row[n] for row in rows]) for n in (1, 2))
    dices = [np.mean([one.dice[min(n, len(one.dice) - 1)] for one, _, _ in rows]) for n in (0, 1, 3, MOST)]
    way = " → ".join(f"{dice:.3f}" for dice in dices)
    return (f"| {name} | {len(rows)} | {way} | {np.mean(counts):.1f} | {max(counts)} | {failed} "
            f"| {strokes:.1f} ({by_hand:.3f}) | {np.mean(counts) / strokes:.2f} |")


def clicks(proposer, numbers, size):
    """The table of clicks."""
    rows: dict[str, list[tuple[Clicked, int, float]]] = {}
    for number in numbers:
        vol, truth = phantom(number, size)
        proposal = proposer.predict(vol).array
        for refiner in refiners()[:1 if size or numbers.start else 2]:
            for name, one in read(refiner, vol, proposal, truth).items():
                index = next(label.index for label in LABELS if label.name == name)
                below = "below" if one.dice[0] < START else "from"
                row = (one, *drawn(truth == index, vol.grid))
                rows.setdefault(f"{refiner.name}, {name} {below} {START}", []).append(row)
                if one.dice[0] < START:
                    rows.setdefault(f"{refiner.name}, all below {START}", []).append(row)
    print(f"| what | n | Dice before, after 1, 3, {MOST} clicks | clicks to {GOAL} | most | failed "
          "| strokes by hand (Dice) | share |")
    print("|---|---|---|---|---|---|---|---|")
    print(*(shown(name, rows[name]) for name in sorted(rows)), sep="\n")


def timed(func):
    """Seconds, and what came of it."""
    begin = time.perf_counter()
    found = func()
    return time.perf_counter() - begin, found


class Timed:
    """A refiner with a clock."""

    def __init__(self, refiner):
        self.name, self._refiner, self.seconds = refiner.name, refiner, 0.0

    def refine(self, *given, **more):
        took, found = timed(partial(self._refiner.refine, *given, **more))
        self.seconds += took
        return found


def seconds(proposer, studies=4):
    """A click on a large volume; a hundred studies."""
    vol, truth = phantom(0, BIG)
    mask = proposer.predict(vol).array
    middle = tuple(float(axis.mean()) for axis in np.nonzero(truth == 1))
    for refiner in refiners():
        took = [timed(partial(refiner.refine, vol, mask, [Hint(middle, 1)], label=1))[0] for _ in range(3)]
        print(f"{refiner.name}: first click on 512×512×200 {took[0]:.2f} s, the next ones {max(took[1:]):.2f} s")
    proposing, clicking, count, refiner = [], [], 0, Timed(refiners()[0])
    for number in range(studies):
        vol, truth = phantom(number, FULL)
        took, mask = timed(partial(proposer.predict, vol))
        proposing.append(took)
        took, found = timed(partial(read, refiner, vol, mask.array, truth))
        clicking.append(took)
        count += sum(len(one.hints) for one in found.values())
    print(f"100 studies of 512×512×100, from {studies}: proposals {100 * np.mean(proposing) / 60:.1f} min, "
          f"answers to {count / studies:.1f} clicks a study {100 * refiner.seconds / studies / 60:.1f} min "
          f"(with the scripted reader's look at 512×512×100 voxels {100 * np.mean(clicking) / 60:.1f} min)")


def main(count=12, first=0, pixels=0):
    """Measure and print."""
    proposer = Predictor(base_bundle("heart-wall"))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, engine {proposer.engine}")
    clicks(proposer, range(first, first + count), (FULL[0], pixels, pixels) if pixels else None)
    if not first:
        seconds(proposer)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
