"""Two validation reports side by side: one model on two datasets, two models on one, or anything else of one kind.

On the same cases the comparison is paired (`validation.study.compare`). On different patients the difference of the
means gets a bootstrap interval of two independent samples of patients, and a rank-sum p adjusted for being many labels;
with patients in both, neither holds, and there is none.
"""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ailab_kernel.datasets.dataset import Datasets
from ailab_kernel.ground.catalog import Catalog
from ailab_kernel.ground.errors import ReportError
from ailab_kernel.reports.notebook import CASES
from ailab_kernel.reports.report import Report
from ailab_kernel.validation.metrics import METRICS
from ailab_kernel.validation.statistics import FEW, holm, rank_sum_p
from ailab_kernel.validation.study import CaseScores, compare, number, rows_of

_DRAWS, _ENOUGH = 4000, 50
_TEMPLATE = "validate"


@dataclass(frozen=True)
class Difference:
    """One label in two reports: the second minus the first.

    Attributes
    ----------
    label
        What was segmented.
    means, patients
        Of the first and of the second report.
    difference, low, high
        Of the means, with a 95 % interval; None where there is none to rely on.
    p
        Two-sided; None without an interval.
    """

    label: str
    means: tuple[float, float]
    patients: tuple[int, int]
    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Beside:
    """Two reports side by side; a table in a notebook.

    Attributes
    ----------
    names
        What each is about: model on dataset.
    metric
        What is compared.
    how
        How, in words.
    rows
        By label, those that both know.
    phantoms
        Whether either is about phantoms alone.
    """

    names: tuple[str, str]
    metric: str
    how: str
    rows: tuple[Difference, ...]
    phantoms: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    def table(self) -> list[dict[str, str]]:
        """Return a row of text by label, under the heads that a person reads."""
        return [dict(zip(self._heads(), self._cells(row), strict=True)) for row in self.rows]

    def note(self) -> str:
        """Return how it was compared, and what phantoms prove."""
        phantoms = " Phantoms prove plumbing and statistics, not clinical value." if self.phantoms else ""
        return f"{METRICS[self.metric].title}, {self.how}{phantoms}"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self._heads())
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in self._cells(row))}</tr>"
                       for row in self.rows)  # fmt: skip
        return (f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
                f'<p class="note">{html.escape(self.note())}</p>')  # fmt: skip

    def _heads(self) -> Sequence[str]:
        names = self.names if self.names[0] != self.names[1] else (f"{name}, {which}" for name, which in zip(
            self.names, ("first", "second"), strict=True))  # fmt: skip
        return "label", *names, "difference (95 % interval)", "p", "patients"

    def _cells(self, row: Difference) -> Sequence[str]:
        shown = number(row.difference, self.metric, sign="+")
        if row.low is not None and row.high is not None:
            ends = (number(end, self.metric, sign="+") for end in (row.low, row.high))
            shown += f" ({' to '.join(ends)})"
        p = "" if row.p is None else "< 0.0001" if row.p < 1e-4 else f"{row.p:.4f}"
        means = (number(mean, self.metric) for mean in row.means)
        return (row.label, *means, shown, p, f"{row.patients[0]} and {row.patients[1]}")


def compare_reports(catalog: Catalog, one: Report, other: Report, *, metric: str = "dice", seed: int = 7) -> Beside:
    """Compare the models of two finished validation reports.

    Parameters
    ----------
    catalog
        The trusted side, for the datasets.
    one, other
        Reports; the difference is the second minus the first.
    metric, seed
        What is compared, and the seed of the bootstrap.

    Raises
    ------
    SealBroken, NotFound
        A report was edited, or never finished.
    ReportError
        Not two validations of masks that share a label.
    """
    sides = [_rows(catalog, report, metric) for report in (one, other)]
    names = tuple(f"{used['model']['ref']} on {used['dataset']['ref']}" for used in map(_uses, (one, other)))
    labels = [label for label in sides[0] if label in sides[1]]
    if not labels:
        msg = f"reports {one.id} and {other.id} share no label; choose two of one task"
        raise ReportError(msg)
    how, rows = compared([{label: side[label] for label in labels} for side in sides], metric, seed)
    phantoms = any(report.manifest["notes"].get("phantom") for report in (one, other))
    return Beside((names[0], names[1]), metric, how, rows, bool(phantoms))


