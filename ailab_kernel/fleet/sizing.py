"""How large a site's AI compute must be: the seed's sections 3.1, 3.2 and 4.1, with the reason of every step.

The table of 3.1 speaks of typical exams. Section 4.1's factors say how far a site's exams are from those: they turn a
rate into that of typical exams, which the table then judges. Where the seed is silent we decide, and say so:

- Exactly 10 (annotated) or 30 (validated, inferred) typical exams an hour are still Small: the table gives "less than"
  to Small and "more than" to Medium and is silent in between; we ask for Medium only above.
- Pilot is never asked for by a workload. It is the answer to ``start_small`` when no workload asks for more than Small
  and nobody trains: the seed's "wants to start small, and does not have many resources".
- "Medium-Large" for new models is Medium; it is Large when images are heavier than typical, when more than one data
  scientist trains at a time, or when the institution generates 300 studies a day or more.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ailab_kernel.ground.errors import ParameterError

from .scenario import SCENARIO
from .tiers import Tier, larger, tier

TRAIN = {
    "none": ("", "no training"), "fine-tune": ("medium", "fine-tuning existing models"),
    "new": ("medium", "training new models (Medium-Large)"), "multiple": ("large", "training several models at a time"),
}  # fmt: skip
DIMENSIONS = {"2d": 0.2, "3d": 1.0}
ALGORITHMS = {"characterization": 0.5, "secondary-capture": 0.5, "segmentation": 1.0, "markup": 1.0}
QUESTIONS = {
    "annotate_exams_per_hour": "Exams annotated an hour (0: none)",
    "train": "Training: none, fine-tune, new or multiple",
    "validate_exams_per_hour": "Exams that models are validated on an hour (0: none)",
    "infer_exams_per_hour": "Exams inferred an hour (0: none)",
    "image_mb": "Size of one image, MB (CT 0.5, mammography 30)",
    "images_per_study": "Images a study (X-ray 2, CT or MRI hundreds)",
    "dimensions": "Analysis: 2d or 3d",
    "algorithm": "Algorithm: characterization, secondary-capture, segmentation or markup",
    "studies_per_day": "Studies that the institution generates a day",
    "data_scientists": "Data scientists who train at one time",
    "start_small": "Is a pilot enough to start (yes or no)",
    "annotated_studies": "Annotated studies that are kept",
    "models": "Models that are kept",
    "retention_years": "Years that results, models and annotated studies are kept",
}
# Workload: what is done, exams an hour above which Medium is needed (3.1).
RATES = {"annotate": ("annotating", 10.0), "validate": ("validating", 30.0), "infer": ("inferring", 30.0)}
TYPICAL_STUDY_MB = 160.0  # a chest CT of 300 slices of 512x512 at 16 bit
_MANY_STUDIES, _FEW_STUDIES, _TEAM = 300.0, 100.0, 10
_PEAK_HOUR = 0.15  # share of a day's studies in its busiest hour
_LIGHTEST, _HEAVIEST = 0.05, 4.0


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A site's answers.

    Attributes
    ----------
    annotate_exams_per_hour, validate_exams_per_hour, infer_exams_per_hour
        Rates; 0 where it is not done.
    train
        ``none``, ``fine-tune``, ``new`` or ``multiple``.
    image_mb
        Size of one image, MB: a CT image 0.5, a mammography image 30 and more (4.1).
    images_per_study
        1 or 2 for X-ray, hundreds for CT or MRI (4.1).
    dimensions, algorithm
        ``2d`` or ``3d``; ``characterization``, ``secondary-capture``, ``segmentation`` or ``markup`` (4.1).
    studies_per_day
        That the institution generates (4.1).
    data_scientists
        Who train at one time (4.1).
    start_small
        Whether a pilot will do.
    annotated_studies, models
        Kept, for the disk.
    retention_years
        How long results, models and annotated studies are kept.
    """

    annotate_exams_per_hour: float = 0.0
    train: str = "none"
    validate_exams_per_hour: float = 0.0
    infer_exams_per_hour: float = 0.0
    image_mb: float = 0.5
    images_per_study: float = 320.0
    dimensions: str = "3d"
    algorithm: str = "segmentation"
    studies_per_day: float = 200.0
    data_scientists: int = 1
    start_small: bool = False
    annotated_studies: int = 500
    models: int = 10
    retention_years: float = 5.0

    def __post_init__(self) -> None:
        for name, allowed in (("train", TRAIN), ("dimensions", DIMENSIONS), ("algorithm", ALGORITHMS)):
            if getattr(self, name) not in allowed:
                msg = f"{name} = {getattr(self, name)!r}: one of {', '.join(allowed)} is expected"
                raise ParameterError(msg)
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int | float) and not 0 <= value < float("inf"):
                msg = f"{one.name} = {value!r}: a number that is not negative is expected"
                raise ParameterError(msg)

    @property
    def study_mb(self) -> float:
        """Size of one study, MB."""
        return self.image_mb * self.images_per_study


