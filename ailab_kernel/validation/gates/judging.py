"""The gate: acceptance criteria, fixed before the run, held against the scored cases.

A verdict goes by the end of an interval, never by the figure itself: of a mean by the stricter bound of
`statistics.bounds`, of a share of patients by Clopper and Pearson's. What cannot be judged is refused, not passed.
"""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.models.acceptance import Criteria, Criterion
from ailab_kernel.validation.metrics import METRICS
from ailab_kernel.validation.rated import Whole
from ailab_kernel.validation.statistics import (
    FEW,
    mean_bound,
    non_inferiority,
    outliers,
    patients_for_share,
    patients_for_threshold,
    proportion,
)
from ailab_kernel.validation.study import CaseScores, goodness, number
from ailab_kernel.validation.subgroups import ATTRIBUTES, Groups

from .verdict import FAIL, PASS, REFUSED, Verdict, verdict_of
from .whole import MEASURES, judge_whole, whole_faults

_SHOWN = {PASS: f'<span class="state done">{PASS}</span>', FAIL: f'<span class="state failed">{FAIL}</span>',
          REFUSED: f"<b>{REFUSED}</b>"}  # fmt: skip


@dataclass(frozen=True)
class Gate:
    """Verdicts of one model; it passed when every one did."""

    criteria: Criteria
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed and nothing was refused."""
        return all(one.verdict == PASS for one in self.verdicts)

    @property
    def verdict(self) -> str:
        """``pass``, ``fail``, or ``refused`` where nothing failed but something could not be judged."""
        kinds = {one.verdict for one in self.verdicts}
        return FAIL if FAIL in kinds else REFUSED if REFUSED in kinds else PASS

    def as_metrics(self) -> dict[str, object]:
        """Return what a report's figures keep of it; `models.acceptance.check_met` reads it."""
        told = [{**vars(one), "figure": _round(one.figure), "bound": one.bound} for one in self.verdicts]
        return {"criteria": self.criteria.digest, "passed": self.passed, "verdict": self.verdict, "verdicts": told}

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{cell}</th>" for cell in ("criterion", "measured", "97.5 % bound", "asked", "patients",
                                                        "verdict"))  # fmt: skip
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_row, self.verdicts))}</tbody></table>"


@dataclass(frozen=True)
class Study:
    """What a gate looks at.

    Attributes
    ----------
    rows
        The model's figures.
    rival
        Those of the model that it is compared with, on the same cases; None for none.
    rival_is_champion
        Whether that is the champion of today; None where there is no champion.
    groups
        Of the cases; see `subgroups.groups_of`.
    whole
        Findings and probabilities, for what is measured over all cases at once; see `rated.whole_of`.
    """

    rows: Sequence[CaseScores]
    rival: Sequence[CaseScores] | None
    rival_is_champion: bool | None
    groups: Groups
    whole: Whole = Whole()  # noqa: RUF009 - an immutable value


@dataclass(frozen=True)
class CriteriaText:
    """The criteria as they were written, with their digest."""

    criteria: Criteria

    def _repr_html_(self) -> str:
        return (f"<p>Criteria, SHA-256 {self.criteria.digest}:</p>"
                f"<pre>{html.escape(self.criteria.text.strip())}</pre>")  # fmt: skip


def criteria_text(criteria: Criteria) -> CriteriaText:
    """Return criteria as a report shows them."""
    return CriteriaText(criteria)


def headline(gate: Gate, ref: str, *, alias: str) -> str:
    """Return a gate's verdict in one sentence, as HTML."""
    met = sum(one.verdict == PASS for one in gate.verdicts)
    told = {PASS: "passes", FAIL: "fails", REFUSED: "cannot be judged by"}[gate.verdict]
    return (f"{html.escape(ref)} {told} the gate for @{html.escape(alias)}: {met} of {len(gate.verdicts)} criteria are "
            f"met ({html.escape(gate.criteria.title) or 'without a title'}).")  # fmt: skip


