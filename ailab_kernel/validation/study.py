"""From scored cases to what a report says: summaries, a paired comparison, the worst cases."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

from ailab_kernel.datasets.dataset import Case

from .metrics import METRICS
from .statistics import Interval, mean_interval, paired_p

_SHOWN = ("dice", "nsd", "hd95", "sensitivity", "specificity", "volume_ml", "truth_ml", "volume_error_ml")


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
class Comparison:
    """Two models on the same cases; the difference is tuned minus base.

    Attributes
    ----------
    base, tuned, difference
        Means with intervals; the difference is paired.
    wilcoxon_p
        Two-sided signed-rank p.
    wins, losses, ties
        Cases in which the tuned model is better, worse, equal.
    """

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
        head = _head("label", *self._names, "difference (95 % interval)", "better / worse / equal", "Wilcoxon p")
        few = _few(one.difference for one in self._comparisons.values())
        return f"<table>{head}<tbody>{rows}</tbody></table>{few}"


def rows_of(scored: Sequence[Mapping[str, Any]], role: str, tested: Sequence[Case]) -> tuple[CaseScores, ...]:
    """Return the figures of one model, one row a case and label.

    Parameters
    ----------
    scored
        What `cases.score_case` gave, or ``{"key": case, "failed": reason, "worst": ...}``.
    role
        ``model`` or ``baseline``.
    tested
        The cases, in the same order.
    """
    labels = next((list(one["scores"][role]) for one in scored if "scores" in one), [])
    return tuple(row for one, case in zip(scored, tested, strict=True) for row in _rows(one, role, case, labels))


def _rows(one: Mapping[str, Any], role: str, case: Case, labels: Sequence[str]) -> list[CaseScores]:
    reason = one.get("failed") or one.get("failures", {}).get(role, "")
    found = one.get("scores", {}).get(role) or {label: _WORST for label in labels}
    return [CaseScores(case.id, case.patient, label, values, reason) for label, values in found.items()]


# A case of which not even the truth could be read: no figure of it can be better than any other case's.
_WORST = {"dice": 0.0, "nsd": 0.0, "hd95": 1000.0, "sensitivity": 0.0, "specificity": 0.0}


def summarize(rows: Sequence[CaseScores], *, seed: int) -> Summary:
    """Return mean and patient-bootstrap interval of every metric of every label."""
    return Summary({label: {name: interval for name in _SHOWN if (interval := _interval(rows, label, name, seed=seed))}
                    for label in dict.fromkeys(row.label for row in rows)})  # fmt: skip


def _interval(rows: Sequence[CaseScores], label: str, metric: str, *, seed: int) -> Interval | None:
    mine = [row for row in rows if row.label == label and metric in row.values]
    values = [row.values[metric] for row in mine]
    return mean_interval(values, [row.patient for row in mine], seed=seed) if mine else None


def compare(
    base: Sequence[CaseScores], tuned: Sequence[CaseScores], *, metric: str, label: str, seed: int
) -> Comparison:
    """Compare two models on the same cases, paired."""
    one, other = ({row.case: row for row in rows if row.label == label} for rows in (base, tuned))
    cases = [case for case in other if case in one]
    patients = [other[case].patient for case in cases]
    before, after = ([found[case].values[metric] for case in cases] for found in (one, other))
    differences = [b - a for a, b in zip(before, after, strict=True)]
    sign = 1 if METRICS[metric].higher_is_better else -1
    return Comparison(
        mean_interval(before, patients, seed=seed), mean_interval(after, patients, seed=seed),
        mean_interval(differences, patients, seed=seed), paired_p(differences),
        wins=sum(sign * d > 0 for d in differences), losses=sum(sign * d < 0 for d in differences),
        ties=differences.count(0.0),
    )  # fmt: skip


def comparison_table(comparisons: Mapping[str, Comparison], *, names: tuple[str, str]) -> ComparisonTable:
    """Return a table of comparisons; ``names`` are the base's and the tuned model's."""
    return ComparisonTable(comparisons, names)


def worst(rows: Sequence[CaseScores], *, metric: str, count: int) -> tuple[str, ...]:
    """Return the cases with the worst value of a metric over their labels, worst first."""
    sign = 1 if METRICS[metric].higher_is_better else -1
    found: dict[str, float] = {}
    for row in rows:
        found[row.case] = min(found.get(row.case, float("inf")), sign * row.values[metric])
    return tuple(sorted(found, key=lambda case: (found[case], case))[:count])


def as_json(value: Any) -> Any:
    """Return plain JSON of any value of this module, floats to six places, so that a replay compares exactly."""
    if isinstance(value, Summary):
        return as_json(value.intervals)
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    return round(value, 6) if isinstance(value, float) else value


def number(value: float, metric: str) -> str:
    """Format a figure as tables show it: three places for shares, one for mm and ml."""
    return f"{value:.1f}" if METRICS[metric].unit else f"{value:.3f}"


def _summary_row(label: str, metric: str, interval: Interval) -> str:
    kind = METRICS[metric]
    title = f"{kind.title}{f', {kind.unit}' if kind.unit else ''}"
    mean, low, high = (number(value, metric) for value in (interval.mean, interval.low, interval.high))
    return _row(label, title, mean, f"{low} to {high}", interval.n, interval.patients)


def _comparison_row(label: str, one: Comparison) -> str:
    difference = f"{one.difference.mean:+.3f} ({one.difference.low:+.3f} to {one.difference.high:+.3f})"
    p = "< 0.0001" if one.wilcoxon_p < 1e-4 else f"{one.wilcoxon_p:.4f}"
    means = (f"{found.mean:.3f} ({found.low:.3f} to {found.high:.3f})" for found in (one.base, one.tuned))
    return _row(label, *means, difference, f"{one.wins} / {one.losses} / {one.ties}", p)


def _head(*cells: str) -> str:
    return f"<thead><tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in cells)}</tr></thead>"


def _row(*cells: Any) -> str:
    return f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in cells)}</tr>"


def _few(intervals: Any) -> str:
    few = min((interval.patients for interval in intervals if interval.few), default=0)
    return f'<p class="note">Only {few} patients: the interval cannot be relied on.</p>' if few else ""
