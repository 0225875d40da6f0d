"""Criteria on what is measured over all cases at once: area under the ROC curve, FROC, Brier score, ECE."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ailab_kernel.models.acceptance import Criterion
from ailab_kernel.validation.detection import sensitivity_bound
from ailab_kernel.validation.rated import Whole
from ailab_kernel.validation.statistics import MINIMUM, Bound, auc_bound, ece_bound, mean_bound

from .verdict import Verdict, verdict_of


@dataclass(frozen=True)
class Measure:
    """How one figure is worked out and how sure it is.

    Attributes
    ----------
    title
        For people.
    higher_is_better
        Which side a criterion may ask for.
    bound
        Criterion, data and seed to figure, bound and number of patients.
    """

    title: str
    higher_is_better: bool
    bound: Callable[[Criterion, Whole, int], Bound]


def whole_faults(asked: Criterion) -> dict[str, bool]:
    """Return why a criterion on such a figure cannot be asked, each with whether it holds."""
    kind = MEASURES[asked.metric]
    other = asked.at_most if kind.higher_is_better else asked.at_least
    side = "larger" if kind.higher_is_better else "smaller"
    return {f"{asked.metric} is better when it is {side}; the other side is asked for": other is not None}


def judge_whole(asked: Criterion, found: Whole, *, seed: int) -> Verdict:
    """Hold one criterion against all cases at once; refused where there are too few or the wrong kind of answers."""
    kind = MEASURES[asked.metric]
    rate = f" at {asked.false_positives:g} false positives per scan" if asked.false_positives else ""
    side = "at most" if asked.at_most is not None else "at least"
    words = f"{kind.title}{rate} {side} {asked.limit:.3f}"
    told = kind.bound(asked, found, seed)
    patients, refused = len(found.patients), told.refused
    if found.unread:
        refused = f"{len(found.unread)} cases could not be read, so that nobody knows whether they have the finding"
    elif not refused and patients < asked.patients:
        refused = f"{patients} patients, at least {asked.patients} are needed"
    figure = None if told.patients == 0 else told.mean
    return verdict_of(asked, words, (figure, None if refused else told.bound), patients=patients, reason=refused)


def _none(what: str) -> Bound:
    return Bound(float("nan"), None, 0, f"there are no {what} of this model on these cases")


def _area(_asked: Criterion, found: Whole, _seed: int) -> Bound:
    if not found.cases:
        return _none("findings or probabilities")
    if again := _again(found):
        return Bound(float("nan"), None, 0, again)
    scores, truth = found.sides()
    if len(set(truth)) < 2:
        return Bound(float("nan"), None, 0, "all cases or none have the finding: an area needs both")
    return auc_bound(scores, truth)


def _again(found: Whole) -> str:
    told = f"{found.repeated} of {len(found.cases)} cases are a second one of a patient; one a patient is needed"
    return told if found.repeated else ""


def _froc(asked: Criterion, found: Whole, seed: int) -> Bound:
    if not found.scans:
        return _none("findings with scores")
    return sensitivity_bound(found.scans, asked.false_positives, seed=seed)


def _brier(_asked: Criterion, found: Whole, seed: int) -> Bound:
    if not found.rated:
        return _none("probabilities")
    errors, patients = [(one.value - one.truth) ** 2 for one in found.rated], [one.patient for one in found.rated]
    return mean_bound(errors, patients, seed=seed, upper=True, minimum=MINIMUM["brier gate"])


def _calibration(_asked: Criterion, found: Whole, seed: int) -> Bound:
    if not found.rated:
        return _none("probabilities")
    if again := _again(found):
        return Bound(float("nan"), None, 0, again)
    return ece_bound([one.value for one in found.rated], [one.truth for one in found.rated], seed=seed)


MEASURES: Mapping[str, Measure] = MappingProxyType({
    "auc": Measure("area under the ROC curve", True, _area),
    "froc_sensitivity": Measure("sensitivity", True, _froc),
    "brier": Measure("Brier score", False, _brier),
    "ece": Measure("calibration error (ECE)", False, _calibration),
})
