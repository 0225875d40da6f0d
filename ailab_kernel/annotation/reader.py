"""A simulated reader: corrects a proposal as a careful person would, and says that it is simulated.

It knows the truth (a phantom's SEG). It goes through the slices, leaves a slice that is good enough, and redraws one
that is not. Times and scores of it say something about the plumbing, nothing about people.
"""

import numpy as np

from ailab_kernel.volumes.masks import Mask

from .reading.rules import SIMULATED

NAME = SIMULATED
GOOD_ENOUGH = 0.95


def correct(proposal: Mask, truth: Mask, *, good_enough: float = GOOD_ENOUGH) -> Mask:
    """Redraw every slice in which some label's Dice is below ``good_enough``; leave the others as proposed.

    Both masks lie on the same grid; arrays have shape (slices, rows, columns).
    """
    fixed = proposal.array.copy()
    for number in range(len(fixed)):
        if any(_dice(fixed[number] == label.index, truth.array[number] == label.index) < good_enough
               for label in truth.labels):  # fmt: skip
            fixed[number] = truth.array[number]
    return Mask(fixed, proposal.grid, truth.labels)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2.0 * int((one & other).sum()) / total if total else 1.0
