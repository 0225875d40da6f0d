"""The bound of a mean that a gate goes by: stricter than the interval that is shown, and refused where it would fail.

The studentized bootstrap (Efron 1981; Hall, The Bootstrap and Edgeworth Expansion, 1992, 3.6) follows skewed figures,
where the shown BCa interval and Student's t are too narrow on one side. Its quantile is taken a little further out in
small studies; how far was set by simulation (docs/validation.md) so that a model whose true mean lies on the threshold
passes in no more than 2.5 % of studies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .means import DRAWS, by_patient
from .planning import MINIMUM

STRICTER = 10.0                                # the tail is multiplied by 1 - 10 / patients
_FLAT = 1e-9
_HALF = 0.5
_ALONE = "one patient makes more than half of the spread: look at the worst cases"
_NONE = "{}: no interval; ask for a share of patients"


@dataclass(frozen=True)
class Bound:
    """One end of a mean's one-sided interval.

    Attributes
    ----------
    mean, bound
        The mean over cases, and the end; the bound is None where there is none to rely on.
    patients
        How many there were.
    refused
        Why there is no bound; empty otherwise.
    """

    mean: float
    bound: float | None
    patients: int
    refused: str = ""


def mean_bound(
    values: Sequence[float], patients: Sequence[str], *, seed: int, upper: bool = False, level: float = 0.975,
    minimum: int = MINIMUM["mean gate"],
) -> Bound:  # fmt: skip
    """Return a one-sided bound of the mean over cases, patients being drawn with all of their cases.

    Parameters
    ----------
    values, patients
        One figure a case, and the patient of each.
    seed
        Of the draws.
    upper
        The upper bound, of figures that are better when they are small (distances).
    level
        One-sided coverage wished for.
    minimum
        Fewest patients; never less than the number below which the bound is known to fail.
    """
    least = max(minimum, MINIMUM["mean gate"])
    sums, counts = by_patient(values, patients)
    if len(sums) < least:
        mean = float(sums.sum() / counts.sum()) if len(sums) else float("nan")
        return Bound(mean, None, len(sums), f"{len(sums)} patients, at least {least} are needed")
    mean, error = (float(one[0]) for one in _mean_and_error(sums[None], counts[None]))
    if error < _FLAT:
        return Bound(mean, None, len(sums), _NONE.format("every patient has the same value"))
    drawn = np.random.default_rng(seed).integers(len(sums), size=(DRAWS, len(sums)))
    means, errors = _mean_and_error(sums[drawn], counts[drawn])
    if np.mean(errors < _FLAT) > (1 - level) / 2:
        return Bound(mean, None, len(sums), _NONE.format("too few different values"))
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(errors < _FLAT, 0.0, (means - mean) / errors)
    tail = (1 - level) * (1 - STRICTER / len(sums))
    return Bound(mean, mean - float(np.quantile(scores, tail if upper else 1 - tail)) * error, len(sums))


def ece_bound(
    probabilities: Sequence[float], truth: Sequence[bool], *, seed: int, bins: int = 10, level: float = 0.975
) -> Bound:  # fmt: skip
    """Return the expected calibration error over bins of equal width, with its one-sided upper bound.

    The bound is the quantile of the bootstrap. Both the error and its draws are biased upwards (chance alone moves a
    bin's share from its probability), which makes the bound strict: of few cases, very strict.

    Parameters
    ----------
    probabilities, truth
        One a patient; see `calibration.calibration`.
    seed
        Of the draws.
    bins
        How many bins of equal width.
    level
        One-sided coverage wished for.
    """
    values, found = np.asarray(probabilities, float), np.asarray(truth, float)
    number = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], values)
    gaps = np.zeros((len(values), bins))
    gaps[np.arange(len(values)), number] = values - found
    error = float(np.abs(gaps.sum(axis=0)).sum() / len(values))
    least = MINIMUM["ece gate"]
    if len(values) < least:
        return Bound(error, None, len(values), f"{len(values)} patients, at least {least} are needed")
    share = np.full(len(values), 1 / len(values))
    drawn = np.random.default_rng(seed).multinomial(len(values), share, DRAWS) @ gaps
    return Bound(error, float(np.quantile(np.abs(drawn).sum(axis=1) / len(values), level)), len(values))


def outliers(values: Sequence[float], patients: Sequence[str]) -> tuple[str, ...]:
    """Return, in words, that one patient alone makes most of a mean's spread; nothing where none does."""
    sums, counts = by_patient(values, patients)
    found = sums / counts
    spread = (found - found.mean()) ** 2 if len(found) else found
    alone = len(found) > 2 and spread.max() > _HALF * spread.sum() > 0
    return (_ALONE,) if alone else ()


def doubts(values: Sequence[float], patients: Sequence[str]) -> tuple[str, ...]:
    """Return, in words, why an interval of this mean is known to fail; nothing where none of the known reasons holds.

    Parameters
    ----------
    values, patients
        One figure a case, and the patient of each.
    """
    count = len(set(patients))
    few = (f"{count} patients: below {MINIMUM['mean']} the bootstrap interval of a mean is a little too narrow; "
           "gates go by a stricter bound")  # fmt: skip
    return (*((few,) if count < MINIMUM["mean"] else ()), *outliers(values, patients))


def _mean_and_error(sums: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over cases of each row of patients, and its standard error as that of a ratio; each shape (rows,)."""
    total = counts.sum(1)
    mean = sums.sum(1) / total
    patients = sums.shape[1]
    left = ((sums - mean[:, None] * counts) ** 2).sum(1)
    return mean, np.sqrt(left * patients / (patients - 1)) / total
