"""Two models on the same patients: tests of a difference, a margin that was declared, and many tests at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .means import by_patient, mean_interval


def paired_p(differences: Sequence[float], patients: Sequence[str] = ()) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 when nothing differs.

    With ``patients``, one for each difference, a patient's differences are averaged first: the test takes its
    observations as independent, and two studies of one patient are not.
    """
    from scipy.stats import wilcoxon

    sums, counts = by_patient(differences, patients if len(patients) else range(len(differences)))
    # 0.6 - 0.5 and 0.8 - 0.7 are the same difference; their last bits must not rank them.
    found = np.round(sums / counts, 9)
    return float(wilcoxon(found).pvalue) if np.any(found) else 1.0


def mcnemar_p(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided exact p of McNemar's test: whether two models are right on different numbers of the same cases.

    Parameters
    ----------
    first, second
        Whether each model was right, one a patient in the same order (Psychometrika 1947; exact, by the binomial).
    """
    from scipy.stats import binomtest

    one, other = np.asarray(first, bool), np.asarray(second, bool)
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    discordant = only_one + only_other
    return float(binomtest(only_one, discordant).pvalue) if discordant else 1.0


@dataclass(frozen=True)
class NonInferiority:
    """Whether a model is not worse than another by more than a margin.

    Attributes
    ----------
    difference, lower
        Mean gain, and the lower end of its one-sided interval.
    margin
        How much worse is still allowed; declared before the cases were looked at.
    """

    difference: float
    lower: float
    margin: float

    @property
    def shown(self) -> bool:
        """Whether it is shown: the lower end is above minus the margin."""
        return self.lower > -self.margin


def non_inferiority(
    gains: Sequence[float], patients: Sequence[str], *, margin: float, seed: int, level: float = 0.975
) -> NonInferiority:
    """Judge gains (higher is better) against a margin, by the patient-level BCa interval.

    Parameters
    ----------
    gains
        Second model minus first, one a case.
    patients
        The patient of each case.
    margin
        Positive; in the units of the gains.
    seed
        Of the draws.
    level
        One-sided.
    """
    found = mean_interval(gains, patients, seed=seed, level=2 * level - 1)
    return NonInferiority(found.mean, found.low, margin)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p values adjusted for being many (Holm, Scandinavian Journal of Statistics 1979), by the same names."""
    adjusted, largest = dict[str, float](), 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
