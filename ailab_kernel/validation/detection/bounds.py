"""The bound of a sensitivity at so many false positives per scan that a gate goes by."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.validation.statistics import MINIMUM, STRICTER, Bound, proportion

from .froc import froc
from .matching import ScanFindings

_DRAWS = 1000


def sensitivity_bound(scans: Sequence[ScanFindings], rate: float, *, seed: int, level: float = 0.975) -> Bound:
    """Return the sensitivity at a rate of false positives per scan, with its one-sided lower bound.

    Patients are drawn with replacement, each with all scans; the threshold is looked for anew in every draw, because it
    was looked for in the data, too. The bound is the lowest of three: the draws' quantile, one by the spread of their
    logits, and Clopper and Pearson's of the lesions. Near 1, where draws hardly differ, the first two let through
    almost anything in simulated studies, and the third takes lesions of a patient as independent (docs/tasks.md). All
    a little farther out in small studies, as the bound of a mean is.

    Parameters
    ----------
    scans
        What `match_scan` and `failed_scan` gave; each with its patient.
    rate
        False positives per scan, above 0.
    seed
        Of the draws.
    level
        One-sided coverage wished for.

    Raises
    ------
    WrongUse
        The rate is not above 0.
    """
    if rate <= 0:
        msg = f"{rate:g} false positives per scan is no rate; a number above 0 is expected"
        raise WrongUse(msg)
    with_lesion = len({one.patient for one in scans if one.found})
    patients, least = len({one.patient for one in scans}), MINIMUM["froc gate"]
    if not with_lesion:
        return Bound(float("nan"), None, 0, "no scan has a lesion: sensitivity needs at least one")
    found = froc(scans, rates=(rate,)).at_rates[0]
    if with_lesion < least:
        return Bound(found, None, patients, f"{with_lesion} patients with a lesion, at least {least} are needed")
    drawn = _sensitivities(scans, rate, np.random.default_rng(seed))
    tail = (1 - level) * (1 - STRICTER / with_lesion)
    lesions = sum(len(one.found) for one in scans)
    middle, spread = _logits(drawn, found, lesions)
    low = 1 / (1 + np.exp(-(middle + NormalDist().inv_cdf(tail) * spread)))
    exact = proportion(round(found * lesions), lesions, level=1 - 2 * tail).exact_low
    return Bound(found, min(float(low), float(np.quantile(drawn, tail)), exact), patients)


def _logits(drawn: np.ndarray, found: float, lesions: int) -> tuple[float, float]:
    """Log odds of the figure, and the spread of those of the draws; none and all are moved by half a lesion."""
    inside = np.clip([found, *drawn], 0.5 / lesions, 1 - 0.5 / lesions)
    odds = np.log(inside / (1 - inside))
    # Draws that are all alike, as of a detector that misses nothing, are no sign of certainty.
    return float(odds[0]), float(np.std(odds[1:], ddof=1)) if np.ptp(drawn) else 1.0


def _sensitivities(scans: Sequence[ScanFindings], rate: float, random: np.random.Generator) -> np.ndarray:
    """Sensitivity at the rate in each draw of patients, shape (draws,); draws without a lesion are left out."""
    names, patient = np.unique([one.patient for one in scans], return_inverse=True)
    weights = random.multinomial(len(names), np.full(len(names), 1 / len(names)), _DRAWS).astype(np.float32)
    score, hit, who = _ranked(scans, patient)
    last = np.r_[np.flatnonzero(np.diff(score)), len(score) - 1][: len(score)]     # equal scores are one threshold
    lesions, failed, count = (weights @ np.bincount(patient, values, len(names)) for values in (
        [len(one.found) for one in scans], [one.failed for one in scans], [1] * len(scans)))  # fmt: skip
    drawn = weights[:, who]
    false = np.cumsum(drawn * ~hit, axis=1)[:, last] + failed[:, None]
    hits = np.cumsum(drawn * hit, axis=1)[:, last]
    most = np.where(false <= rate * count[:, None], hits, 0.0).max(axis=1, initial=0.0)
    return most[lesions > 0] / lesions[lesions > 0]


def _ranked(scans: Sequence[ScanFindings], patient: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every finding's score, falling, whether it is a lesion, and the number of its patient."""
    told = [(score, hit, who) for one, who in zip(scans, patient, strict=True)
            for hit, scores in ((True, one.found), (False, one.false_scores)) for score in scores if score is not None]
    told.sort(key=lambda one: -one[0])
    score, hit, who = ([one[part] for one in told] for part in range(3))
    return np.array(score, float), np.array(hit, bool), np.array(who, int)
