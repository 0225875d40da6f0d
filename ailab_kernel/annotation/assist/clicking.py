"""A scripted reader who clicks in the middle of the largest mistake until the mask is good: it knows the truth.

As with the simulated reader, its figures say something about the machine, nothing about people.
"""

from dataclasses import dataclass

import numpy as np

from ailab_kernel.recipes.guidance import mistakes
from ailab_kernel.validation.metrics import dice
from ailab_kernel.volumes.volume import Volume

from .refine import Hint, Refiner

GOAL, MOST = 0.95, 20


@dataclass(frozen=True, eq=False)
class Clicked:
    """What came of clicking on one label.

    Attributes
    ----------
    array
        The mask at the end, uint8, shape (slices, rows, columns).
    hints
        The clicks.
    dice
        Dice of the label before any click and after each.
    """

    array: np.ndarray
    hints: tuple[Hint, ...]
    dice: tuple[float, ...]

    @property
    def done(self) -> bool:
        """Whether the goal was reached."""
        return self.dice[-1] >= GOAL


def click(refiner: Refiner, vol: Volume, masks: tuple[np.ndarray, np.ndarray], *, label: int) -> Clicked:
    """Click until a label's Dice is ``GOAL``, at most ``MOST`` times.

    Parameters
    ----------
    refiner
        What answers to clicks.
    vol
        The image.
    masks
        The mask to begin with and the truth, uint8, shape (slices, rows, columns).
    label
        Which one.
    """
    array, truth = masks
    hints: list[Hint] = []
    scores = [dice(array == label, truth == label)]
    while scores[-1] < GOAL and len(hints) < MOST:
        # What another label holds cannot be won by a click on this one.
        wanted = (truth == label) & ((array == label) | (array == 0))
        found = mistakes((array == label).astype(np.uint8), wanted.astype(np.uint8), spacing_mm=vol.spacing_mm)
        if not found:
            break
        place, inside = found[0]
        hints.append(Hint(place, label if inside else 0))
        array = refiner.refine(vol, array, hints, label=label)
        scores.append(dice(array == label, truth == label))
    return Clicked(array, tuple(hints), tuple(scores))
