"""Means with an interval that takes the patient as the unit: whoever has two studies counts once."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

DRAWS = 4000
FEW = 10


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes
    ----------
    mean, low, high
        The mean and the ends of the interval.
    n, patients
        Cases, and patients they come from.
    """

    mean: float
    low: float
    high: float
    n: int
    patients: int

    @property
    def few(self) -> bool:
        """Whether there are too few patients for the interval to be relied on (under 10)."""
        return self.patients < FEW


def mean_interval(values: Sequence[float], patients: Sequence[str], *, seed: int, level: float = 0.95) -> Interval:
    """Return the mean over cases with a bias-corrected and accelerated bootstrap interval over patients.

    Patients are drawn with replacement, each with all of its cases (Efron, Better Bootstrap Confidence Intervals,
    JASA 1987). With fewer than two patients, or values that are all equal, the interval is the mean itself.

    Parameters
    ----------
    values
        One figure a case.
    patients
        The patient of each case.
    seed
        Of the draws.
    level
        Coverage wished for.
    """
    sums, counts = by_patient(values, patients)
    mean = float(sums.sum() / counts.sum())
    if len(sums) < 2 or np.ptp(sums / counts) == 0:
        return Interval(mean, mean, mean, len(values), len(sums))
    drawn = np.random.default_rng(seed).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    left_out = (sums.sum() - sums) / (counts.sum() - counts)
    low, high = np.quantile(means, _levels(means, left_out, mean, level))
    return Interval(mean, float(low), float(high), len(values), len(sums))


def by_patient(values: Sequence[float], patients: Sequence[str] | range) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of values and the number of cases, one entry a patient, each shape (patients,)."""
    _, group = np.unique(np.asarray(patients), return_inverse=True)
    return np.bincount(group, weights=np.asarray(values, float)), np.bincount(group).astype(float)


def _levels(means: np.ndarray, left_out: np.ndarray, mean: float, level: float) -> list[float]:
    """The two quantiles that BCa reads off instead of the percentile method's."""
    normal = NormalDist()
    below = (np.sum(means < mean) + np.sum(means == mean) / 2) / len(means)
    bias = normal.inv_cdf(min(max(below, 1 / len(means)), 1 - 1 / len(means)))
    spread = left_out.mean() - left_out
    power = float((spread**2).sum()) ** 1.5
    acceleration = float((spread**3).sum()) / (6 * power) if power else 0.0
    ends = [normal.inv_cdf((1 - level) / 2), normal.inv_cdf((1 + level) / 2)]
    return [normal.cdf(bias + (bias + end) / (1 - acceleration * (bias + end))) for end in ends]
