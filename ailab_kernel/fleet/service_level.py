"""How long studies wait on a site's tier: what works on them, how fast, and where the service breaks."""

import math
from dataclasses import dataclass

from .capacity import Load, Point, breaking_load, waiting_curve
from .measured import BOUNDS_S, words
from .scenario import SCENARIO
from .sizing import Answers, Sizing

LONGEST_WAIT_S = 600.0
_PRECISION, _POINTS = 0.03, 8
_INFER = next(row for row in SCENARIO if row.workflow == "Infer")


@dataclass(frozen=True)
class Service:
    """The waiting times of a site.

    Attributes
    ----------
    load
        What arrives a day, and what works on it.
    because
        Where the processing time comes from.
    curve
        Waiting times over the load.
    breaks_at
        Studies a day up to which 95 of 100 wait no longer than ``longest_s``.
    longest_s
        The longest wait that is service, s.
    verdict
        One sentence.
    """

    load: Load
    because: str
    curve: tuple[Point, ...]
    breaks_at: float
    longest_s: float
    verdict: str


def service_of(answers: Answers, found: Sizing, *, seconds: float = 0.0, measured_by: str = "",
               longest_s: float = LONGEST_WAIT_S) -> Service | None:  # fmt: skip
    """Return the waiting times of inference on a tier; None where nothing is inferred.

    Parameters
    ----------
    answers, found
        The site's answers, and what they amount to.
    seconds
        Processing time of a typical study as measured, s; 0 takes what 3.4 expects of the tier at most.
    measured_by
        Which report measured it.
    longest_s
        The longest wait that is service, s.
    """
    if not answers.infer_exams_per_hour:
        return None
    arriving = min(answers.infer_exams_per_hour * 24, answers.studies_per_day or math.inf)
    column = _INFER.pilot if found.tier.name == "pilot" else _INFER.small
    typical = seconds or BOUNDS_S[column] / _INFER.studies
    source = f"as report {measured_by or 'given'} measured" if seconds else (
        f"what 3.4 expects at most ({_INFER.studies} studies in {column})")  # fmt: skip
    load = Load(studies_per_day=arriving, seconds=typical * found.weight)
    because = (f"{words(load.seconds)} a study: {typical:.3g} s for a typical one, {source}, times {found.weight:.2g} "
               f"for this site's exams; one study at a time, so that further GPUs or workers multiply it")  # fmt: skip
    breaks_at = breaking_load(load, longest_s=longest_s, precision=_PRECISION)
    curve = waiting_curve(load, upto=max(1.2 * breaks_at, arriving), points=_POINTS)
    return Service(load, because, curve, breaks_at, longest_s, _verdict(load, curve, breaks_at, longest_s))


def _verdict(load: Load, curve: tuple[Point, ...], breaks_at: float, longest_s: float) -> str:
    here = next(point for point in curve if point.studies_per_day == load.studies_per_day)
    told = f"{load.studies_per_day:g} studies a day keep it busy {load.utilization:.2%} of the time"
    if load.studies_per_day <= breaks_at:
        waits = f"wait {words(here.p95)} at most" if here.p95 >= 0.05 else "do not wait"
        return (f"{told}; 95 of 100 {waits}. Service breaks at {breaks_at:.0f} a day, "
                f"{breaks_at / load.studies_per_day:.3g} times as many: then more than 5 of 100 wait over "
                f"{words(longest_s)}.")  # fmt: skip
    return (f"{told}; service is broken: 95 of 100 wait up to {words(here.p95)}, and {words(longest_s)} are kept up to "
            f"{breaks_at:.0f} a day only. Take the next larger size, or faster hardware.")  # fmt: skip
