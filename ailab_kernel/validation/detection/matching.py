"""Which predicted lesion is which true one, by a rule that is said beforehand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ailab_kernel.ground.errors import WrongUse

from .lesions import Lesions


@dataclass(frozen=True)
class MatchRule:
    """When a predicted lesion is a true one.

    Attributes
    ----------
    kind
        ``iou``: common voxels over the voxels of both. ``overlap``: common voxels over those of the smaller one.
        ``center``: distance of the centres of gravity.
    threshold
        Smallest share that counts, above 0 and at most 1; of ``center`` the largest distance, mm.
    """

    kind: str = "iou"
    threshold: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in _CLOSENESS:
            msg = f"{self.kind} is no rule to match lesions by: {', '.join(_CLOSENESS)} are"
            raise WrongUse(msg)
        if not 0 < self.threshold <= (np.inf if self.kind == "center" else 1):
            msg = f"{self.threshold:g} is no threshold of {self.kind}: above 0 is expected, and at most 1 of a share"
            raise WrongUse(msg)

    def __str__(self) -> str:
        limit = f"at most {self.threshold:g} mm" if self.kind == "center" else f"at least {self.threshold:g}"
        return f"{_TITLES[self.kind]} {limit}, one prediction a lesion, the surest first"


@dataclass(frozen=True)
class ScanFindings:
    """What was found in one scan.

    Attributes
    ----------
    case, patient
        Pseudonyms.
    lesions_ml
        Volume of each true lesion, ml; none in a scan without lesions.
    found
        Of each true lesion the score of the prediction that is it; None where it was missed.
    false_scores, false_ml
        Score and volume of each prediction that is no true lesion, also of the second one on a lesion.
    failed
        Whether the scan could not be predicted.
    """

    case: str
    patient: str
    lesions_ml: tuple[float, ...]
    found: tuple[float | None, ...]
    false_scores: tuple[float, ...]
    false_ml: tuple[float, ...]
    failed: bool = False

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "ScanFindings":
        """Return the findings that ``dataclasses.asdict`` and JSON made plain."""
        found = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
        return cls(**dict[str, Any](found))


def match_scan(
    predicted: Lesions, true: Lesions, rule: MatchRule, *, case: str = "", patient: str = ""
) -> ScanFindings:
    """Match the lesions of one scan, one to one.

    The surest predictions choose first; of those equally sure as many as possible are matched, the closest pairs of
    them. What is matched at a threshold of the score does not depend on the predictions below it, so that one matching
    serves every point of a FROC curve.

    Parameters
    ----------
    predicted, true
        On one grid.
    rule
        When a pair may be matched.
    case, patient
        Pseudonyms, carried along.
    """
    closeness = _CLOSENESS[rule.kind](predicted, true)  # the larger the closer
    allowed = closeness >= (-rule.threshold if rule.kind == "center" else rule.threshold)
    found: list[float | None] = [None] * len(true)
    taken: set[int] = set()
    surest = sorted(range(len(predicted)), key=lambda number: -predicted.scores[number])
    for score, group in groupby(surest, key=lambda number: predicted.scores[number]):
        rows, free = list(group), [column for column in range(len(true)) if found[column] is None]
        for row, column in _pairs(closeness, allowed, rows, free):
            found[column] = score
            taken.add(row)
    false = [number for number in surest if number not in taken]
    return ScanFindings(
        case, patient, true.sizes_ml, tuple(found), tuple(predicted.scores[number] for number in false),
        tuple(predicted.sizes_ml[number] for number in false),
    )  # fmt: skip


def failed_scan(true: Lesions, *, case: str = "", patient: str = "") -> ScanFindings:
    """Return the findings of a scan that could not be predicted: every lesion missed, the scan on the wrong side."""
    return ScanFindings(case, patient, true.sizes_ml, (None,) * len(true), (), (), failed=True)


def _pairs(closeness: np.ndarray, allowed: np.ndarray, rows: list[int], columns: list[int]) -> list[tuple[int, int]]:
    """The allowed pairs of some rows and columns: as many as can be, then the closest together."""
    block = np.ix_(rows, columns)
    near, may = closeness[block], allowed[block]
    if not may.any():
        return []
    low, high = near[may].min(), near[may].max()
    # One pair more outweighs all closeness: each pair counts 1 and a fraction that adds up to less than 1.
    worth = np.where(may, 1 + (near - low) / ((high - low) or 1) / (2 * len(rows) + 2), 0.0)
    chosen = zip(*linear_sum_assignment(worth, maximize=True), strict=True)
    return [(rows[row], columns[column]) for row, column in chosen if may[row, column]]


def _common(one: Lesions, other: Lesions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Common voxels of each pair, shape (one, other), and the voxels of each, shapes (one, 1) and (1, other)."""
    shape = np.concatenate([np.zeros((1, 3), int), *one.voxels, *other.voxels]).max(axis=0) + 1
    mine, theirs = ([np.ravel_multi_index(tuple(found.T), shape) for found in lesions.voxels]
                    for lesions in (one, other))  # fmt: skip
    common = [[len(np.intersect1d(a, b, assume_unique=True)) for b in theirs] for a in mine]
    both = np.reshape(np.array(common, float), (len(one), len(other)))
    sizes = [np.array([len(found) for found in lesions.voxels], float) for lesions in (one, other)]
    return both, sizes[0][:, None], sizes[1][None, :]


def _iou(one: Lesions, other: Lesions) -> np.ndarray:
    both, first, second = _common(one, other)
    return both / (first + second - both)


def _overlap(one: Lesions, other: Lesions) -> np.ndarray:
    both, first, second = _common(one, other)
    return both / np.minimum(first, second)


def _nearness(one: Lesions, other: Lesions) -> np.ndarray:
    """Distance of the centres with its sign turned, mm."""
    return -np.linalg.norm(one.centers_mm[:, None] - other.centers_mm[None], axis=2)


_CLOSENESS: Mapping[str, Callable[[Lesions, Lesions], np.ndarray]] = {
    "iou": _iou, "overlap": _overlap, "center": _nearness,
}  # fmt: skip
_TITLES = {"iou": "IoU", "overlap": "share of the smaller one in common", "center": "distance of the centres"}
