"""Is it as good for everybody: figures by site, scanner, software, slice thickness, sex, age and size of the finding.

The groups come from what a dataset's cases know; nothing here identifies anybody. A group of fewer than ten patients is
counted and gets no figure. Groups are compared by the rank-sum test of each against all others, adjusted for being many
(Holm); the gap is between the means of the best and the worst group.
"""

import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from ailab_kernel.datasets.dataset import Case

from .metrics import METRICS
from .statistics import FEW, Interval, holm, mean_interval, rank_sum_p
from .study import CaseScores, goodness, number

SIZE = "size"
# Ends of the bands, and their names: an age that is an end begins the next band, a thickness ends its own.
_YEARS = (18, 40, 60, 75)
_AGES = ("under 18 years", "18 to 39 years", "40 to 59 years", "60 to 74 years", "75 years and over")
_MM = (1.0, 2.0, 3.0, 5.0)
_THICKNESSES = ("to 1 mm", "over 1 to 2 mm", "over 2 to 3 mm", "over 3 to 5 mm", "over 5 mm")
_ORDER = {name: number for number, name in enumerate((*_AGES, *_THICKNESSES))}
_MOST_SIZES = 4
_UNKNOWN = ""


def _scanner(facts: Mapping[str, str]) -> str:
    return " ".join(facts[key] for key in ("Manufacturer", "ManufacturerModelName") if facts.get(key))


def _thickness(facts: Mapping[str, str]) -> str:
    """SliceThickness (0018,0050), mm."""
    try:
        return _THICKNESSES[bisect_left(_MM, float(facts.get("SliceThickness", "")))]
    except ValueError:
        return _UNKNOWN


def _age(facts: Mapping[str, str]) -> str:
    """PatientAge (0010,1010): nnnY, nnnM, nnnW or nnnD."""
    found = re.fullmatch(r"(\d{3})([YMWD])", facts.get("PatientAge", ""))
    per_year = {"Y": 1, "M": 12, "W": 52, "D": 365}
    return _AGES[bisect_right(_YEARS, int(found[1]) / per_year[found[2]])] if found else _UNKNOWN


ATTRIBUTES: Mapping[str, tuple[str, Callable[[Mapping[str, str]], str] | None]] = {
    "site": ("site", lambda facts: facts.get("site", "")),
    "scanner": ("scanner", _scanner),
    "software": ("software version", lambda facts: facts.get("SoftwareVersions", "")),
    "thickness": ("slice thickness", _thickness),
    "sex": ("sex", lambda facts: {"F": "female", "M": "male", "O": "other"}.get(facts.get("PatientSex", ""), "")),
    "age": ("age", _age),
    SIZE: ("size by the reference", None),     # from the figures, label by label
}


@dataclass(frozen=True)
class Groups:
    """Which cases stand in which group: by attribute and group; the sizes by label as well."""

    by_facts: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)
    by_size: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)

    def of(self, attribute: str, label: str) -> Mapping[str, frozenset[str]]:
        """Return the cases of each group of an attribute."""
        return self.by_size.get(label, {}) if attribute == SIZE else self.by_facts.get(attribute, {})


