"""Criteria over all cases at once: by a bound, refused below a minimum, failures as the surest mistake."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from ailab_kernel.ground.errors import ModelError, WrongUse
from ailab_kernel.models.acceptance import check_met, in_force, parse
from ailab_kernel.validation.detection import froc, sensitivity_bound
from ailab_kernel.validation.gates import Study, check_askable, judge, margins
from ailab_kernel.validation.rated import Rated, Whole, whole_of
from ailab_kernel.validation.statistics import MINIMUM, auc, auc_bound, ece_bound, mean_bound
from ailab_kernel.validation.subgroups import Groups

from .test_detection import scan

RANDOM = np.random.default_rng(5)
TRUTH = [bool(number % 2) for number in range(80)]
GOOD = [float(np.clip(0.5 + (0.28 if has else -0.28) + RANDOM.normal(0, 0.18), 0, 1)) for has in TRUTH]


def rated(values=GOOD, truth=TRUTH, *, patients=None):
    return tuple(Rated(f"c{i:02}", patients[i] if patients else f"p{i:02}", value, has)
                 for i, (value, has) in enumerate(zip(values, truth, strict=True)))


def scans(count=80, *, hit=0.8, seed=3):
    """Half of them with one or two lesions; a finding on a lesion is surer than one beside."""
    random, found = np.random.default_rng(seed), []
    for number in range(count):
        lesions = [float(random.uniform(0.4, 1)) if random.random() < hit else None for _ in range(number % 2 * random.integers(1, 3))]
        found.append(scan(lesions, random.uniform(0, 0.6, random.poisson(1)).tolist(), name=f"s{number:02}"))
    return tuple(found)


def verdicts(toml, whole):
    return judge(parse(toml), Study((), None, None, Groups(), whole), seed=7)


def one(whole, **asked):
    toml = "[[criterion]]\n" + "\n".join(f"{key} = {value!r}" for key, value in asked.items())
    _, found = verdicts(toml, whole).verdicts
    return found


@pytest.mark.parametrize(("metric", "bound", "asked"), [
    ("auc", lambda: auc_bound(GOOD, TRUTH).bound, "at_least"),
    ("brier", lambda: mean_bound((np.array(GOOD) - TRUTH) ** 2, [f"p{i:02}" for i in range(80)], seed=7, upper=True).bound, "at_most"),
    ("ece", lambda: ece_bound(GOOD, TRUTH, seed=7).bound, "at_most"),
])  # fmt: skip
def test_a_classifier_goes_by_its_bound_not_by_its_figure(metric, bound, asked):
    better = -1 if asked == "at_least" else 1
    assert one(Whole(rated=rated()), metric=metric, **{asked: round(bound() + better * 0.001, 5)}).verdict == "pass"
    found = one(Whole(rated=rated()), metric=metric, **{asked: round(bound() - better * 0.001, 5)})
    assert (found.verdict, found.patients, found.kind) == ("fail", 80, "whole")
    assert (found.figure - found.bound) * better < 0, "the figure itself is better than its bound"


def test_a_detector_goes_by_the_bound_of_its_sensitivity():
    told = sensitivity_bound(scans(), 1.0, seed=7)
    assert told.mean == froc(scans(), rates=(1.0,)).at_rates[0] > told.bound
    asked = {"metric": "froc_sensitivity", "false_positives": 1}
    assert one(Whole(scans()), at_least=round(told.bound - 0.001, 5), **asked).verdict == "pass"
    found = one(Whole(scans()), at_least=round(told.bound + 0.001, 5), **asked)
    assert (found.verdict, found.figure) == ("fail", pytest.approx(told.mean))
    assert "at 1 false positives per scan" in found.asked
    assert sensitivity_bound(scans(), 0.125, seed=7).mean <= told.mean
    assert one(Whole(scans()), metric="auc", at_least=0.6).verdict == "pass", "scans have an area, too"


@pytest.mark.parametrize(("whole", "asked", "told"), [
    (Whole(rated=rated(GOOD[:58], TRUTH[:58])), {"metric": "auc", "at_least": 0.5}, "29 patients with and 29 without"),
    (Whole(rated=rated(GOOD, [True] * 80)), {"metric": "auc", "at_least": 0.5}, "an area needs both"),
    (Whole(rated=rated(GOOD[:49], TRUTH[:49])), {"metric": "brier", "at_most": 0.9}, "49 patients, at least 50"),
    (Whole(rated=rated(GOOD[:49], TRUTH[:49])), {"metric": "ece", "at_most": 0.9}, "49 patients, at least 50"),
    (Whole(rated=rated()), {"metric": "ece", "at_most": 0.9, "patients": 90}, "80 patients, at least 90"),
    (Whole(rated=rated(patients=[f"p{i // 2}" for i in range(80)])), {"metric": "auc", "at_least": 0.5}, "40 of 80 cases"),
    (Whole(rated=rated()), {"metric": "froc_sensitivity", "at_least": 0.5, "false_positives": 1}, "no findings with scores"),
    (Whole(scans()), {"metric": "brier", "at_most": 0.5}, "no probabilities"),
    (Whole(scans(58)), {"metric": "froc_sensitivity", "at_least": 0.1, "false_positives": 1}, "29 patients with a lesion"),
    (Whole(tuple(scan([], [0.3], name=f"s{i}") for i in range(80))), {"metric": "froc_sensitivity", "at_least": 0.1, "false_positives": 1},
     "no scan has a lesion"),
    (Whole(rated=rated(), unread=("x",)), {"metric": "auc", "at_least": 0.5}, "1 cases could not be read"),
    (Whole(), {"metric": "auc", "at_least": 0.5}, "no findings or probabilities"),
])  # fmt: skip
def test_what_cannot_be_judged_is_refused(whole, asked, told):
    found = one(whole, **asked)
    assert (found.verdict, found.bound) == ("refused", None)
    assert told in found.reason


def test_a_failed_case_is_the_surest_mistake_and_stands_in_the_failures():
    values = [None if i in {0, 1} else value for i, value in enumerate(GOOD)]
    gate = verdicts("failures = 2\n[[criterion]]\nmetric = 'auc'\nat_least = 0.5\n[[criterion]]\nmetric = 'brier'\nat_most = 0.9",
                    Whole(rated=rated(values)))
    failures, area, brier = gate.verdicts
    assert (failures.verdict, failures.figure) == ("pass", 2)
    assert area.figure < auc(GOOD, TRUTH).value
    assert brier.figure == pytest.approx(np.mean([1.0 if value is None else (value - has) ** 2 for value, has in zip(values, TRUTH, strict=True)]))
    strict = verdicts("[[criterion]]\nmetric = 'auc'\nat_least = 0.5", Whole(rated=rated(values)))
    assert (strict.verdict, strict.verdicts[0].verdict) == ("fail", "fail")
    whole = (*scans(79), scan([None], failed=True, name="x"))
    assert judge(parse("[[criterion]]\nmetric = 'auc'\nat_least = 0.5"), Study((), None, None, Groups(), Whole(whole)), seed=7).verdicts[0].verdict == "fail"


def test_perfect_is_not_certain():
    """A hundred draws of what never fails are all alike; what nobody saw may still happen."""
    perfect = tuple(scan([0.9] if number % 2 else [], [], name=f"s{number:02}") for number in range(80))
    told = sensitivity_bound(perfect, 1.0, seed=7)
    assert told.mean == 1.0
    assert 0.85 < told.bound < 0.93, "40 of 40 lesions: Clopper and Pearson's lower end is 0.912, a little farther out"
    area = auc_bound([float(has) for has in TRUTH], TRUTH)
    assert area.mean == 1.0
    assert area.bound < 0.95
    assert sensitivity_bound(tuple(scan([None], [], name=f"s{i}") for i in range(40)), 1.0, seed=7).bound == 0.0


def test_equal_scores_are_one_threshold_in_every_draw():
    """All findings have one score: called together, they are too many false ones, and nothing is found."""
    tied = tuple(scan([0.5], [0.5, 0.5], name=f"s{number:02}") for number in range(40))
    assert sensitivity_bound(tied, 1.0, seed=7).bound == 0.0
    assert sensitivity_bound(tied, 2.0, seed=7).mean == 1.0


def test_a_mask_metric_without_masks_is_refused_not_passed_over():
    gate = verdicts("[[criterion]]\nmetric = 'dice'\nat_least = 0.1", Whole(rated=rated()))
    assert [one.verdict for one in gate.verdicts] == ["pass", "refused"]


@pytest.mark.parametrize(("toml", "told"), [
    ("metric = 'auc'\nat_least = 0.8\nlabel = 'lung'", "over all cases at once"),
    ("metric = 'auc'\nmargin = 0.1\nthan = 'baseline'", "over all cases at once"),
    ("metric = 'auc'\nat_least = 0.8\nshare = 0.5", "over all cases at once"),
    ("metric = 'froc_sensitivity'\nat_least = 0.8", "false_positives"),
    ("metric = 'auc'\nat_least = 0.8\nfalse_positives = 1", "false_positives"),
    ("metric = 'froc_sensitivity'\nat_least = 0.8\nfalse_positives = -1", "false_positives"),
])  # fmt: skip
def test_criteria_that_make_no_sense_are_refused_at_once(toml, told):
    with pytest.raises(WrongUse, match=told):
        parse("[[criterion]]\n" + toml)


def test_the_wrong_side_is_refused_before_anything_runs():
    for metric, side in (("auc", "at_most"), ("brier", "at_least")):
        with pytest.raises(WrongUse, match="the other side"):
            check_askable(parse(f"[[criterion]]\nmetric = '{metric}'\n{side} = 0.5"), ["lung"])
    check_askable(parse("[[criterion]]\nmetric = 'ece'\nat_most = 0.5"), [])


def test_a_report_is_held_against_the_criteria_once_more():
    criteria = parse("[[criterion]]\nmetric = 'auc'\nat_least = 0.8\n[[criterion]]\nmetric = 'brier'\nat_most = 0.25")
    gate = judge(criteria, Study((), None, None, Groups(), Whole(rated=rated())), seed=7)
    assert gate.passed
    told = json.loads(json.dumps(gate.as_metrics()))
    check_met(criteria, told, report="r", first=True)
    told["verdicts"][1]["bound"] = 0.79
    with pytest.raises(ModelError, match="did not pass"):
        check_met(criteria, told, report="r", first=True)
    assert "0.250" in gate._repr_html_()
    assert margins(gate).data.startswith(b"\x89PNG")


def test_what_scored_cases_hold_comes_back_from_json():
    told = [json.loads(json.dumps({"case": each.case, "findings": {"model": asdict(each)}})) for each in scans(6)]
    assert whole_of(told, "model").scans == scans(6)
    assert whole_of(told, "baseline") == Whole()
    probable = [{"probabilities": {"model": asdict(each)}} for each in rated()]
    told = whole_of([*probable, {"key": "x", "failed": "gap"}], "model")
    assert told == Whole(rated=rated(), unread=("x",))
    assert told.failed == {"x"}
    assert whole_of([{"key": "x", "failed": "gap"}, {"case": "a", "scores": {}}], "model") == Whole(), "a study of masks"


@pytest.mark.parametrize("recipe", ["lung-lesions", "enlarged-heart"])
def test_the_criteria_that_come_with_ai_lab_ask_for_what_these_models_give(recipe, workspace):
    standing = in_force(workspace.catalog, "mine", alias="champion", recipe=recipe)
    assert standing.origin == "come with AI-LAB"
    assert {one.kind for one in standing.criteria.criteria} == {"whole"}
    assert all(one.patients >= 60 for one in standing.criteria.criteria)
    check_askable(standing.criteria, [])


def test_minimums_are_declared():
    assert {name: MINIMUM[f"{name} gate"] for name in ("auc", "froc", "brier", "ece")} == {"auc": 30, "froc": 30, "brier": 50, "ece": 50}
