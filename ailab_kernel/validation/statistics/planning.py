"""How many patients a study needs: what methods need to keep their word, and hints for a plan, which are no promise."""

from collections.abc import Mapping
from math import ceil
from statistics import NormalDist
from types import MappingProxyType

from .proportions import proportion

_MOST = 100_000
# Fewest patients (of each class, for areas) from which a method was right as often as it says, in simulated studies
# (tests/validation/test_coverage.py, docs/validation.md). Exact methods need none.
MINIMUM: Mapping[str, int] = MappingProxyType(
    {"mean": 50, "mean gate": 20, "share": 75, "share gate": 1, "auc": 30, "auc difference": 50, "auc gate": 30,
     "froc gate": 30, "brier gate": 50, "ece gate": 50}
)


def patients_for_mean(deviation: float, *, width: float, level: float = 0.95) -> int:
    """Return how many patients make a mean's interval as narrow as ``width`` (end to end).

    Parameters
    ----------
    deviation
        Standard deviation between patients, in the same units.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    return max(2, ceil((2 * z * deviation / width) ** 2))


def patients_for_threshold(distance: float, deviation: float, *, level: float = 0.975) -> int | None:
    """Return how many patients let a mean pass a gate from which it lies ``distance`` away, on the good side.

    None where no number does. Never fewer than a gate on a mean takes.
    """
    if distance <= 0:
        return None
    needed = ceil((NormalDist().inv_cdf(level) * deviation / distance) ** 2)
    return min(max(MINIMUM["mean gate"], needed), _MOST)


def patients_for_share(expected: float, *, at_least: float, level: float = 0.95) -> int | None:
    """Return how many patients let an expected share pass a gate: the exact interval's lower end reaches ``at_least``.

    None where no number does, because no more is expected than is asked for.
    """
    if expected <= at_least:
        return None
    low, high = 1, _MOST
    while low < high:                          # the end rises with the number, but for the steps of whole patients
        middle = (low + high) // 2
        if _reaches(middle, expected, at_least, level):
            high = middle
        else:
            low = middle + 1
    return next(number for number in range(low, _MOST)
                if all(_reaches(more, expected, at_least, level) for more in range(number, number + 20)))  # fmt: skip


def _reaches(number: int, expected: float, at_least: float, level: float) -> bool:
    return proportion(int(expected * number), number, level=level).exact_low >= at_least