def compared(sides: Sequence[Mapping[str, Sequence[CaseScores]]], metric: str, seed: int) -> tuple[
        str, tuple[Difference, ...]]:
    """Return in words how the figures of two sides, by label, are compared, and the difference of each label."""
    first, second = ({row.case for rows in side.values() for row in rows} for side in sides)
    if first == second:
        return "paired on the same cases.", tuple(_paired(label, sides, metric, seed) for label in sides[0])
    who, whom = ({row.patient for rows in side.values() for row in rows} for side in sides)
    rows = tuple(_apart(label, sides, metric, seed) for label in sides[0])
    if both := len(who & whom):
        bare = tuple(Difference(row.label, row.means, row.patients, row.difference) for row in rows)
        return f"{both} patients stand in both, with other cases beside: there is no interval that holds.", bare
    known = {row.label: row.p for row in rows if row.p is not None}
    adjusted = holm(known)
    told = tuple(Difference(**{**vars(row), "p": adjusted.get(row.label)}) for row in rows)
    few = "" if len(known) == len(rows) else f" Fewer than {FEW} patients are insufficient for an interval."
    few += f" Below {_ENOUGH} patients the interval is a little too narrow." if min(rows[0].patients) < _ENOUGH else ""
    return f"different patients, taken as two independent samples; p by rank sums, adjusted by Holm.{few}", told


def _paired(label: str, sides: Sequence[Mapping[str, Sequence[CaseScores]]], metric: str, seed: int) -> Difference:
    found = compare(sides[0][label], sides[1][label], metric=metric, label=label, seed=seed)
    means, patients = (found.base.mean, found.tuned.mean), (found.base.patients, found.tuned.patients)
    if found.difference.few:
        return Difference(label, means, patients, found.difference.mean)
    ends = (found.difference.low, found.difference.high)
    return Difference(label, means, patients, found.difference.mean, *ends, p=found.wilcoxon_p)


def _apart(label: str, sides: Sequence[Mapping[str, Sequence[CaseScores]]], metric: str, seed: int) -> Difference:
    """The unit is the patient: whoever has two cases counts once, with their mean."""
    before, after = (_by_patient(side[label], metric) for side in sides)
    means, patients = (float(before.mean()), float(after.mean())), (len(before), len(after))
    difference = means[1] - means[0]
    if min(patients) < FEW or not (np.ptp(before) and np.ptp(after)):
        return Difference(label, means, patients, difference)
    from scipy.stats import bootstrap

    found = bootstrap((before, after), lambda a, b, axis: b.mean(axis=axis) - a.mean(axis=axis), method="BCa",
                      n_resamples=_DRAWS, rng=np.random.default_rng(seed)).confidence_interval  # fmt: skip
    return Difference(label, means, patients, difference, float(found.low), float(found.high),
                      rank_sum_p(before.tolist(), after.tolist()))  # fmt: skip


def _by_patient(rows: Sequence[CaseScores], metric: str) -> np.ndarray:
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row.patient, []).append(row.values[metric])
    return np.array([np.mean(values) for values in found.values()])


def _rows(catalog: Catalog, report: Report, metric: str) -> dict[str, list[CaseScores]]:
    """Figures of a report's model, by label, out of its sealed cases."""
    told = report.evidence().told
    if told.get("template") != _TEMPLATE or metric not in METRICS:
        msg = f"report {report.id} is no validation, or {metric!r} no metric; there are {', '.join(METRICS)}"
        raise ReportError(msg)
    data = Datasets(catalog).find(told["resolved"]["dataset"])
    kept = [json.loads(path.read_bytes()) for path in sorted((report.folder / CASES).glob("*.json"))]
    scored: dict[str, Mapping[str, Any]] = {one["key"]: one["result"] for one in kept}
    tested = data.split("test")
    if not all(case.id in scored for case in tested) or not any("scores" in one for one in scored.values()):
        msg = f"report {report.id} keeps no figures of masks for each of its {len(tested)} cases"
        raise ReportError(msg)
    found: dict[str, list[CaseScores]] = {}
    for row in rows_of([scored[case.id] for case in tested], "model", tested, labels=data.labels):
        if metric in row.values:
            found.setdefault(row.label, []).append(row)
    return found


def _uses(report: Report) -> Mapping[str, Any]:
    return report.manifest["notes"]["uses"]