def check_askable(criteria: Criteria, labels: Sequence[str]) -> None:
    """Raise WrongUse unless everything that is asked for can be measured, before anything is run.

    Parameters
    ----------
    criteria
        What is asked.
    labels
        Of the dataset.
    """
    for place, one in enumerate(criteria.criteria, 1):
        kind = METRICS.get(one.metric)
        wrong: dict[str, bool] = whole_faults(one) if one.metric in MEASURES else {
            f"there is no metric {one.metric!r}; there are {', '.join([*METRICS, *MEASURES])}": kind is None,
            f"the dataset has no label {one.label!r}; it has {', '.join(labels)}":
                bool(one.label) and one.label not in labels,
            f"{one.metric} has no better side; ask for another": kind is not None and kind.higher_is_better is None,
            f"{one.metric} is better when it is {_better(one.metric)}; {_other(one)} asks for the other side":
                kind is not None and _other(one) != "",
            f"there is no subgroup {one.subgroup!r}; there are {', '.join(ATTRIBUTES)}":
                bool(one.subgroup) and one.subgroup not in ATTRIBUTES,
        }  # fmt: skip
        for text, holds in wrong.items():
            if holds:
                msg = f"criterion {place}: {text}"
                raise WrongUse(msg)


def alone(criteria: Criteria) -> Criteria:
    """Return the criteria that need no other model: a baseline is held against these."""
    return replace(criteria, criteria=tuple(one for one in criteria.criteria if not one.than))


def judge(criteria: Criteria, study: Study, *, seed: int) -> Gate:
    """Hold criteria against a study; ``seed`` is that of the bootstrap."""
    labels = list(dict.fromkeys(row.label for row in study.rows)) or [""]
    found = [_failures(criteria, study)]
    for place, one in enumerate(criteria.criteria, 1):
        for label in labels if not one.label and one.kind != "whole" else [one.label]:
            judged = _JUDGES[one.kind](one, label, study, seed)
            found += [replace(verdict, number=place, kind=one.kind) for verdict in judged]
    return Gate(criteria, tuple(found))


def _failures(criteria: Criteria, study: Study) -> Verdict:
    failed, most = len({row.case for row in study.rows if row.failed} | study.whole.failed), criteria.failures
    patients = len({row.patient for row in study.rows} | study.whole.patients)
    words = f"at most {most} failed cases" if most else "no failed case"
    if failed <= most:
        return Verdict(0, words, PASS, failed, failed, most, patients)
    return Verdict(0, words, FAIL, failed, failed, most, patients, f"{failed} failed: see the failure list")


def _mean(asked: Criterion, label: str, study: Study, seed: int) -> Iterator[Verdict]:
    values, patients = _values(study.rows, label, asked.metric)
    upper = asked.at_most is not None
    found = mean_bound(values, patients, seed=seed, upper=upper, minimum=asked.patients)
    words = f"mean {_title(asked.metric)} of {label} {_limit(asked)}"
    told = found.refused or "; ".join(filter(None, (_hint(asked, values, found.mean), *outliers(values, patients))))
    yield _verdict(asked, words, found.mean, found.bound, found.patients, told)


def _share(asked: Criterion, label: str, study: Study, seed: int) -> Iterator[Verdict]:
    """A patient counts when each of their cases reaches the threshold."""
    values, patients = _values(study.rows, label, asked.metric)
    reached: dict[str, bool] = {}
    for value, patient in zip(values, patients, strict=True):
        good = value <= asked.at_most if asked.at_most is not None else value >= float(asked.at_least or 0.0)
        reached[patient] = reached.get(patient, True) and good
    found = proportion(sum(reached.values()), len(reached))
    words = f"{_title(asked.metric)} of {label} {_limit(asked)} in {asked.share * 100:.0f} % of the patients"
    few = f"{len(reached)} patients, at least {asked.patients} are needed" if len(reached) < asked.patients else ""
    needed = patients_for_share(found.share, at_least=asked.share)
    hint = f"with this share about {needed} patients would be enough" if needed else ""
    told = _verdict(asked, words, found.share, None if few else found.exact_low, len(reached), few or hint)
    yield replace(told, metric="")


def _subgroups(asked: Criterion, label: str, study: Study, seed: int) -> Iterator[Verdict]:
    """The mean of every group that is large enough; smaller ones are counted, not judged."""
    least, judged, small = max(FEW, asked.patients), 0, []
    for group, cases in study.groups.of(asked.subgroup, label).items():
        values, patients = _values([row for row in study.rows if row.case in cases], label, asked.metric)
        if len(set(patients)) < least:
            small.append(group)
            continue
        judged += 1
        mean = float(np.mean(values))
        words = f"mean {_title(asked.metric)} of {label} {_limit(asked)} in {asked.subgroup} {group}"
        yield _verdict(asked, words, mean, mean, len(set(patients)), "")
    if not judged:
        words = f"mean {_title(asked.metric)} of {label} {_limit(asked)} in each {asked.subgroup}"
        told = f"no group has {least} patients ({', '.join(small) or 'none is known'})"
        yield _verdict(asked, words, None, None, 0, told)


