"""Acceptance criteria as a value, read from TOML; the SHA-256 of the text names them.

::

    title = "Heart wall on chest CT"
    aliases = ["champion"]              # left out: every alias
    dataset = "heart-wall-check"        # NAME or NAME@VERSION; left out: any of this lab
    approvals = 1                       # other people who must approve first; left out: none
    failures = 0                        # most failed cases; left out: none may fail

    [[criterion]]                       # the mean: its one-sided 97.5 % bound reaches the threshold
    label = "heart-wall"                # left out: every label
    metric = "dice"
    at_least = 0.8                      # at_most for distances and errors
    patients = 20                       # fewest

    [[criterion]]                       # so many patients, by the exact bound
    metric = "dice"
    at_least = 0.7
    share = 0.8

    [[criterion]]                       # every subgroup of ten or more patients
    metric = "dice"
    at_least = 0.75
    subgroup = "scanner"

    [[criterion]]                       # not worse than another model by more than a margin
    metric = "dice"
    margin = 0.02
    than = "champion"                   # or "baseline": whatever the report compares with

    [[criterion]]                       # of a detector: sensitivity at so many false positives per scan
    metric = "froc_sensitivity"
    false_positives = 1
    at_least = 0.8

    [[criterion]]                       # of a detector's scans or a classifier's cases: area under the ROC curve
    metric = "auc"
    at_least = 0.85

    [[criterion]]                       # of a classifier's probabilities; "ece" is the calibration error
    metric = "brier"
    at_most = 0.15
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from ailab_kernel.ground.errors import NameUnclear, WrongUse
from ailab_kernel.ground.ids import Ref, check_name, sha256

RIVALS = ("baseline", "champion")
WHOLE = ("auc", "froc_sensitivity", "brier", "ece")   # measured over all cases at once, not label by label
_MOST_BYTES = 64 << 10
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "metric": str, "label": str, "at_least": (int, float), "at_most": (int, float), "patients": int,
    "share": (int, float), "subgroup": str, "margin": (int, float), "than": str, "title": str, "aliases": list,
    "dataset": str, "approvals": int, "failures": int, "criterion": list, "false_positives": (int, float),
}  # fmt: skip


@dataclass(frozen=True)
class Criterion:
    """One thing to be shown of one metric.

    Attributes
    ----------
    metric, label
        What is measured; an empty label is every label.
    at_least, at_most
        The threshold; one of them, or none with a ``margin``.
    patients
        Fewest patients; a gate refuses to judge fewer.
    share
        Above 0: not the mean, but this share of patients must reach the threshold.
    subgroup
        Attribute in whose every group of enough patients the mean must reach the threshold.
    margin, than
        How much worse than ``baseline`` or ``champion`` the model may be; ``than`` empty is no comparison.
    false_positives
        Per scan, of ``froc_sensitivity``.
    """

    metric: str
    label: str = ""
    at_least: float | None = None
    at_most: float | None = None
    patients: int = 1
    share: float = 0.0
    subgroup: str = ""
    margin: float = 0.0
    than: str = ""
    false_positives: float = 0.0

    @property
    def threshold(self) -> float | None:
        """The threshold, whichever side it limits."""
        return self.at_least if self.at_least is not None else self.at_most

    @property
    def limit(self) -> float:
        """What the bound is held against."""
        if self.than:
            return -self.margin
        return self.share or float(self.threshold or 0.0)

    @property
    def kind(self) -> str:
        """``whole``, ``margin``, ``share``, ``subgroup`` or ``mean``."""
        if self.metric in WHOLE:
            return "whole"
        return "margin" if self.than else "share" if self.share else "subgroup" if self.subgroup else "mean"

    def met(self, bound: float) -> bool:
        """Whether a bound (of the mean, share, group's mean or gain) is on the good side of the limit."""
        if self.than:
            return bound > self.limit
        return bound <= self.limit if self.at_most is not None and not self.share else bound >= self.limit


@dataclass(frozen=True)
class Criteria:
    """Everything that is asked of a model before an alias may mean it; see this module's head for the TOML.

    Attributes
    ----------
    digest, text
        SHA-256 of the TOML, and the TOML.
    aliases
        For which aliases; empty is every one.
    dataset
        On which dataset (name, or ``name@version``); empty is any of this lab.
    approvals
        How many people other than who promotes must have approved.
    failures
        Most failed cases.
    """

    digest: str
    text: str
    title: str = ""
    aliases: tuple[str, ...] = ()
    dataset: str = ""
    approvals: int = 0
    failures: int = 0
    criteria: tuple[Criterion, ...] = ()

    def covers(self, alias: str) -> bool:
        """Whether these are for that alias."""
        return not self.aliases or alias in self.aliases

    def asks_of(self, rival: str) -> bool:
        """Whether a criterion compares with ``champion`` or ``baseline``."""
        return any(one.than == rival for one in self.criteria)


def parse(text: str) -> Criteria:
    """Return criteria from TOML.

    Raises
    ------
    WrongUse
        No TOML, a field that is not known, or a criterion that asks for nothing or for two things at once.
    """
    data = text.encode()
    if len(data) > _MOST_BYTES:
        msg = f"criteria: {len(data)} bytes; at most {_MOST_BYTES} are expected"
        raise WrongUse(msg)
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"criteria: no TOML ({error}); docs/validation.md shows one"
        raise WrongUse(msg) from None
    _check_fields(told, {*_names(Criteria) - {"digest", "text", "criteria"}, "criterion"}, "criteria")
    asked = tuple(_criterion(one, f"criterion {number}") for number, one in enumerate(told.pop("criterion", ()), 1))
    aliases = tuple(_checked(check_name, alias) for alias in told.pop("aliases", ()))
    if told.get("dataset"):
        _checked(Ref.parse, told["dataset"])
    if min(told.get("approvals", 0), told.get("failures", 0)) < 0:
        msg = "criteria: approvals and failures are counts, 0 or more"
        raise WrongUse(msg)
    return Criteria(sha256(data), text, aliases=aliases, criteria=asked, **told)


def _criterion(told: Any, where: str) -> Criterion:
    if not isinstance(told, dict):
        msg = f"criteria: {where} is no table; write [[criterion]] above it"
        raise WrongUse(msg)
    _check_fields(told, _names(Criterion), f"criteria: {where}")
    one = Criterion(**told) if told.get("metric") else None
    faults = {
        "names no metric": one is None,
        "needs one of at_least, at_most and margin with than":
            one and (one.at_least, one.at_most, one.than or None).count(None) != 2,
        "has a margin without than": one and one.margin and not one.than,
        f"than is one of {', '.join(RIVALS)}": one and one.than and one.than not in RIVALS,
        "takes one of share, subgroup and than": one and sum(map(bool, (one.share, one.subgroup, one.than))) > 1,
        "has a margin below 0, a share outside 0 to 1, or fewer than 1 patient":
            one and not (one.margin >= 0 and 0 <= one.share < 1 and one.patients >= 1),
        "is over all cases at once: label, share, subgroup and than do not go with it":
            one and one.kind == "whole" and (one.label or one.share or one.subgroup or one.than),
        "has false_positives (per scan, above 0) where, and only where, the metric is froc_sensitivity":
            one and (one.metric == "froc_sensitivity") != (one.false_positives > 0),
    }  # fmt: skip
    for fault, holds in faults.items():
        if holds:
            msg = f"criteria: {where} {fault}"
            raise WrongUse(msg)
    return one or Criterion("")


def _check_fields(told: Mapping[str, Any], known: set[str], where: str) -> None:
    for key, value in told.items():
        if key not in known:
            msg = f"{where}: {key!r} is not known; there are {', '.join(sorted(known))}"
            raise WrongUse(msg)
        if not isinstance(value, _KINDS[key]) or isinstance(value, bool) or (
                isinstance(value, float) and not isfinite(value)):  # fmt: skip
            msg = f"{where}: {key} = {value!r} is of the wrong kind"
            raise WrongUse(msg)


def _checked(check: Any, value: Any) -> Any:
    try:
        return check(value)
    except (NameUnclear, TypeError, AttributeError) as error:
        msg = f"criteria: {value!r} is no name ({error})"
        raise WrongUse(msg) from None


def _names(kind: type) -> set[str]:
    return {one.name for one in fields(kind)}
