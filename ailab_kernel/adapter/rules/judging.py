"""Does a rule fire for a study, on which series, and why; the answer can be shown, it holds no patient's data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydicom.datadict import tag_for_keyword

from ailab_kernel.privacy.rules.table import rows

from .conditions import Condition
from .facts import SeriesFacts, StudyFacts
from .rule import Choice, Rule

# What PS3.15 takes out is not shown.
_IDENTIFYING = frozenset(one.tag.lower() for one in rows())


@dataclass(frozen=True)
class Reason:
    """One line of an explanation."""

    met: bool
    words: str


@dataclass(frozen=True)
class Judgement:
    """What a rule says to a study.

    Attributes
    ----------
    reasons
        Every condition and whether it was met; with what was found where that identifies nobody.
    series
        SeriesInstanceUIDs (0020,000E) that are worked on.
    whole
        Whether the study is complete.
    wait_s
        How long to wait before it is looked at again; 0 where it need not be.
    """

    rule: str
    reasons: tuple[Reason, ...]
    series: tuple[str, ...] = ()
    whole: bool = True
    wait_s: float = 0.0

    @property
    def fits(self) -> bool:
        """Whether the rule is for this study, whole or not."""
        return all(one.met for one in self.reasons)


def judge(rule: Rule, study: StudyFacts, *, now: float, listed: int | None = None) -> Judgement:
    """Judge one rule.

    Parameters
    ----------
    rule, study
        What is asked of what.
    now
        Seconds since 1970.
    listed
        How many instances the archive lists for the study; None where it was not asked or does not say.
    """
    reasons = [_some(one, study.series) for one in rule.when]
    candidates = [one for one in study.series if all(_meets(test, one) for test in rule.series)]
    if rule.series:
        words = " and ".join(map(str, rule.series))
        reasons.append(Reason(bool(candidates), f"{len(candidates)} of {len(study.series)} series: {words}"))
    chosen = tuple(one.uid for one in _CHOICES[rule.choose](candidates))
    whole, wait_s = _completeness(rule, study, now, listed)
    return Judgement(rule.name, tuple(reasons), chosen, whole=whole, wait_s=wait_s)


def _completeness(rule: Rule, study: StudyFacts, now: float, listed: int | None) -> tuple[bool, float]:
    quiet = study.last_at + rule.complete.quiet_s - now
    short = rule.complete.count == "archive" and (listed is None or study.instances < listed)
    if quiet <= 0 and not short:
        return True, 0.0
    return False, max(quiet, 1.0)


def _some(test: Condition, series: tuple[SeriesFacts, ...]) -> Reason:
    met = any(_meets(test, one) for one in series)
    found = sorted({value for one in series for value in one.values.get(test.keyword, ())})
    hidden = f"{tag_for_keyword(test.keyword):08x}" in _IDENTIFYING
    return Reason(met, f"{test}" if hidden else f"{test} (found: {', '.join(found) or 'nothing'})")


def _meets(test: Condition, one: SeriesFacts) -> bool:
    return test.accepts(one.values.get(test.keyword, ()))


def _number(one: SeriesFacts) -> tuple[float, str]:
    try:
        return float(one.values.get("SeriesNumber", ("-1",))[0]), one.uid
    except ValueError:
        return -1.0, one.uid


_CHOICES: Mapping[Choice, Callable[[list[SeriesFacts]], list[SeriesFacts]]] = {
    "most-instances": lambda some: [max(some, key=lambda one: (one.instances, one.uid))] if some else [],
    "newest": lambda some: [max(some, key=_number)] if some else [],
    "all": lambda some: sorted(some, key=_number),
}
