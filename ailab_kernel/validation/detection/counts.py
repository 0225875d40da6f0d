"""Lesions and scans counted over a set: a scan without a lesion counts as much as one with many."""

from collections.abc import Sequence
from dataclasses import dataclass

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.validation.statistics import Auc, Proportion, auc, proportion

from .matching import ScanFindings


@dataclass(frozen=True)
class LesionCounts:
    """Lesions over all scans at one threshold of the score.

    Attributes
    ----------
    hits, misses, false_positives
        True lesions found and missed, and predictions that are no lesion.
    scans
        With and without lesions.
    """

    hits: int
    misses: int
    false_positives: int
    scans: int

    @property
    def sensitivity(self) -> float:
        """Share of the lesions that were found; 1 where there are none."""
        return _share(self.hits, self.hits + self.misses, 1.0)

    @property
    def precision(self) -> float:
        """Share of the predictions that are lesions; of no predictions 1 where there is no lesion, else 0."""
        return _share(self.hits, self.hits + self.false_positives, float(not self.misses))

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 1 where there is neither a lesion nor a prediction."""
        return _share(2 * self.hits, 2 * self.hits + self.misses + self.false_positives, 1.0)

    @property
    def false_positives_per_scan(self) -> float:
        """Over all scans."""
        return self.false_positives / self.scans


@dataclass(frozen=True)
class CaseCounts:
    """Scans called right at one threshold: with a lesion (sensitivity) and without one (specificity)."""

    sensitivity: Proportion
    specificity: Proportion


@dataclass(frozen=True)
class LesionRow:
    """One true lesion of a set, for groups by size and intervals by patient."""

    case: str
    patient: str
    volume_ml: float
    found: bool


def lesion_counts(scans: Sequence[ScanFindings], *, threshold: float) -> LesionCounts:
    """Return the lesions found, missed and made up by predictions with a score of ``threshold`` or more.

    A scan that failed counts all of its lesions as missed and one false positive.

    Raises
    ------
    WrongUse
        There is no scan.
    """
    _some(scans)
    hits = sum(row.found for row in lesion_rows(scans, threshold=threshold))
    false = sum(one.failed + sum(score >= threshold for score in one.false_scores) for one in scans)
    return LesionCounts(hits, sum(len(one.found) for one in scans) - hits, false, len(scans))


def lesion_rows(scans: Sequence[ScanFindings], *, threshold: float) -> tuple[LesionRow, ...]:
    """Return every true lesion with its volume and whether a prediction of ``threshold`` or more found it."""
    return tuple(LesionRow(one.case, one.patient, ml, score is not None and score >= threshold)
                 for one in scans for ml, score in zip(one.lesions_ml, one.found, strict=True))  # fmt: skip


def case_scores(scans: Sequence[ScanFindings]) -> tuple[list[float], list[bool]]:
    """Return of each scan the score of its surest prediction, and whether it has a lesion, for AUC and calibration.

    0 where nothing was predicted. A scan that failed gets a score beyond all others on the wrong side.

    Raises
    ------
    WrongUse
        There is no scan, or a score is negative: 0 would not be the lowest then.
    """
    _some(scans)
    predicted = [[*one.false_scores, *(score for score in one.found if score is not None)] for one in scans]
    if any(score < 0 for found in predicted for score in found):
        msg = "a score is negative: a scan in which nothing was found counts 0, so scores from 0 are expected"
        raise WrongUse(msg)
    scores, truth = [max(found, default=0.0) for found in predicted], [bool(one.lesions_ml) for one in scans]
    low, high = min(scores) - 1, max(scores) + 1
    wrong = [low if has else high for has in truth]
    return [bad if one.failed else score for one, score, bad in zip(scans, scores, wrong, strict=True)], truth


def case_counts(scans: Sequence[ScanFindings], *, threshold: float) -> CaseCounts:
    """Return the shares of scans with and without a lesion that were called right, one scan a patient.

    A scan is called positive when any prediction in it, also a wrong one, has ``threshold`` or more; one that failed is
    called wrong.

    Raises
    ------
    WrongUse
        A patient has two scans: its intervals would be too narrow.
    """
    _alone(scans)
    scores, truth = case_scores(scans)
    right = [not one.failed and (score >= threshold) == has
             for one, score, has in zip(scans, scores, truth, strict=True)]  # fmt: skip
    with_lesion, without = ([good for good, has in zip(right, truth, strict=True) if has == side]
                            for side in (True, False))  # fmt: skip
    return CaseCounts(proportion(sum(with_lesion), len(with_lesion)), proportion(sum(without), len(without)))


def case_auc(scans: Sequence[ScanFindings]) -> Auc:
    """Return the area under the ROC curve of scans with against those without a lesion, one scan a patient.

    Raises
    ------
    WrongUse
        A patient has two scans, or all scans or none have a lesion.
    """
    _alone(scans)
    return auc(*case_scores(scans))


def _some(scans: Sequence[ScanFindings]) -> None:
    if not scans:
        msg = "no scans: at least one is expected"
        raise WrongUse(msg)


def _alone(scans: Sequence[ScanFindings]) -> None:
    patients = [one.patient or one.case for one in scans if one.patient or one.case]
    if again := len(patients) - len(set(patients)):
        msg = f"{again} of {len(scans)} scans are a second one of a patient; give one scan a patient"
        raise WrongUse(msg)


def _share(part: int, whole: int, of_none: float) -> float:
    return part / whole if whole else of_none