@dataclass(frozen=True)
class Group:
    """Figures of one group; the interval is None where it has too few patients."""

    attribute: str
    name: str
    label: str
    patients: int
    interval: Interval | None
    p: float | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Attribute and label: the groups that are compared with each other."""
        return self.attribute, self.label


@dataclass(frozen=True)
class Subgroups:
    """Figures of every group of every attribute that has more than one.

    Attributes
    ----------
    metric
        What was measured.
    groups
        In the order of the attributes and labels.
    same
        Attribute to its one group, where all cases stand in it; empty text: nothing is known.
    """

    metric: str
    groups: tuple[Group, ...]
    same: Mapping[str, str]

    def gap(self, attribute: str, label: str) -> float | None:
        """Difference of the means of the best and the worst group; None with fewer than two groups."""
        means = [one.interval.mean for one in self.groups
                 if one.interval and one.place == (attribute, label)]  # fmt: skip
        return max(means) - min(means) if len(means) > 1 else None

    def as_metrics(self) -> dict[str, object]:
        """Return plain JSON: by label, attribute and group."""
        found: dict[str, dict[str, dict[str, object]]] = {}
        for one in self.groups:
            place = found.setdefault(one.label, {}).setdefault(one.attribute, {})
            told = {key: getattr(one.interval, key) for key in ("mean", "low", "high")} if one.interval else {}
            told |= {} if one.p is None else {"p": one.p}
            place[one.name] = {"patients": one.patients, **{key: round(value, 6) for key, value in told.items()}}
        return {"metric": self.metric, "by": found}

    def _repr_html_(self) -> str:
        kind = METRICS[self.metric]
        title = f"{kind.title}, {kind.unit}" if kind.unit else kind.title
        cells = ("label", "by", "group", "patients", title, "95 % interval", "gap", "p (Holm)")
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in cells)
        body = "".join(self._row(one, before) for before, one in pairwise((None, *self.groups)) if one)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if self.groups else ""
        return table + self._note()

    def _row(self, one: Group, before: Group | None) -> str:
        first = before is None or before.place != one.place
        gap = self.gap(one.attribute, one.label) if first else None
        shown = "insufficient" if one.interval is None else number(one.interval.mean, self.metric)
        ends = "" if one.interval is None else (
            f"{number(one.interval.low, self.metric)} to {number(one.interval.high, self.metric)}")  # fmt: skip
        which = (one.label, ATTRIBUTES[one.attribute][0]) if first else ("", "")
        cells = (*which, one.name, one.patients, shown, ends, "" if gap is None else number(gap, self.metric),
                 "" if one.p is None else f"{one.p:.3f}")  # fmt: skip
        return f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in cells)}</tr>"

    def _note(self) -> str:
        alike = [f"{ATTRIBUTES[key][0]} ({name})" for key, name in self.same.items() if name]
        unknown = [ATTRIBUTES[key][0] for key, name in self.same.items() if not name]
        told = [f"Fewer than {FEW} patients are insufficient for a figure."] if self.groups else []
        told += [f"All cases are alike in {', '.join(alike)}: nothing is shown for others."] if alike else []
        told += [f"Not known of these cases: {', '.join(unknown)}."] if unknown else []
        return f'<p class="note">{html.escape(" ".join(told))}</p>' if told else ""


def groups_of(cases: Sequence[Case], rows: Sequence[CaseScores] = ()) -> Groups:
    """Return the groups that cases stand in; the sizes come from the reference volumes among their figures.

    Sizes are as many equal parts as have about ten patients each, two to four; labels that are often empty have an
    own group of those.
    """
    by_facts = {
        key: _grouped({case.id: of(case.facts) for case in cases})
        for key, (_, of) in ATTRIBUTES.items() if of
    }  # fmt: skip
    labels = dict.fromkeys(row.label for row in rows)
    return Groups(by_facts, {label: _sizes([row for row in rows if row.label == label]) for label in labels})


def by_subgroup(rows: Sequence[CaseScores], groups: Groups, *, metric: str, seed: int) -> Subgroups:
    """Return a metric of every group of every attribute that tells cases apart."""
    labels = list(dict.fromkeys(row.label for row in rows))
    found: list[Group] = []
    values: dict[Group, Sequence[float]] = {}
    for label in labels:
        for key in ATTRIBUTES:
            places = groups.of(key, label)
            for name, cases in places.items() if len(places) > 1 else ():
                mine = [row for row in rows if row.label == label and metric in row.values and row.case in cases]
                found.append(_group(mine, (key, name, label), metric=metric, seed=seed))
                if found[-1].interval:
                    values[found[-1]] = _by_patient(mine, metric)
    same = {key: next(iter(places), _UNKNOWN) for key in ATTRIBUTES if key != SIZE
            if len(places := groups.of(key, "")) < 2}  # fmt: skip
    return Subgroups(metric, _compared(found, values), same)


def _group(rows: Sequence[CaseScores], called: tuple[str, str, str], *, metric: str, seed: int) -> Group:
    patients = [row.patient for row in rows]
    enough = len(set(patients)) >= FEW
    interval = mean_interval([row.values[metric] for row in rows], patients, seed=seed) if enough else None
    return Group(*called, len(set(patients)), interval)


def _compared(found: Sequence[Group], values: Mapping[Group, Sequence[float]]) -> tuple[Group, ...]:
    """Groups with the p of each against all others of its attribute that are large enough, adjusted over the table."""
    raw: dict[Group, float] = {}
    twin: dict[Group, Group] = {}              # of two groups: one comparison, seen from both sides
    for one in values:
        others = [other for other in values if other != one and other.place == one.place]
        if len(others) == 1 and others[0] in raw:
            twin[one] = others[0]
        elif others:
            raw[one] = rank_sum_p(values[one], [value for other in others for value in values[other]])
    numbered = dict(enumerate(raw))
    adjusted = holm({str(place): raw[one] for place, one in numbered.items()})
    p = {one: adjusted[str(place)] for place, one in numbered.items()}
    return tuple(replace(one, p=p.get(twin.get(one, one))) for one in found)


def _by_patient(rows: Sequence[CaseScores], metric: str) -> list[float]:
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row.patient, []).append(goodness(row.values[metric], metric))
    return [float(np.mean(values)) for values in found.values()]


def _grouped(of: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Cases by group, the groups in order; what is not known makes a group only beside others."""
    names = sorted({name for name in of.values() if name}, key=lambda name: (_ORDER.get(name, 0), name))
    unknown = frozenset(case for case, name in of.items() if not name)
    known = {name: frozenset(case for case, one in of.items() if one == name) for name in names}
    return {**known, **({"not known": unknown} if known and unknown else {})}


def _sizes(rows: Sequence[CaseScores]) -> dict[str, frozenset[str]]:
    volumes = {row.case: row.values["truth_ml"] for row in rows if "truth_ml" in row.values}
    some = {case: ml for case, ml in volumes.items() if ml > 0}
    parts = min(_MOST_SIZES, max(2, len({row.patient for row in rows if row.case in some}) // FEW))
    if len(some) < parts:
        return {}
    ends = np.quantile(list(some.values()), np.linspace(0, 1, parts + 1)[1:-1])
    edges = [f"{end:.3g}" for end in ends]
    names = [f"under {edges[0]} ml", *(f"{low} to {high} ml" for low, high in pairwise(edges)), f"over {edges[-1]} ml"]
    place = {case: names[int(np.searchsorted(ends, ml))] for case, ml in some.items()}
    none = frozenset(volumes) - frozenset(some)
    found = {name: frozenset(case for case, one in place.items() if one == name) for name in names}
    return {**({"none there": none} if none else {}), **found}
