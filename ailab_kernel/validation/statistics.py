"""Intervals that take the patient as the unit: whoever has two studies counts once when we ask how sure we are."""

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
    sums, counts = _by_patient(values, patients)
    mean = float(sums.sum() / counts.sum())
    if len(sums) < 2 or np.ptp(sums / counts) == 0:
        return Interval(mean, mean, mean, len(values), len(sums))
    drawn = np.random.default_rng(seed).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    left_out = (sums.sum() - sums) / (counts.sum() - counts)
    low, high = np.quantile(means, _levels(means, left_out, mean, level))
    return Interval(mean, float(low), float(high), len(values), len(sums))


def _by_patient(values: Sequence[float], patients: Sequence[str] | range) -> tuple[np.ndarray, np.ndarray]:
    """Sum of values and number of cases, one entry a patient."""
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


def paired_p(differences: Sequence[float], patients: Sequence[str] = ()) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 when nothing differs.

    With ``patients``, one for each difference, a patient's differences are averaged first: the test takes its
    observations as independent, and two studies of one patient are not.
    """
    from scipy.stats import wilcoxon

    sums, counts = _by_patient(differences, patients if len(patients) else range(len(differences)))
    # 0.6 - 0.5 and 0.8 - 0.7 are the same difference; their last bits must not rank them.
    found = np.round(sums / counts, 9)
    return float(wilcoxon(found).pvalue) if np.any(found) else 1.0


def wilson(successes: int, total: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a proportion (JASA 1927)."""
    if not total:
        return 0.0, 1.0
    z, share = NormalDist().inv_cdf((1 + level) / 2), successes / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
