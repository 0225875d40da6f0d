"""What becomes of one criterion: pass, fail, or refused where nothing can be said."""

from dataclasses import dataclass
from math import ceil, floor

from ailab_kernel.models.acceptance import Criterion

PASS, FAIL, REFUSED = "pass", "fail", "refused"
_PLACES = 10**6
_UPWARDS = ("mean", "subgroup", "whole")       # kinds whose at_most is held against the figure itself


@dataclass(frozen=True)
class Verdict:
    """What became of one criterion, for one label and, where it asks so, one subgroup.

    Attributes
    ----------
    number
        Of the criterion in the criteria, from 1; 0 is the number of failed cases.
    asked
        The criterion in words.
    verdict
        ``pass``, ``fail`` or ``refused``.
    figure, bound
        Mean (or share, or gain), and the end of its interval that the limit is held against; None where there is none.
    limit
        What was asked.
    patients
        How many it was judged on.
    reason
        Why it did not pass, and what would help.
    metric
        For the format of the figures; empty for shares and counts.
    kind
        ``failures``, or that of the criterion.
    """

    number: int
    asked: str
    verdict: str
    figure: float | None
    bound: float | None
    limit: float
    patients: int
    reason: str = ""
    metric: str = ""
    kind: str = "failures"


def verdict_of(asked: Criterion, words: str, figures: tuple[float | None, float | None], *, patients: int,
               reason: str = "") -> Verdict:  # fmt: skip
    """Hold the bound of (figure, bound) against a criterion; without a bound it is refused for the reason given.

    Parameters
    ----------
    asked, words
        The criterion, and the same in words.
    figures
        The figure and the end of its interval, each None where there is none.
    patients
        How many it was worked out on.
    reason
        Why there is no bound, or what would help where it fails.
    """
    figure, bound = figures
    if bound is None:
        return Verdict(0, words, REFUSED, figure, None, asked.limit, patients, reason, asked.metric)
    bound, met = _kept(bound, asked), asked.met(_kept(bound, asked))
    return Verdict(0, words, PASS if met else FAIL, figure, bound, asked.limit, patients, "" if met else reason,
                   asked.metric)  # fmt: skip


def _kept(bound: float, asked: Criterion) -> float:
    """The bound to six places, rounded to its bad side: a replay finds the very same."""
    upwards = asked.at_most is not None and asked.kind in _UPWARDS
    return (ceil(bound * _PLACES) if upwards else floor(bound * _PLACES)) / _PLACES
