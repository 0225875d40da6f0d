"""What a machine was seen to do, beside what the seed expects: its table 3.4 filled, and the two classes it amounts to.

This module only receives values; ``notebooks/reports/measure.ipynb`` measures them. Two classes, never mixed:

- **TFLOPS class**: a measured speed in the ranges of 3.2. The seed gives no precision; makers quote half precision for
  such ranges, so that a float32 figure is a lower bound.
- **Time class**: the size whose column of 3.4 every measured time keeps to. The seed's table ends with Small: a machine
  that keeps to it is "small or larger".
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .scenario import SCENARIO, Expectation
from .sizing import RATES
from .tiers import tier_of_tflops

BOUNDS_S = {"<1 Minute": 60.0, "<1 Hour": 3600.0, "Hours": 24 * 3600.0}  # the seed's words; "Hours" end with the day
TIME_CLASSES = ("slower than pilot", "pilot", "small")
_ONES = {"Train": ("model", "models")}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One workflow as it was measured.

    Attributes
    ----------
    workflow
        As `scenario.SCENARIO` names it.
    studies
        How many were worked on.
    seconds
        Processing time of one study, s; of one whole fine-tuning for ``Train``.
    how
        How the figure came about, for the reader; empty when the seed's number of studies was measured whole.
    """

    workflow: str
    studies: int
    seconds: float
    how: str = ""


@dataclass(frozen=True)
class Filled:
    """One row of 3.4 with what this machine needs for it.

    Attributes
    ----------
    expected
        The seed's row.
    whole_s
        Time for the seed's number of studies, s.
    per_hour
        Exams an hour; fine-tunings an hour for ``Train``.
    keeps_to
        One of `TIME_CLASSES`.
    measured
        Where it comes from.
    """

    expected: Expectation
    whole_s: float
    per_hour: float
    keeps_to: str
    measured: Measured

    @property
    def extrapolated(self) -> bool:
        """Whether fewer studies were measured than the seed's row speaks of."""
        return self.measured.studies < self.expected.studies

    @property
    def rate(self) -> str:
        """In words: ``5400 exams an hour``."""
        _, many = _ONES.get(self.expected.workflow, ("exam", "exams"))
        return f"{self.per_hour:.3g} {many} an hour" if self.per_hour < 1000 else f"{self.per_hour:.0f} {many} an hour"

    @property
    def asked(self) -> str:
        """The rate of 3.1 above which a site needs Medium, where there is one."""
        found = RATES.get(self.expected.workflow.lower())
        return f"{found[1]:g} an hour" if found else ""


def fill(measured: Iterable[Measured]) -> tuple[Filled, ...]:
    """Return the seed's table 3.4 with the measured times, its rows in order; a workflow not measured is left out."""
    found = {one.workflow: one for one in measured}
    return tuple(_row(row, found[row.workflow]) for row in SCENARIO if row.workflow in found)


def _row(expected: Expectation, one: Measured) -> Filled:
    whole = one.seconds if expected.workflow in _ONES else one.seconds * expected.studies
    small, pilot = BOUNDS_S[expected.small], BOUNDS_S[expected.pilot]
    keeps_to = TIME_CLASSES[2 if whole < small else 1 if whole < pilot else 0]
    return Filled(expected, whole, 3600.0 / one.seconds, keeps_to, one)


def time_class(rows: Iterable[Filled]) -> tuple[str, str]:
    """Return the time class of a filled table, and why: the slowest row decides.

    Returns
    -------
    tuple of str
        One of `TIME_CLASSES`, or ``not measured``; one sentence.
    """
    known = list(rows)
    missing = [row.workflow for row in SCENARIO if row.workflow not in {one.expected.workflow for one in known}]
    if missing:
        return "not measured", f"{', '.join(missing).lower()} was not measured"
    slowest = min(known, key=lambda one: TIME_CLASSES.index(one.keeps_to))
    if slowest.keeps_to == "small":
        return "small", "every row keeps to the column Small of 3.4, which is its last: small or larger"
    row = slowest.expected
    return slowest.keeps_to, f"{row.metric}: {words(slowest.whole_s)}, and 3.4 expects {row.small} on Small"


def tflops_class(tflops: float) -> tuple[str, str]:
    """Return the size whose range of 3.2 holds a measured speed, and why."""
    found = tier_of_tflops(tflops)
    low, high = found.tflops
    span = f"{low:g} to {high:g}" if high != float("inf") else f"{low:g} and more"
    return found.name, f"{tflops:.3g} TFLOPS lie in the range of {found.name} (3.2): {span}"


def words(seconds: float) -> str:
    """Seconds for a person: ``12.3 s``, ``4.5 min`` or ``2.1 h``."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
