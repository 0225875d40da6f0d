"""From scored cases to what a report says: summaries, a paired comparison, the worst cases."""

import html
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

from ailab_kernel.datasets.dataset import Case
from ailab_kernel.ground.errors import DatasetError
from ailab_kernel.volumes.masks import Label

from .metrics import METRICS, worst_shares
from .statistics import Interval, doubts, mean_interval, paired_p

# In the order of a report's tables: every metric there is.
_SHOWN = ("dice", "nsd", "boundary_iou", "cl_dice", "hd95", "hd", "assd", "sensitivity", "specificity", "volume_ml",
          "truth_ml", "volume_error_ml")  # fmt: skip


@dataclass(frozen=True)
class CaseScores:
    """Figures of one label in one case.

    Attributes
    ----------
    case, patient, label
        Pseudonyms and the label's name.
    values
        By metric name.
    failed
        Why the case could not be predicted: its values are then the worst possible ones.
    """

    case: str
    patient: str
    label: str
    values: Mapping[str, float] = field(repr=False)
    failed: str = ""


@dataclass(frozen=True)
class Summary:
    """Mean and interval of each metric of each label."""

    intervals: Mapping[str, Mapping[str, Interval]]

    def _repr_html_(self) -> str:
        rows = [(label, name, interval) for label, found in self.intervals.items() for name, interval in found.items()]
        body = "".join(_summary_row(*row) for row in rows)
        head = _head("label", "metric", "mean", "95 % interval", "cases", "patients")
        return f"<table>{head}<tbody>{body}</tbody></table>{_few(interval for _, _, interval in rows)}"


@dataclass(frozen=True)
class SideBySide:
    """Summaries of several models on the same cases, one column each."""

    summaries: Mapping[str, Summary]

    def _repr_html_(self) -> str:
        first, *_ = self.summaries.values()
        rows = [(label, name) for label, found in first.intervals.items() for name in found]
        body = "".join(_row(label, _title(name), *(self._cell(one, label, name) for one in self.summaries.values()))
                       for label, name in rows)  # fmt: skip
        head = _head("label", "metric", *self.summaries)
        few = _few(one for summary in self.summaries.values() for found in summary.intervals.values()
                   for one in found.values())  # fmt: skip
        return f"<table>{head}<tbody>{body}</tbody></table>{few}"

    @staticmethod
    def _cell(summary: Summary, label: str, name: str) -> str:
        return _with_interval(summary.intervals[label][name], name)


@dataclass(frozen=True)
class Comparison:
    """Two models on the same cases; the difference is tuned minus base.

    Attributes
    ----------
    metric
        What is compared.
    base, tuned, difference
        Means with intervals; the difference is paired.
    wilcoxon_p
        Two-sided signed-rank p.
    wins, losses, ties
        Cases in which the tuned model is better, worse, equal.
    """

    metric: str
    base: Interval
    tuned: Interval
    difference: Interval
    wilcoxon_p: float
    wins: int
    losses: int
    ties: int


class ComparisonTable:
    """Comparisons by label, as a report shows them."""

    def __init__(self, comparisons: Mapping[str, Comparison], names: tuple[str, str]) -> None:
        self._comparisons, self._names = comparisons, names

    def _repr_html_(self) -> str:
        rows = "".join(_comparison_row(label, one) for label, one in self._comparisons.items())
        head = _head("label", "metric", *self._names, "difference (95 % interval)", "better / worse / equal",
                     "Wilcoxon p", "n")  # fmt: skip
        few = _few(one.difference for one in self._comparisons.values())
        return f"<table>{head}<tbody>{rows}</tbody></table>{few}"


@dataclass(frozen=True)
class Doubts:
    """Why intervals are known to fail here, label by label."""

    found: Mapping[str, tuple[str, ...]]

    def _repr_html_(self) -> str:
        every = set.intersection(*(set(texts) for texts in self.found.values())) if self.found else set()
        lines = [*(f"{text}." for text in sorted(every)),
                 *(f"{label}: {text}." for label, texts in self.found.items() for text in texts if text not in every)]
        return f'<p class="note">{"<br>".join(html.escape(line) for line in lines)}</p>' if lines else ""


