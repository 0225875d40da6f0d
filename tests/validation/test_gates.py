"""Criteria against scored cases: by the bound, by the patient, refused where nothing can be said, failures as the worst."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ailab_kernel.datasets.dataset import Datasets
from ailab_kernel.ground.errors import Leakage, SettingsError, WrongUse
from ailab_kernel.models import Models
from ailab_kernel.models.acceptance import check_met, parse
from ailab_kernel.validation.gates import (
    Study,
    alone,
    ask,
    check_askable,
    criteria_text,
    forest,
    headline,
    judge,
    leakage_of,
    margins,
    reference_of,
)
from ailab_kernel.validation.statistics import mean_bound, proportion
from ailab_kernel.validation.study import CaseScores
from ailab_kernel.validation.subgroups import Groups, by_subgroup, groups_of
from tests.models.test_bundle import make_bundle

from .test_study import case

RANDOM = np.random.default_rng(3)
DICE = RANDOM.normal(0.85, 0.03, 24)


def rows(values, *, metric="dice", label="wall", failed=(), patients=None):
    return [CaseScores(f"c{i:02}", patients[i] if patients else f"p{i:02}", label, {metric: float(value)},
                       "no memory" if i in failed else "") for i, value in enumerate(values)]  # fmt: skip


def study(values, rival=None, *, champion=None, groups=None, **how):
    return Study(rows(values, **how), rows(rival, **how) if rival is not None else None, champion, groups or Groups())


def verdicts(toml, of):
    return judge(parse(toml), of, seed=7).verdicts[1:]


def one(toml, of):
    found, = verdicts(toml, of)
    return found


def criterion(**asked):
    return "[[criterion]]\n" + "\n".join(f"{key} = {value!r}" for key, value in ({"metric": "dice"} | asked).items())


def test_a_mean_goes_by_its_bound_not_by_itself():
    bound = mean_bound(DICE, [f"p{i:02}" for i in range(24)], seed=7).bound
    assert one(criterion(at_least=round(bound - 0.001, 4)), study(DICE)).verdict == "pass"
    found = one(criterion(at_least=round(bound + 0.001, 4)), study(DICE))
    assert (found.verdict, found.patients) == ("fail", 24)
    assert found.figure > found.limit > found.bound
    assert "patients would be enough" in found.reason


def test_distances_go_by_the_upper_bound():
    distances = RANDOM.gamma(4, 1, 30)
    found = one(criterion(metric="hd95", at_most=100.0), study(distances, metric="hd95"))
    assert (found.verdict, found.figure < found.bound) == ("pass", True)
    assert one(criterion(metric="hd95", at_most=float(distances.mean())), study(distances, metric="hd95")).verdict == "fail"


@pytest.mark.parametrize(("values", "asked", "told"), [
    (DICE[:19], {"at_least": 0.1}, "19 patients, at least 20"), (DICE[:10], {"at_least": 0.1, "patients": 5}, "at least 20"),
    (DICE, {"at_least": 0.1, "patients": 30}, "24 patients, at least 30"), ([0.9] * 24, {"at_least": 0.1}, "the same value"),
    ([0.9] * 23 + [0.8], {"at_least": 0.1}, "too few different"), (DICE[:5], {"at_least": 0.1, "share": 0.1, "patients": 9}, "at least 9"),
    (DICE, {"margin": 0.02, "than": "baseline"}, "was not run"), (DICE, {"at_least": 0.1, "subgroup": "sex"}, "no group has 10"),
])  # fmt: skip
def test_what_cannot_be_judged_is_refused(values, asked, told):
    gate = judge(parse(criterion(**asked)), study(values), seed=7)
    found, = gate.verdicts[1:]
    assert (found.verdict, found.bound, gate.passed, gate.verdict) == ("refused", None, False, "refused")
    assert told in found.reason


def test_two_studies_of_a_patient_are_one_observation():
    patients = [f"p{i // 2}" for i in range(24)]
    found = one(criterion(at_least=0.1), study(DICE, patients=patients))
    assert (found.verdict, found.patients) == ("refused", 12)
    shares = one(criterion(at_least=0.8, share=0.1), study([0.9, 0.7] * 12, patients=patients))
    assert (shares.figure, shares.patients) == (0.0, 12), "each of a patient's cases has to reach it"


def test_a_share_goes_by_clopper_and_pearson():
    values = [0.9] * 29 + [0.5]
    found = one(criterion(at_least=0.8, share=0.8), study(values))
    assert found.bound == pytest.approx(proportion(29, 30).exact_low, abs=1e-6)
    assert (found.verdict, found.figure) == ("pass", pytest.approx(29 / 30))
    assert one(criterion(at_least=0.8, share=0.95), study(values)).verdict == "fail"


def test_a_failed_case_counts_as_the_worst_and_by_itself():
    values = [*DICE[:23], 0.0]
    gate = judge(parse(criterion(at_least=0.5)), study(values, failed=[23]), seed=7)
    assert [found.verdict for found in gate.verdicts] == ["fail", "pass"]
    assert gate.verdict == "fail"
    assert judge(parse("failures = 1\n" + criterion(at_least=0.5)), study(values, failed=[23]), seed=7).passed
    without = [replace(row, values={}) if row.failed else row for row in rows(values, failed=[23])]
    found = judge(parse(criterion(at_least=0.5)), Study(without, None, None, Groups()), seed=7).verdicts[1]
    assert found.figure == pytest.approx(np.mean(values)), "a figure that a failed case lacks is the worst one"


def test_not_worse_than_another():
    asked = criterion(margin=0.02, than="baseline")
    assert one(asked, study(DICE, DICE - 0.1 + RANDOM.normal(0, 0.01, 24))).verdict == "pass"
    assert one(asked, study(DICE, DICE + 0.05 + RANDOM.normal(0, 0.01, 24))).verdict == "fail"
    assert one(asked, study(DICE, DICE)).verdict == "pass", "the very same figures are not worse"
    assert one(asked, study(DICE[:5], DICE[:5])).verdict == "refused"
    longer = criterion(metric="hd95", margin=1.0, than="baseline")
    near = RANDOM.gamma(4, 1, 30)
    assert one(longer, study(near, near + 2 + RANDOM.normal(0, 0.1, 30), metric="hd95")).verdict == "pass"
    assert one(longer, study(near + 2 + RANDOM.normal(0, 0.1, 30), near, metric="hd95")).verdict == "fail"


def test_beside_the_champion():
    asked = criterion(margin=0.02, than="champion")
    first = one(asked, study(DICE))
    assert (first.verdict, first.bound, first.reason) == ("pass", None, "there is no champion yet")
    assert one(asked, study(DICE, DICE - 0.1 + RANDOM.normal(0, 0.01, 24), champion=True)).verdict == "pass"
    assert one(asked, study(DICE, DICE - 0.1, champion=False)).verdict == "refused", "another model was run instead"


def test_every_subgroup_that_is_large_enough():
    facts = [{"PatientSex": "F"}] * 12 + [{"PatientSex": "M"}] * 10 + [{"PatientSex": "O"}] * 2
    groups = groups_of([replace(case(f"c{i:02}"), facts=one) for i, one in enumerate(facts)])
    values = np.r_[np.full(12, 0.9), np.full(10, 0.7), np.full(2, 0.1)] + RANDOM.normal(0, 0.001, 24)
    found = verdicts(criterion(at_least=0.8, subgroup="sex"), study(values, groups=groups))
    assert [(one.verdict, one.patients) for one in found] == [("pass", 12), ("fail", 10)]
    assert "in sex male" in found[1].asked


def test_every_label_unless_one_is_named():
    both = Study([*rows(DICE), *rows(DICE - 0.5, label="cavity")], None, None, Groups())
    found = verdicts(criterion(at_least=0.7), both)
    assert [one.verdict for one in found] == ["pass", "fail"]
    assert [one.number for one in found] == [1, 1]
    assert len(verdicts(criterion(at_least=0.7, label="wall"), both)) == 1


@pytest.mark.parametrize(("asked", "told"), [
    ({"metric": "dicee", "at_least": 0.5}, "there is no metric 'dicee'"), ({"label": "lung", "at_least": 0.5}, "no label 'lung'; it has wall"),
    ({"at_most": 0.5}, "better when it is larger"), ({"metric": "hd95", "at_least": 5}, "better when it is smaller"),
    ({"metric": "volume_ml", "at_least": 5}, "no better side"), ({"at_least": 0.5, "subgroup": "shoe size"}, "no subgroup 'shoe size'"),
])  # fmt: skip
def test_what_cannot_be_measured_is_said_before_anything_runs(asked, told):
    with pytest.raises(WrongUse, match=f"criterion 1: .*{told}"):
        check_askable(parse(criterion(**asked)), ["wall"])


def test_the_figures_bear_the_verdict_out():
    criteria = parse("\n".join([criterion(at_least=0.7), criterion(at_least=0.7, share=0.5),
                                criterion(margin=0.02, than="champion")]))  # fmt: skip
    gate = judge(criteria, study(DICE), seed=7)
    assert gate.passed
    check_met(criteria, gate.as_metrics(), report="r", first=True)
    assert judge(criteria, study(DICE), seed=7).as_metrics() == gate.as_metrics()
    assert [one.metric for one in alone(criteria).criteria] == ["dice", "dice"]
    assert "passes the gate for @champion: 4 of 4" in headline(gate, "x@1", alias="champion")


def test_pages_and_pictures_escape_and_show():
    gate = judge(parse(f"title = '<b>'\n{criterion(at_least=0.7)}"), study(DICE, label="<wall>"), seed=7)
    page = gate._repr_html_() + criteria_text(gate.criteria)._repr_html_() + headline(gate, "<x>", alias="champion")
    assert "&lt;wall&gt;" in page
    assert "&lt;b&gt;" in page
    assert "<wall>" not in page
    assert gate.criteria.digest in page
    assert margins(gate).data.startswith(b"\x89PNG")
    assert margins(judge(parse(""), study(DICE), seed=7)) is None
    sizes = [CaseScores(f"c{i:02}", f"p{i}", "wall", {"dice": 0.8 + i / 500, "truth_ml": float(i + 1)}) for i in range(24)]
    assert forest(by_subgroup(sizes, groups_of([], sizes), metric="dice", seed=7)).data.startswith(b"\x89PNG")
    assert forest(by_subgroup(sizes[:3], groups_of([], sizes[:3]), metric="dice", seed=7)) is None


def frozen(catalog, name, split, *, pixels="1", patient="p"):
    """A dataset version without images: only its record is looked at."""
    label = {"index": 1, "name": "lung", "code": {"value": "1", "scheme": "SCT", "meaning": "Lung"},
             "category": {"value": "2", "scheme": "SCT", "meaning": "Structure"}, "color": [1, 2, 3]}  # fmt: skip
    made = {"id": "c", "patient": patient, "split": split, "image": "0" * 64, "truth": "0" * 64, "study_uid": "1.2",
            "series_uid": "1.2.3", "facts": {"pixels": pixels}}  # fmt: skip
    record = catalog.append("dataset", {"labels": [label], "cases": [made]}, name=name)
    return Datasets(catalog).find(record.digest)


def test_a_validation_is_resolved_before_it_runs(workspace, tmp_path):
    catalog, models = workspace.catalog, Models(workspace.catalog)
    model, other = (models.import_bundle(make_bundle(tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    data = frozen(catalog, "check", "test")
    asked = ask(catalog, model, data)
    given = models.criteria("tiny").criteria
    assert (asked.parameters["criteria"], asked.resolved["criteria"]) == (given.digest, given.digest)
    assert catalog.get(given.digest).decode() == given.text
    assert (asked.parameters["baseline"], asked.parameters["champion"]) == ("", "")
    catalog.point("model", "tiny", "champion", digest=other.digest)
    toml = criterion(margin=0.02, than="champion")
    assert ask(catalog, model, data, criteria=toml).parameters["baseline"] == other.ref, "the champion is the rival"
    assert ask(catalog, model, data).parameters["baseline"] == ""
    assert ask(catalog, other, data, criteria=toml).parameters["champion"] == "", "it is not its own rival"
    assert ask(catalog, model, data, baseline=other.ref).resolved["baseline"] == other.digest
    (tmp_path / "own.toml").write_text(toml)
    assert ask(catalog, model, data, criteria=tmp_path / "own.toml").parameters["criteria"] == parse(toml).digest
    with pytest.raises(SettingsError, match=r"none\.toml cannot be read"):
        ask(catalog, model, data, criteria=Path("none.toml"))
    with pytest.raises(WrongUse, match="no label 'wall'"):
        ask(catalog, model, data, criteria=criterion(at_least=0.5, label="wall"))


@pytest.mark.parametrize(("pixels", "patient", "told"), [("1", "other", "1 images"), ("9", "p", "1 patients"), ("9", "other", "")])
def test_no_patient_and_no_pixels_on_both_sides(workspace, tmp_path, pixels, patient, told):
    catalog = workspace.catalog
    learned, tested = frozen(catalog, "learned", "train"), frozen(catalog, "check", "test", pixels=pixels, patient=patient)
    bundle = Models(catalog).add(Models(catalog).import_bundle(make_bundle(tmp_path / "b")), parents=(learned.digest,))
    leakage = leakage_of(catalog, [bundle], tested)
    assert leakage.clean == (not told)
    assert leakage.rows[0][:3] == (bundle.ref, "learned@1", 1)
    if told:
        with pytest.raises(Leakage, match=f"shares {told} with the test cases"):
            ask(catalog, bundle, tested)
    else:
        ask(catalog, bundle, tested)
        assert "0</td>" in leakage._repr_html_()


def test_the_reference_says_who_drew_it(workspace):
    catalog = workspace.catalog
    steps = [catalog.append("annotation", {"reader": who, "series": "1.2.3", "state": state}, name="task-1")
             for who, state in (("model", "proposed"), ("reader-a", "submitted"), ("reader-b", "accepted"))]  # fmt: skip
    body = frozen(catalog, "check", "test")
    record = catalog.append("dataset", catalog.query("dataset", digest=body.digest)[0].body | {"of": 2}, name="check",
                            parents=(steps[-1].digest,))  # fmt: skip
    page = reference_of(catalog, Datasets(catalog).find(record.digest))._repr_html_()
    for wanted in (record.digest, "reader-a (1 cases)", "reader-b (1 cases)", "1 of 1 patients", "Lung, SCT 1"):
        assert wanted in page
