"""From scored cases to tables: failures count as the worst, signs follow the metric, JSON comes back as it went."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ailab_kernel.datasets.dataset import Case
from ailab_kernel.ground.errors import DatasetError
from ailab_kernel.validation import metrics, study
from ailab_kernel.validation.metrics import METRICS, diagonal_mm

from .shapes import cube, grid, mask

SHAPE = (8, 20, 20)


def case(name: str, patient: str = "") -> Case:
    return Case(name, patient or f"patient-{name}", "test", "0", "0", "1.2", "1.2.3")


def scored(name: str, shift: int, *, shape=SHAPE, failures=()) -> dict:
    truth = cube(shape, (2, 4, 4), (2, 6, 6))
    found = cube(shape, (2, 4, 4 + shift), (2, 6, 6))
    roles = {"model": mask(found), "baseline": mask(truth)}
    scores = {role: metrics.score(one, mask(truth), tolerance_mm=1.0) for role, one in roles.items()}
    for role in failures:
        scores[role] = {"wall": metrics.worst(grid(shape), 0.2)}
    return {"case": name, "scores": scores, "failures": dict.fromkeys(failures, "no memory"), "masks": {},
            "seconds": dict.fromkeys(roles, 1.0), "diagonal_mm": diagonal_mm(grid(shape))}  # fmt: skip


def rows(*values: float, metric: str = "dice", label: str = "wall") -> tuple[study.CaseScores, ...]:
    return tuple(study.CaseScores(f"c{i}", f"p{i}", label, {metric: value}) for i, value in enumerate(values))


def test_a_model_that_failed_counts_with_the_worst_values_and_its_reason():
    found = study.rows_of([scored("a", 0), scored("b", 1, failures=["model"])], "model", [case("a"), case("b")])
    assert [row.failed for row in found] == ["", "no memory"]
    assert found[1].values["dice"] == 0.0
    assert found[1].values["hd95"] == pytest.approx(diagonal_mm(grid(SHAPE)))
    baseline = study.rows_of([scored("b", 1, failures=["model"])], "baseline", [case("b")])
    assert baseline[0].failed == ""


def test_a_case_that_could_not_be_read_is_as_bad_as_the_largest_image_allows():
    large = (30, 40, 40)
    told = [scored("a", 1), {"key": "b", "failed": "series has a gap"}, scored("c", 0, shape=large)]
    found = study.rows_of(told, "model", [case("a"), case("b"), case("c")])
    assert [(row.case, row.failed) for row in found] == [("a", ""), ("b", "series has a gap"), ("c", "")]
    unread = found[1].values
    assert unread["hd95"] == pytest.approx(diagonal_mm(grid(large)))
    for name, value in unread.items():
        others = [row.values[name] for row in found if not row.failed]
        assert value <= min(others) if METRICS[name].higher_is_better else value >= max(others)
    summary = study.summarize(found, seed=1).intervals["wall"]
    assert summary["dice"].n == 3
    assert summary["volume_ml"].n == 2, "a volume that nobody knows is not made up"


@pytest.mark.parametrize("tube", [True, False])
def test_a_case_that_could_not_be_read_has_the_figures_that_its_label_has(tube):
    """clDice is worked out for tubes alone, and there too a case that could not be read counts."""
    told = scored("a", 1)
    if tube:
        told["scores"]["model"]["wall"]["cl_dice"] = 0.5
    found = study.rows_of([told, {"key": "b", "failed": "series has a gap"}], "model", [case("a"), case("b")])
    assert found[1].values.get("cl_dice") == (0.0 if tube else None)


def test_a_case_that_could_not_be_read_leads_the_worst_and_is_paired_as_a_tie():
    told = [scored("a", 1), {"key": "b", "failed": "gap"}]
    model, base = (study.rows_of(told, role, [case("a"), case("b")]) for role in ("model", "baseline"))
    assert study.worst(model, metric="dice", count=1) == ("b",)
    one = study.compare(base, model, metric="dice", label="wall", seed=1)
    assert (one.wins, one.losses, one.ties) == (0, 1, 1)


@pytest.mark.parametrize("told", [[{"key": "a", "failed": "series has a gap"}], []])
def test_nothing_read_is_an_error_that_says_why(told):
    with pytest.raises(DatasetError, match=r"none of the \d cases .*(gap|there are none)"):
        study.rows_of(told, "model", [case("a")] * len(told))


@pytest.mark.parametrize(("metric", "wins"), [("dice", 2), ("nsd", 2), ("hd95", 1), ("volume_error_ml", 1)])
def test_which_sign_is_better(metric, wins):
    """Two figures rise and one falls; a volume error is better when it is nearer to nothing."""
    one = study.compare(rows(0.5, 0.5, 0.5, 0.5, metric=metric), rows(0.6, 0.7, 0.4, 0.5, metric=metric),
                        metric=metric, label="wall", seed=1)  # fmt: skip
    assert (one.wins, one.losses, one.ties) == (wins, 3 - wins, 1)
    assert one.difference.mean == pytest.approx(0.05)
    assert one.metric == metric


def test_only_the_label_is_compared():
    base = (*rows(0.5, 0.6), *rows(0.1, 0.1, label="lung"))
    one = study.compare(base, rows(0.9, 0.7), metric="dice", label="wall", seed=1)
    assert one.difference.n == 2
    assert one.difference.mean == pytest.approx(0.25)
    assert one.base.mean == pytest.approx(0.55)


def test_a_case_that_only_one_model_was_tried_on_is_an_error():
    with pytest.raises(DatasetError, match="1 cases of wall were scored by one model only"):
        study.compare(rows(0.5, 0.6), rows(0.9, 0.7, 0.2), metric="dice", label="wall", seed=1)


def test_worst_first_by_the_worst_label():
    found = (*rows(0.9, 0.5, 0.7), *rows(0.9, 0.8, 0.1, label="lung"))
    assert study.worst(found, metric="dice", count=2) == ("c2", "c1")
    assert study.worst(rows(3.0, 9.0, 1.0, metric="hd95"), metric="hd95", count=5) == ("c1", "c0", "c2")
    assert study.worst(rows(-9.0, 2.0, 0.0, metric="volume_error_ml"), metric="volume_error_ml", count=2) == ("c0", "c1")
    assert study.worst(rows(0.5, 0.5), metric="dice", count=9) == ("c0", "c1"), "equal cases come in a fixed order"


def test_json_comes_back_exactly():
    summary = study.summarize(rows(0.123456789, 0.9, 1 / 3), seed=1)
    comparison = study.compare(rows(0.1, 0.2, 0.3), rows(1 / 3, 0.2, 0.25), metric="dice", label="wall", seed=1)
    for value in (summary, comparison, {"a": (1, 2.00000049), "b": None}, study.summarize(rows(2 / 3), seed=1)):
        plain = study.as_json(value)
        assert json.loads(json.dumps(plain)) == plain
        assert study.as_json(plain) == plain
    assert study.as_json(summary)["wall"]["dice"]["mean"] == round((0.123456789 + 0.9 + 1 / 3) / 3, 6)


def test_the_summary_shows_units_counts_and_escapes():
    told = [scored(name, i) for i, name in enumerate("abc")]
    found = study.rows_of(told, "model", [case("a", "p1"), case("b", "p1"), case("c", "p2")])
    page = study.summarize([replace(row, label="<wall>") for row in found], seed=1)._repr_html_()
    for wanted in ("HD95, mm", "Volume, ml", "<td>Dice</td>", "<th>cases</th>", "<th>patients</th>", "<td>3</td>",
                   "<td>2</td>", "&lt;wall&gt;", "Only 2 patients"):  # fmt: skip
        assert wanted in page
    assert "<wall>" not in page


def test_the_comparison_shows_metric_counts_and_escapes():
    one = study.compare(rows(5.0, 9.0, metric="hd95"), rows(3.0, 9.5, metric="hd95"), metric="hd95", label="wall", seed=1)
    page = study.comparison_table({"wall": one}, names=("<base>", "tuned"))._repr_html_()
    for wanted in ("HD95, mm", "1 / 1 / 0", "&lt;base&gt;", "<th>n</th>", "<td>2</td>", "-0.8 (", "Only 2 patients"):
        assert wanted in page


@pytest.mark.parametrize(("value", "metric", "text"), [(0.98765, "dice", "0.988"), (12.345, "hd95", "12.3")])
def test_numbers(value, metric, text):
    assert study.number(value, metric) == text


def test_doubts_are_shown_by_label():
    page = study.doubts_of([*rows(*[0.9] * 59, 0.1), *rows(0.5, 0.6, 0.7, 0.8, label="<b>")], metric="dice")._repr_html_()
    assert "wall: one patient makes more than half of the spread" in page
    assert "&lt;b&gt;: 4 patients: below 50" in page
    assert study.doubts_of(rows(*np.linspace(0.5, 0.9, 60)), metric="dice")._repr_html_() == ""


def test_reasons_of_failures_by_case_for_any_kind_of_answer():
    told = [scored("a", 1), {"key": "b", "failed": "gap"}, {"findings": {}, "failures": {"model": "no memory", "baseline": "x"}}]
    tested = [case("a"), case("b"), case("c")]
    assert study.failures_of(told, "model", tested) == {"b": "gap", "c": "no memory"}
    assert study.failures_of(told, "baseline", tested) == {"b": "gap", "c": "x"}


def test_a_report_shows_every_metric_there_is():
    assert set(study._SHOWN) == set(METRICS)