def doubts_of(rows: Sequence[CaseScores], *, metric: str) -> Doubts:
    """Return why the intervals of a metric's means are known to fail; see `statistics.doubts`."""
    found = {}
    for label in dict.fromkeys(row.label for row in rows):
        mine = [row for row in rows if row.label == label and metric in row.values]
        found[label] = doubts([row.values[metric] for row in mine], [row.patient for row in mine])
    return Doubts(found)


def rows_of(
    scored: Sequence[Mapping[str, Any]], role: str, tested: Sequence[Case], *, labels: Sequence[Label] = ()
) -> tuple[CaseScores, ...]:
    """Return the figures of one model, one row a case and label.

    Parameters
    ----------
    scored
        What `cases.score_case` gave, or ``{"key": case, "failed": reason}``.
    role
        ``model`` or ``baseline``.
    tested
        The cases, in the same order.
    labels
        The order in which a report shows the labels.

    Raises
    ------
    DatasetError
        Not one case could be read, so that there is nothing to report.
    """
    read = [one for one in scored if "scores" in one]
    if not read:
        reason = next((one["failed"] for one in scored if "failed" in one), "there are none")
        msg = f"none of the {len(scored)} cases could be scored ({reason}); the dataset's images have to be readable"
        raise DatasetError(msg)
    unread = {label: _unread(read, known) for label, known in read[0]["scores"][role].items()}
    place = {label.name: number for number, label in enumerate(labels)}
    rows = [row for one, case in zip(scored, tested, strict=True) for row in _rows(one, role, case, unread)]
    return tuple(sorted(rows, key=lambda row: place.get(row.label, len(place))))


def _unread(read: Sequence[Mapping[str, Any]], known: Collection[str]) -> dict[str, float]:
    """Values of a case of which not even the truth could be read: the worst of each metric that the label has, in the
    largest image of the study.
    """
    values = worst_shares(max(one["diagonal_mm"] for one in read), tube=True)
    return {name: value for name, value in values.items() if name in known}


def _rows(one: Mapping[str, Any], role: str, case: Case, unread: Mapping[str, Any]) -> list[CaseScores]:
    reason = one.get("failed") or one.get("failures", {}).get(role, "")
    found = one.get("scores", {}).get(role, unread)
    return [CaseScores(case.id, case.patient, label, values, reason) for label, values in found.items()]


def failures_of(scored: Sequence[Mapping[str, Any]], role: str, tested: Sequence[Case]) -> dict[str, str]:
    """Return why cases could not be predicted by one model, by case; parameters as of `rows_of`."""
    reasons = {case.id: one.get("failed") or one.get("failures", {}).get(role, "")
               for one, case in zip(scored, tested, strict=True)}  # fmt: skip
    return {case: str(reason) for case, reason in reasons.items() if reason}


def summarize(rows: Sequence[CaseScores], *, seed: int) -> Summary:
    """Return mean and patient-bootstrap interval of every metric of every label."""
    return Summary({label: {name: interval for name in _SHOWN if (interval := _interval(rows, label, name, seed=seed))}
                    for label in dict.fromkeys(row.label for row in rows)})  # fmt: skip


def side_by_side(summaries: Mapping[str, Summary]) -> SideBySide:
    """Return one table of several models' summaries, by the models' names."""
    return SideBySide(summaries)


def _interval(rows: Sequence[CaseScores], label: str, metric: str, *, seed: int) -> Interval | None:
    mine = [row for row in rows if row.label == label and metric in row.values]
    values = [row.values[metric] for row in mine]
    return mean_interval(values, [row.patient for row in mine], seed=seed) if mine else None