def _margin(asked: Criterion, label: str, study: Study, seed: int) -> Iterator[Verdict]:
    margin = number(asked.margin, asked.metric)
    words = f"{_title(asked.metric)} of {label} not worse than the {asked.than} by over {margin}"
    if asked.than == "champion" and study.rival_is_champion is None:
        yield Verdict(0, words, PASS, None, None, asked.limit, 0, "there is no champion yet", asked.metric)
        return
    if study.rival is None or (asked.than == "champion" and not study.rival_is_champion):
        yield _verdict(asked, words, None, None, 0, f"the {asked.than} was not run on these cases")
        return
    values, patients = _values(study.rows, label, asked.metric)
    before, _ = _values(study.rival, label, asked.metric)
    gains = [goodness(b, asked.metric) - goodness(a, asked.metric) for a, b in zip(before, values, strict=True)]
    found = non_inferiority(gains, patients, margin=asked.margin, seed=seed)
    few = f"{len(set(patients))} patients, at least {asked.patients} are needed"
    refused = found.refused or (few if len(set(patients)) < asked.patients else "")
    yield _verdict(asked, words, found.difference, None if refused else found.lower, len(set(patients)), refused)


def _whole(asked: Criterion, _label: str, study: Study, seed: int) -> Iterator[Verdict]:
    yield judge_whole(asked, study.whole, seed=seed)


_JUDGES = {"mean": _mean, "share": _share, "subgroup": _subgroups, "margin": _margin, "whole": _whole}


def _verdict(
    asked: Criterion, words: str, figure: float | None, bound: float | None, *more: int | str
) -> Verdict:
    return verdict_of(asked, words, (figure, bound), patients=int(more[0]), reason=str(more[1]))


def _hint(asked: Criterion, values: Sequence[float], mean: float) -> str:
    distance = goodness(mean, asked.metric) - goodness(float(asked.threshold or 0.0), asked.metric)
    needed = patients_for_threshold(distance, float(np.std(values, ddof=1))) if len(values) > 1 else None
    return f"with this mean and spread about {needed} patients would be enough" if needed else ""


def _values(rows: Sequence[CaseScores], label: str, metric: str) -> tuple[list[float], list[str]]:
    """Figures and patients of a label; a failed case without the figure counts with the worst one."""
    mine = sorted((row for row in rows if row.label == label), key=lambda row: row.case)
    known = [row.values[metric] for row in mine if metric in row.values]
    worst = 0.0 if METRICS[metric].higher_is_better else max(known, default=0.0)
    kept = [row for row in mine if metric in row.values or row.failed]
    return [row.values.get(metric, worst) for row in kept], [row.patient for row in kept]


def _title(metric: str) -> str:
    return METRICS[metric].title


def _limit(asked: Criterion) -> str:
    unit = f" {METRICS[asked.metric].unit}" if METRICS[asked.metric].unit else ""
    side = "at most" if asked.at_most is not None else "at least"
    return f"{side} {number(float(asked.threshold or 0.0), asked.metric)}{unit}"


def _better(metric: str) -> str:
    return "larger" if metric in METRICS and METRICS[metric].higher_is_better else "smaller"


def _other(asked: Criterion) -> str:
    """The side that is asked for, where it is not the metric's better one."""
    kind = METRICS.get(asked.metric)
    if kind is None or asked.than:
        return ""
    return "at_most" if kind.higher_is_better and asked.at_most is not None else (
        "at_least" if kind.higher_is_better is False and asked.at_least is not None else "")  # fmt: skip


def _round(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _row(one: Verdict) -> str:
    bound = "as it is" if one.kind == "subgroup" and one.bound is not None else _shown(one.bound, one)
    cells = (one.asked, _shown(one.figure, one), bound, _shown(one.limit, one), one.patients or "")
    told = _SHOWN[one.verdict]
    told += f": {html.escape(one.reason)}" if one.reason else ""
    return f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in cells)}<td>{told}</td></tr>"


def _shown(value: float | None, one: Verdict) -> str:
    if value is None:
        return "–"
    if one.metric in MEASURES:
        return f"{value:.3f}"
    if not one.metric:
        return f"{value:.0f}" if one.number == 0 else f"{value * 100:.1f}\N{NO-BREAK SPACE}%"
    return number(value, one.metric)
