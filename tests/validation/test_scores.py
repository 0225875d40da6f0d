"""FROC and reliability, as figures and as values: by hand, with failed scans, and absent where a study has no scores."""

from dataclasses import asdict, replace

import pytest

from ailab_kernel.validation import plots
from ailab_kernel.validation.calibration import calibration
from ailab_kernel.validation.detection import ScanFindings, froc
from ailab_kernel.validation.scores import scores_of

from .test_detection import scan

NAMES = {"model": "lumps@2", "baseline": "lumps@1"}


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figures instead of making pictures of them."""
    kept = []
    monkeypatch.setattr(plots, "_picture", kept.append)
    return kept


def scored(*scans: ScanFindings, role="model", probabilities=()):
    told = [{"findings": {role: asdict(one)}} for one in scans]
    return told + [{"probabilities": {role: {"case": f"c{n}", "patient": f"p{n}", "probability": value, "truth": truth}}}
                   for n, (value, truth) in enumerate(probabilities)]  # fmt: skip


SCANS = (scan([0.9, None], [0.7], name="a"), scan([0.5], name="b"), scan([], [0.3], name="c"), scan(name="d"))


def test_a_froc_is_a_staircase_from_nothing_called(drawn):
    plots.froc({"lumps@2": froc(SCANS), "lumps@1": froc(SCANS[:2])})
    axis = drawn[0].axes[0]
    stairs, dots, *_ = axis.lines
    assert list(stairs.get_xdata()) == [0.0, 0.0, 0.25, 0.25, 0.5], "0.9 is a lesion, 0.7 none, 0.5 a lesion, 0.3 none"
    assert list(stairs.get_ydata()) == pytest.approx([0.0, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert stairs.get_drawstyle() == "steps-post", "between two thresholds there is no other one"
    assert list(dots.get_xdata()) == [0.125, 0.25, 0.5, 1, 2, 4, 8]
    assert len({line.get_color() for line in axis.lines}) == 2, "one colour a model"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["lumps@2: mean 0.619", "lumps@1: mean 0.571"]
    assert "3 lesions in 4 scans" in axis.get_title(loc="left")


def test_a_point_of_a_reliability_plot_has_its_interval_and_its_cases(drawn):
    one = calibration([0.1, 0.2, 0.8, 0.9, 0.9], [False, True, True, True, False], bins=2)
    plots.reliability({"lumps@2": one, "lumps@1": one})
    assert len(drawn[0].axes) == 2
    axis = drawn[0].axes[0]
    diagonal, low_bar, low, high_bar, high = axis.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert (low.get_xdata()[0], low.get_ydata()[0]) == pytest.approx((0.15, 0.5))
    assert (high.get_xdata()[0], high.get_ydata()[0]) == pytest.approx((2.6 / 3, 2 / 3))
    assert low_bar.get_ydata()[0] < 0.5 < low_bar.get_ydata()[1]
    assert high_bar.get_ydata()[1] <= 1
    assert [text.get_text() for text in axis.texts] == ["2", "3"]
    assert "5 cases" in axis.get_title(loc="left")


def test_both_are_pictures():
    one = calibration([0.1, 0.9], [False, True])
    for picture in (plots.froc({"a": froc(SCANS)}), plots.reliability({"a": one})):
        assert picture.data.startswith(b"\x89PNG")


def test_a_study_without_scores_shows_none():
    found = scores_of([{"case": "a", "scores": {}}, {"key": "b", "failed": "gap"}], NAMES)
    assert not found
    assert found.in_words("lumps@2") == {}
    assert found.as_metrics() == {}


def test_scans_give_froc_and_area_by_model():
    told = scored(*SCANS)
    for one, other in zip(told, (*SCANS[:1], scan([None], name="b"), *SCANS[2:]), strict=True):
        one["findings"]["baseline"] = asdict(other)
    found = scores_of(told, NAMES)
    assert found.froc["lumps@2"] == froc(SCANS)
    assert found.froc["lumps@1"].mean < found.froc["lumps@2"].mean
    assert found.auc["lumps@2"].value == 1.0
    assert set(found.as_metrics()) == {"lumps@2", "lumps@1"}
    assert found.as_metrics()["lumps@2"]["froc"]["at"]["8"] == pytest.approx(2 / 3, abs=1e-6)
    assert "3 lesions in 4 scans" in found.in_words("lumps@2")["FROC"]
    assert "lumps@2: lesions" in found._repr_html_()


def test_a_failed_case_is_the_surest_mistake_and_an_unread_one_is_counted_aloud():
    good = [(0.1, False), (0.2, False), (0.8, True), (0.9, True)]
    whole = scores_of(scored(probabilities=good), NAMES)
    worse = scores_of(scored(probabilities=[*good, (None, True), (None, False)]), NAMES)
    assert whole.auc["lumps@2"].value == 1.0
    assert worse.calibration["lumps@2"].n == 6
    assert worse.calibration["lumps@2"].brier == pytest.approx((whole.calibration["lumps@2"].brier * 4 + 2) / 6)
    assert worse.auc["lumps@2"].value < 1.0
    unread = scores_of([*scored(probabilities=good), {"key": "x", "failed": "gap"}], NAMES)
    assert unread.unread == 1
    assert "1 cases could not be read" in unread._repr_html_()


def test_two_models_on_the_same_cases_are_compared():
    truth = [n % 3 == 0 for n in range(60)]
    sure, unsure = [0.5 + 0.4 * so + 0.09 * (n % 5) for n, so in enumerate(truth)], [(n * 7 % 60) / 60 for n in range(60)]
    told = scored(probabilities=list(zip([v / 2 for v in sure], truth, strict=True)))
    for one, value, so in zip(told, unsure, truth, strict=True):
        one["probabilities"]["baseline"] = {**one["probabilities"]["model"], "probability": value, "truth": so}
    found = scores_of(told, NAMES)
    assert found.difference.value == pytest.approx(found.auc["lumps@2"].value - found.auc["lumps@1"].value)
    assert found.difference.low > 0
    assert "AUC of lumps@2 minus that of lumps@1 on the same cases (DeLong): +0." in found._repr_html_()
    assert found.as_metrics()["difference"]["value"] == pytest.approx(found.difference.value, abs=1e-6)
    del told[0]["probabilities"]["baseline"]
    assert scores_of(told, NAMES).difference is None, "not the same cases"
    assert scores_of(told[:20], NAMES).difference is None, "too few with the finding"


def test_two_scans_of_a_patient_have_a_froc_and_no_area():
    found = scores_of(scored(*SCANS[:3], replace(SCANS[3], patient=SCANS[0].patient)), NAMES)
    assert found.froc
    assert not found.auc
    assert "no area under the ROC curve" in found._repr_html_()


def test_one_class_has_no_area():
    found = scores_of(scored(probabilities=[(0.2, True), (0.9, True)]), NAMES)
    assert not found.auc
    assert found.calibration