@dataclass(frozen=True)
class Sizing:
    """The answer.

    Attributes
    ----------
    tier
        The size.
    workloads
        What each workload asks for: a tier's name, or ``n/a``.
    weight
        How many typical exams one of this site's amounts to.
    reasons
        One line a step, in order.
    disk_gb
        What is kept by kind, GB, at the end of the retention time: ``annotated``, ``models``, ``results``, ``queue``.
    disk_by_year
        Sum at the end of each year of the retention time, GB; the last is the sum of ``disk_gb``.
    network_gbps
        Needed in the busiest hour, Gbit/s, and the tier's minimum.
    """

    tier: Tier
    workloads: Mapping[str, str]
    weight: float
    reasons: tuple[str, ...] = field(repr=False)
    disk_gb: Mapping[str, float] = field(repr=False)
    disk_by_year: tuple[float, ...] = field(repr=False)
    network_gbps: tuple[float, float] = field(repr=False)


def size(answers: Answers) -> Sizing:
    """Return the size that a site's answers amount to, with the reasons."""
    weight, reasons = _weight(answers)
    workloads: dict[str, str] = {}
    for name in RATES:
        workloads[name], reason = _rate(name, getattr(answers, f"{name}_exams_per_hour"), weight)
        reasons.append(reason)
    workloads["train"], reason = _train(answers, weight)
    reasons.append(reason)
    reasons += _expected(answers)
    reasons += _raise_by_factors(answers, workloads)
    wanted = [name for name in workloads.values() if name != "n/a"]
    found = "pilot"
    for name in wanted:
        found = larger(found, name)
    found, reason = _pilot(answers, found)
    reasons.append(reason)
    chosen, disk = tier(found), disk_of(answers, years=answers.retention_years)
    by_year = tuple(round(sum(one.values()), 1) for one in disk_over_time(answers))
    return Sizing(chosen, workloads, round(weight, 3), tuple(reasons), disk, by_year,
                  (round(_busiest_gbps(answers), 3), chosen.network_gbps))  # fmt: skip


def _weight(answers: Answers) -> tuple[float, list[str]]:
    """How many typical exams one of the site's is, by size, dimensions and algorithm (4.1)."""
    by_size = answers.study_mb / TYPICAL_STUDY_MB
    planes, algorithm = DIMENSIONS[answers.dimensions], ALGORITHMS[answers.algorithm]
    weight = min(max(by_size * planes * algorithm, _LIGHTEST), _HEAVIEST)
    return weight, [
        f"image size and images per study (4.1): {answers.images_per_study:g} images of {answers.image_mb:g} MB are "
        f"{answers.study_mb:g} MB a study, {by_size:.2g} times a typical one's {TYPICAL_STUDY_MB:g} MB",
        f"2D or 3D analysis (4.1): {answers.dimensions} counts {planes:g}",
        f"type of algorithm (4.1): {answers.algorithm} counts {algorithm:g}",
        f"so one of these exams counts as {weight:.2g} typical exam{'s' * (weight != 1)}",
    ]


def _rate(workload: str, rate: float, weight: float) -> tuple[str, str]:
    doing, limit = RATES[workload]
    if not rate:
        return "n/a", f"{workload} (3.1): not done"
    typical = rate * weight
    name = "medium" if typical > limit else "small"
    side = "more than" if typical > limit else "not more than"
    return name, f"{workload} (3.1): {doing} {rate:g} an hour, {typical:.3g} typical exams, {side} {limit:g}: {name}"


def _train(answers: Answers, weight: float) -> tuple[str, str]:
    name, doing = TRAIN[answers.train]
    if not name:
        return "n/a", "train (3.1): not done"
    heavy = weight > 1 or answers.data_scientists > 1 or answers.studies_per_day >= _MANY_STUDIES
    if answers.train == "new" and heavy:
        return "large", f"train (3.1): {doing}; exams, team or institution are large: large"
    return name, f"train (3.1): {doing}: {name}"


def _expected(answers: Answers) -> list[str]:
    """What 3.4 expects of smaller sizes, where it speaks of what is done here."""
    done = {"Train": answers.train == "fine-tune", "Annotate": answers.annotate_exams_per_hour > 0,
            "Validate": answers.validate_exams_per_hour > 0, "Infer": answers.infer_exams_per_hour > 0}  # fmt: skip
    return [f"sample scenario (3.4): {row.metric}: {row.pilot} on Pilot, {row.small} on Small of processing time"
            for row in SCENARIO if done[row.workflow]]  # fmt: skip


