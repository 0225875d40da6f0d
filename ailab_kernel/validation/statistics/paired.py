"""Two models on the same patients: tests of a difference, a margin that was declared, and many tests at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .bounds import mean_bound
from .means import by_patient
from .planning import MINIMUM


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


def rank_sum_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's rank-sum test (Mann-Whitney) of two groups of patients; 1 when all values are equal.

    Parameters
    ----------
    first, second
        One figure a patient; no patient stands in both.
    """
    from scipy.stats import mannwhitneyu

    if not len(first) or not len(second) or np.ptp([*first, *second]) == 0:
        return 1.0
    return float(mannwhitneyu(first, second).pvalue)


@dataclass(frozen=True)
class NonInferiority:
    """Whether a model is not worse than another by more than a margin.

    Attributes
    ----------
    difference, lower
        Mean gain, and the lower end of its one-sided interval; None where there is none to rely on.
    margin
        How much worse is still allowed; declared before the cases were looked at.
    refused
        Why there is no lower end; empty otherwise.
    """

    difference: float
    lower: float | None
    margin: float
    refused: str = ""

    @property
    def shown(self) -> bool:
        """Whether it is shown: the lower end is above minus the margin."""
        return self.lower is not None and self.lower > -self.margin


def non_inferiority(
    gains: Sequence[float], patients: Sequence[str], *, margin: float, seed: int, level: float = 0.975
) -> NonInferiority:
    """Judge gains (higher is better) against a margin, by the stricter bound of their mean.

    Where nothing differs in any case, the lower end is nothing too: the models do the same.

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
    found = mean_bound(gains, patients, seed=seed, level=level)
    if found.patients >= MINIMUM["mean gate"] and not np.any(gains):
        return NonInferiority(0.0, 0.0, margin)
    return NonInferiority(found.mean, found.bound, margin, found.refused)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p values adjusted for being many (Holm, Scandinavian Journal of Statistics 1979), by the same names."""
    adjusted, largest = dict[str, float](), 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