def compare(
    base: Sequence[CaseScores], tuned: Sequence[CaseScores], *, metric: str, label: str, seed: int
) -> Comparison:
    """Compare two models on the same cases, paired.

    Raises
    ------
    DatasetError
        A case that only one of them was tried on: left out, it would flatter one side.
    """
    one, other = ({row.case: row for row in rows if row.label == label} for rows in (base, tuned))
    if alone := one.keys() ^ other.keys():
        msg = f"{len(alone)} cases of {label} were scored by one model only; score both on the same cases"
        raise DatasetError(msg)
    cases = list(other)
    patients = [other[case].patient for case in cases]
    before, after = ([found[case].values[metric] for case in cases] for found in (one, other))
    differences = [b - a for a, b in zip(before, after, strict=True)]
    gains = [goodness(b, metric) - goodness(a, metric) for a, b in zip(before, after, strict=True)]
    return Comparison(
        metric, mean_interval(before, patients, seed=seed), mean_interval(after, patients, seed=seed),
        mean_interval(differences, patients, seed=seed), paired_p(differences, patients),
        wins=sum(gain > 0 for gain in gains), losses=sum(gain < 0 for gain in gains), ties=gains.count(0.0),
    )  # fmt: skip


def comparison_table(comparisons: Mapping[str, Comparison], *, names: tuple[str, str]) -> ComparisonTable:
    """Return a table of comparisons; ``names`` are the base's and the tuned model's."""
    return ComparisonTable(comparisons, names)


def worst(rows: Sequence[CaseScores], *, metric: str, count: int) -> tuple[str, ...]:
    """Return the cases with the worst value of a metric over their labels, worst first."""
    found: dict[str, float] = {}
    for row in rows:
        if metric in row.values:
            found[row.case] = min(found.get(row.case, math.inf), goodness(row.values[metric], metric))
    return tuple(sorted(found, key=lambda case: (found[case], case))[:count])


def goodness(value: float, metric: str) -> float:
    """Return what is larger the better: of shares as they are, of distances turned round, of errors by their size."""
    higher = METRICS[metric].higher_is_better
    return value if higher else -value if higher is False else -abs(value)


def as_json(value: Any) -> Any:
    """Return plain JSON of any value of this module, floats to six places, so that a replay compares exactly."""
    if isinstance(value, Summary):
        return as_json(value.intervals)
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return round(float(value), 6) if isinstance(value, float) else value


def number(value: float, metric: str, *, sign: str = "") -> str:
    """Format a figure as tables show it: three places for shares, one for mm and ml; ``+`` shows the sign."""
    return f"{value:{sign}.1f}" if METRICS[metric].unit else f"{value:{sign}.3f}"


def _summary_row(label: str, metric: str, interval: Interval) -> str:
    mean, low, high = (number(value, metric) for value in (interval.mean, interval.low, interval.high))
    return _row(label, _title(metric), mean, f"{low} to {high}", interval.n, interval.patients)


def _comparison_row(label: str, one: Comparison) -> str:
    p = "< 0.0001" if one.wilcoxon_p < 1e-4 else f"{one.wilcoxon_p:.4f}"
    means = (number(found.mean, one.metric) for found in (one.base, one.tuned))
    counts = f"{one.wins} / {one.losses} / {one.ties}"
    return _row(label, _title(one.metric), *means, _with_interval(one.difference, one.metric, sign="+"), counts, p,
                one.difference.n)  # fmt: skip


def _with_interval(found: Interval, metric: str, *, sign: str = "") -> str:
    mean, low, high = (number(value, metric, sign=sign) for value in (found.mean, found.low, found.high))
    return f"{mean} ({low} to {high})"


def _title(metric: str) -> str:
    kind = METRICS[metric]
    return f"{kind.title}, {kind.unit}" if kind.unit else kind.title


def _head(*cells: str) -> str:
    return f"<thead><tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in cells)}</tr></thead>"


def _row(*cells: Any) -> str:
    return f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in cells)}</tr>"


def _few(intervals: Any) -> str:
    few = min((interval.patients for interval in intervals if interval.few), default=0)
    return f'<p class="note">Only {few} patients: the interval cannot be relied on.</p>' if few else ""
