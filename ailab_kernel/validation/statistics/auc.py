"""Area under the ROC curve with DeLong's variance, of one model and of two on the same cases.

DeLong, DeLong and Clarke-Pearson, Biometrics 1988, by ranks as in Sun and Xu, IEEE Signal Processing Letters 2014. One
score a patient: several would make the variance too small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ailab_kernel.ground.errors import WrongUse

from .bounds import STRICTER, Bound
from .planning import MINIMUM

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Auc:
    """An area with its interval.

    Attributes
    ----------
    value, low, high
        The area and the ends of its interval, which is made on the logit scale (Pepe 2003, 5.2.5): near 1 it stays
        below 1. Where the classes are told apart without an error there is no variance, and the lower end is that of
        the smaller class's exact proportion.
    error
        DeLong's standard error.
    positives, negatives
        Patients with and without the finding.
    """

    value: float
    low: float
    high: float
    error: float
    positives: int
    negatives: int


@dataclass(frozen=True)
class AucDifference:
    """The difference of two areas on the same cases, second minus first, with its interval and two-sided p."""

    value: float
    low: float
    high: float
    p: float


def auc(scores: Sequence[float], truth: Sequence[bool], *, level: float = 0.95) -> Auc:
    """Return the area under the ROC curve.

    Parameters
    ----------
    scores
        One a patient, the higher the more likely the finding.
    truth
        Whether each has it.
    level
        Coverage wished for.

    Raises
    ------
    WrongUse
        Lengths differ, a score is no number, or one class is empty.
    """
    (value,), covariance, (positives, negatives) = _delong([scores], truth)
    error = float(np.sqrt(covariance[0, 0]))
    low, high = _logit_interval(value, error, level) if 0 < value < 1 and error else _degenerate(
        value, min(positives, negatives), level)  # fmt: skip
    return Auc(value, low, high, error, positives, negatives)


def auc_bound(scores: Sequence[float], truth: Sequence[bool], *, level: float = 0.975) -> Bound:
    """Return an area with the one-sided lower bound that a gate goes by; refused below 30 patients of either class.

    The lower of DeLong's and of Newcombe's (Statistics in Medicine 2006, method 5), which takes the variance of the
    area that is asked for and not of the one that was found: near 1, and with classes of unequal size or spread,
    either alone lets through more than it says. Both a little farther out in small studies, as the bound of a mean is.

    Parameters
    ----------
    scores, truth
        As for `auc`.
    level
        One-sided coverage wished for.
    """
    found, least = auc(scores, truth), MINIMUM["auc gate"]
    smaller, patients = min(found.positives, found.negatives), found.positives + found.negatives
    if smaller < least:
        told = f"{found.positives} patients with and {found.negatives} without the finding, {least} of each are needed"
        return Bound(found.value, None, patients, told)
    tail = (1 - level) * (1 - STRICTER / smaller)
    low = auc(scores, truth, level=1 - 2 * tail).low
    return Bound(found.value, min(low, _newcombe(found, -_NORMAL.inv_cdf(tail))), patients)


def _newcombe(found: Auc, z: float) -> float:
    """The area from which the one that was found is ``z`` standard errors away; by halving, to six places and more."""
    low, high, more = 0.0, found.value, (found.positives + found.negatives) / 2 - 1
    for _ in range(30):
        area = (low + high) / 2
        variance = area * (1 - area) * (1 + more * ((1 - area) / (2 - area) + area / (1 + area)))
        error = (variance / (found.positives * found.negatives)) ** 0.5
        low, high = (area, high) if found.value - area > z * error else (low, area)
    return low


def compare_auc(
    first: Sequence[float], second: Sequence[float], truth: Sequence[bool], *, level: float = 0.95
) -> AucDifference:
    """Return the difference of two models' areas on the same patients.

    Parameters
    ----------
    first, second
        Scores of each model, one a patient in the same order.
    truth
        Whether each patient has the finding.
    level
        Coverage wished for.
    """
    (one, other), covariance, _ = _delong([first, second], truth)
    difference, variance = other - one, float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= 0:
        return AucDifference(difference, difference, difference, float(difference == 0))
    error = float(np.sqrt(variance))
    half = _NORMAL.inv_cdf((1 + level) / 2) * error
    return AucDifference(difference, difference - half, difference + half,
                         2 * (1 - _NORMAL.cdf(abs(difference) / error)))  # fmt: skip


def _delong(
    models: Sequence[Sequence[float]], truth: Sequence[bool]
) -> tuple[list[float], np.ndarray, tuple[int, int]]:
    """Areas, their covariance of shape (models, models), and the sizes of the classes."""
    values, found = np.asarray(models, float), np.asarray(truth, bool)
    if values.shape[1:] != found.shape or not np.isfinite(values).all():
        msg = f"{values.shape[-1]} scores for {found.size} cases: one number a case is expected"
        raise WrongUse(msg)
    positives, negatives = int(found.sum()), int((~found).sum())
    if not positives or not negatives:
        msg = f"{positives} cases with the finding and {negatives} without it: an area needs both"
        raise WrongUse(msg)
    # Placement values: of each case, the share of the other class that it is on the right side of.
    ours = np.stack([_placements(one[found], one[~found]) for one in values])
    theirs = np.stack([_placements(-one[~found], -one[found]) for one in values])
    covariance = _covariance(ours) / positives + _covariance(theirs) / negatives
    return [float(mean) for mean in ours.mean(axis=1)], covariance, (positives, negatives)


def _placements(mine: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of mine the share of the others that is smaller, ties half; shape (mine,)."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, mine, "left") + np.searchsorted(ordered, mine, "right")
    return below / (2 * len(others))


def _covariance(placements: np.ndarray) -> np.ndarray:
    if placements.shape[1] < 2:
        return np.zeros((len(placements), len(placements)))
    return np.atleast_2d(np.cov(placements))


def _logit_interval(value: float, error: float, level: float) -> tuple[float, float]:
    middle, half = np.log(value / (1 - value)), _NORMAL.inv_cdf((1 + level) / 2) * error / (value * (1 - value))
    low, high = (1 / (1 + np.exp(-(middle + sign * half))) for sign in (-1, 1))
    return float(low), float(high)


def _degenerate(value: float, smaller: int, level: float) -> tuple[float, float]:
    """Interval where the variance is 0: as wide as that of a share of the smaller class that had no exception."""
    from .proportions import proportion

    found = proportion(smaller if value >= 0.5 else 0, smaller, level=level)
    return found.exact_low, found.exact_high