def _raise_by_factors(answers: Answers, workloads: dict[str, str]) -> list[str]:
    """Factors of 4.1 that are of the whole site, applied to ``workloads``."""
    reasons = []
    day, team = answers.studies_per_day, answers.data_scientists
    if day >= _MANY_STUDIES and workloads["infer"] != "n/a":
        workloads["infer"] = larger(workloads["infer"], "medium")
        reasons.append(f"studies a day (4.1): {day:g}, {_MANY_STUDIES:g} or more: inference needs medium")
    else:
        kind = "the low end" if day <= _FEW_STUDIES else "the middle"
        reasons.append(f"studies a day (4.1): {day:g}, {kind if day < _MANY_STUDIES else 'none inferred'}: no change")
    if workloads["train"] != "n/a" and team >= _TEAM:
        workloads["train"] = "large"
        reasons.append(f"data scientists at one time (4.1): {team}, a team of {_TEAM} or more: training needs large")
    else:
        reasons.append(f"data scientists at one time (4.1): {team}: no change")
    return reasons


def _pilot(answers: Answers, found: str) -> tuple[str, str]:
    allowed = larger(found, "small") == "small" and answers.train == "none"
    if answers.start_small and allowed:
        return "pilot", "a pilot is enough to start: no workload asks for more than small, and nobody trains"
    if found == "pilot":
        return "small", "nothing is done yet; small is the least that a data center runs (start_small: a pilot)"
    note = "; a pilot would not do" if answers.start_small else ""
    return found, f"the largest that a workload asks for: {found}{note}"


def disk_of(answers: Answers, *, years: float) -> dict[str, float]:
    """Disk after some years, GB (3.2): annotated studies, models and versions, results kept, room for the queue."""
    inferred = answers.infer_exams_per_hour * 24 * 365 * years
    inferred = min(inferred, answers.studies_per_day * 365 * years) if answers.infer_exams_per_hour else 0.0
    versions = 3.0 + years
    return {
        "annotated": round(answers.annotated_studies * answers.study_mb * 1.1 / 1000, 1),
        "models": round(answers.models * versions * 0.2, 1),
        "results": round(inferred * 0.02 * answers.study_mb / 1000, 1),
        "queue": round(max(answers.studies_per_day * answers.study_mb * 2 / 1000, 10.0), 1),
    }


def disk_over_time(answers: Answers, *, beyond: int = 0) -> tuple[dict[str, float], ...]:
    """Disk at the end of each year, GB by kind: it grows until the retention time is over and then stays.

    Parameters
    ----------
    answers
        Of the site.
    beyond
        Years to go on after the retention time, in which as much is deleted as comes in.
    """
    kept = answers.retention_years
    return tuple(disk_of(answers, years=min(year, kept)) for year in range(1, max(1, math.ceil(kept)) + beyond + 1))


def _busiest_gbps(answers: Answers) -> float:
    """Traffic of the busiest hour, in and out again, Gbit/s."""
    exams = max(answers.infer_exams_per_hour + answers.validate_exams_per_hour + answers.annotate_exams_per_hour,
                answers.studies_per_day * _PEAK_HOUR if answers.infer_exams_per_hour else 0.0)  # fmt: skip
    return exams * answers.study_mb * 1.1 * 8 / 1000 / 3600


def answers_of(told: Mapping[str, Any]) -> Answers:
    """Return answers from a mapping, such as a TOML file's.

    Raises
    ------
    ParameterError
        A question that there is not, or an answer of another kind.
    """
    kinds = {one.name: type(one.default) for one in fields(Answers)}
    unknown = sorted(set(told) - set(kinds))
    if unknown:
        msg = f"no question is called {', '.join(unknown)}; there are {', '.join(kinds)}"
        raise ParameterError(msg)
    for name, value in told.items():
        wanted = (int, float) if kinds[name] in (int, float) else (kinds[name],)
        if not isinstance(value, wanted) or (isinstance(value, bool) and kinds[name] is not bool):
            msg = f"{name} = {value!r}: {kinds[name].__name__} is expected"
            raise ParameterError(msg)
    return Answers(**told)


def to_toml(answers: Answers) -> str:
    """Return answers as the TOML file that ``ailab size --from`` reads, each with its question."""
    lines = []
    for name, value in asdict(answers).items():
        lines += [f"# {QUESTIONS[name]}", f"{name} = {json.dumps(value)}"]
    return "\n".join(lines) + "\n"
