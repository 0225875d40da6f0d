"""The record of a validation: checklists by their numbers, filled from what is known, honest about what is not."""

import json
import re
from dataclasses import asdict, replace

import pytest

from ailab_kernel.datasets.dataset import Case, Datasets
from ailab_kernel.models import Models, read_bundle
from ailab_kernel.models.acceptance import parse
from ailab_kernel.reports import record
from ailab_kernel.reports.library import template
from ailab_kernel.reports.record.checklists.items import HERE, NONE, PART, SITE
from ailab_kernel.reports.record.facts import FACTS
from ailab_kernel.validation import gates, study
from ailab_kernel.validation.subgroups import by_subgroup, groups_of
from tests.models.test_bundle import make_bundle
from tests.validation.shapes import LUNG

CHECKLISTS = {one.title: one for one in (record.CLAIM_2024, record.TRIPOD_AI, record.FDA_2025)}
TRIPOD = ["1", "2", "3a", "3b", "3c", "4", "5a", "5b", "6a", "6b", "6c", "7", "8a", "8b", "8c", "9a", "9b", "9c", "10", "11", "12a", "12b", "12c", "12d", "12e", "12f", "12g", "13", "14", "15", "16", "17", "18a", "18b", "18c", "18d", "18e", "18f", "19", "20a", "20b", "20c", "21", "22", "23a", "23b", "24", "25", "26", "27a", "27b", "27c"]  # fmt: skip
DEVELOPMENT_ONLY = {"9a", "12a", "12b", "12c", "15", "22", "27a", "27b"}
EVALUATION_ONLY = {"12f", "12g", "20c", "24"}
ALWAYS = {"frozen", "readers", "reviewers", "versions", "lock", "code"}
CRITERIA = 'title = "Tiny"\n[[criterion]]\nmetric = "dice"\nat_least = 0.5\n'


def cases(count: int, split: str = "test", **facts: str) -> list[dict]:
    known = {"Modality": "CT", "SliceThickness": "2.5", "PatientAge": "061Y"}
    return [asdict(Case(f"{split}{i}", f"{split}-p{i}", split, f"{split}{i}", "0" * 64, "1.2", f"1.2.{split}.{i}",
                        {**known, "PatientSex": "FM"[i % 2], "site": f"site {'ab'[i % 2]}", **facts})) for i in range(count)]  # fmt: skip


def frozen(catalog, name: str, *found: dict):
    catalog.append("dataset", {"labels": [asdict(LUNG)], "cases": list(found)}, name=name)
    return Datasets(catalog).get(name)


@pytest.fixture
def studied(workspace, tmp_path):
    """24 test cases, one of them failed, of a model that was tuned on ten others."""
    catalog, models = workspace.catalog, Models(workspace.catalog)
    learned, data = frozen(catalog, "lungs", *cases(10, "train")), frozen(catalog, "check", *cases(24))
    base = models.import_bundle(make_bundle(tmp_path / "base", seed=2))
    bundle = models.add(read_bundle(make_bundle(tmp_path / "tuned", intended_use="Lungs of adults.", limits="Knows no child.",
                                                training_data={"cases": 10}, made_with={"base": "tiny@1", "best epoch": 3})),
                        parents=(base.digest, learned.digest))  # fmt: skip
    values = [{"dice": 0.9 - 0.01 * i, "hd95": 2.0 + i, "truth_ml": 5.0 + i, "sensitivity": 0.9, "specificity": 1.0} for i in range(24)]
    values[3] |= {"dice": 0.0, "hd95": 300.0}
    rows = [study.CaseScores(f"test{i}", f"test-p{i}", "lung", one, "no memory" if i == 3 else "") for i, one in enumerate(values)]
    groups = groups_of(data.split("test"), rows)
    gate = gates.judge(parse(CRITERIA), gates.Study(rows, None, None, groups), seed=7)
    return record.Studied(
        catalog, data, {"model": bundle, "baseline": base}, rows, study.summarize(rows, seed=7),
        by_subgroup(rows, groups, metric="dice", seed=7), gates.leakage_of(catalog, [bundle, base], data),
        {"lung": study.compare(rows, rows, metric="dice", label="lung", seed=7)}, gate, alias="champion", seed=7,
        failures={"test3": "no memory"})  # fmt: skip


def test_claim_has_its_44_items_by_number():
    assert [item.number for item in record.CLAIM_2024.items] == [str(number) for number in range(1, 45)]


def test_tripod_has_its_52_items_by_number_and_scope():
    assert [item.number for item in record.TRIPOD_AI.items] == TRIPOD
    for item in record.TRIPOD_AI.items:
        wanted = "D" if item.number in DEVELOPMENT_ONLY else "E" if item.number in EVALUATION_ONLY else "D;E"
        assert item.scope == wanted, item.number


def test_the_performance_summary_says_that_its_numbers_are_our_own():
    assert [item.number for item in record.FDA_2025.items] == [f"P{number}" for number in range(1, 23)]
    assert "the numbers are ours" in record.FDA_2025.about
    assert "no medical device" in record.FDA_2025.about


@pytest.mark.parametrize("title", CHECKLISTS)
def test_every_item_is_answered_by_facts_that_exist_in_sections_that_exist(title):
    cells = template("validate").notebook["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    headings = {*re.findall(r"^#+ (.+)$", text, re.MULTILINE), *re.findall(r"<h2>([^<]+)</h2>", text), "end of the page", ""}
    for item in CHECKLISTS[title].items:
        assert item.facts <= {*FACTS, *ALWAYS}, item.number
        assert item.where in headings, item.number
        assert item.na or item.answer or item.site, f"{item.number} answers nothing"
        assert not (item.na and (item.answer or item.site)), item.number
        assert bool(item.where) == bool(item.answer), item.number


@pytest.mark.parametrize("title", CHECKLISTS)
def test_nothing_is_made_up_where_nothing_is_known(title):
    filled = CHECKLISTS[title].fill({})
    for line in filled.lines:
        assert line.state != HERE or not line.item.facts, line.item.number
        assert "{" not in line.answer
        assert "  " not in line.answer
        assert line.answer
    assert filled.counts[SITE] > 5


def test_a_sentence_with_an_unknown_fact_is_left_out_and_said_to_be_missing():
    item = record.Item("1", "Who", where="Result", answer=("Drawn by {readers}.", "Seen by {reviewers}."))
    whole, part, none = (record.Checklist("x", "y", (item,)).fill(facts).lines[0] for facts in (
        {"readers": "a", "reviewers": "b."}, {"readers": "a", "reviewers": ""}, {}))  # fmt: skip
    assert (whole.state, whole.answer, whole.where) == (HERE, "Drawn by a. Seen by b.", "Result")
    assert part.state == PART
    assert part.answer == "Drawn by a. To be filled by the site: not known to this lab's records."
    assert (none.state, none.answer, none.where) == (SITE, "Not known to this lab's records.", SITE)


def test_phantoms_have_no_ethics_committee_but_patients_have():
    lines = {facts.get("phantom"): {line.item.number: line for line in record.TRIPOD_AI.fill(facts).lines}
             for facts in ({}, {"phantom": "yes"})}  # fmt: skip
    assert lines[None]["17"].state == SITE
    assert lines["yes"]["17"].answer == "Not needed for phantoms: no patient was imaged."
    assert lines["yes"]["18a"].state == SITE, "even a study of phantoms was paid by somebody"


def test_facts_are_those_of_the_study(studied):
    facts = record.facts_of(studied)
    assert (facts["models"], facts["dataset"]) == ("tiny@2 beside tiny@1", "check@1")
    assert (facts["patients"], facts["cases"], facts["phantom"]) == ("24", "24", "")
    assert facts["failures"] == "1 of 24 cases failed."
    assert facts["worst"].split(", ")[:2] == ["test3", "test23"]
    assert "No leakage" in facts["leakage"]
    assert "tiny@2 passes the gate for @champion" in facts["verdict"] or "fails the gate" in facts["verdict"]
    assert '"Tiny", fixed before the run, SHA-256 ' in facts["criteria"]
    assert re.search(r"lung: Dice 0\.\d{3} \(0\.\d{3} to 0\.\d{3}\), HD95 \d+\.\d", facts["result"])
    assert facts["demography"] == "Sex: F (12), M (12). Age: 61 to 61 years, median 61."
    assert "2.5 to 2.5 mm" in facts["acquired"]
    assert facts["readers"] == facts["reviewers"] == "", "nobody is known to have drawn them"
    assert facts["initial"] == "From base: tiny@1."
    assert facts["comparison"].startswith("tiny@2 beside tiny@1, paired difference: lung: Dice +0.000")
    assert all(isinstance(text, str) for text in facts.values())
    assert set(facts) == {*FACTS, *ALWAYS}


def test_a_failed_case_is_in_every_count_of_every_list(studied):
    facts = record.facts_of(studied)
    for checklist, number in ((record.CLAIM_2024, "39"), (record.FDA_2025, "P18"), (record.TRIPOD_AI, "11")):
        line = next(line for line in checklist.fill(facts).lines if line.item.number == number)
        assert "1 of 24 cases failed" in line.answer


def test_leakage_that_cannot_be_known_is_not_called_clean(studied):
    alone = replace(studied, leakage=replace(studied.leakage, rows=()))
    assert "nothing can be compared" in record.leakage_said(alone)
    leaked = replace(studied, leakage=replace(studied.leakage, rows=(("tiny@2", "lungs@1", 10, 1, 0),)))
    assert record.leakage_said(leaked).startswith("Leakage:")


def test_the_cases_stand_beside_those_that_were_learned_from(studied):
    page = record.cases_table(studied)._repr_html_()
    assert "<th>tested</th><th>learned from: lungs@1</th>" in page
    assert "<td>patients</td><td></td><td>24</td><td>10</td>" in page
    assert "<td>sex</td><td>female</td><td>12</td><td>5</td>" in page
    assert "<td>scanner</td><td>not known</td>" in page


def test_lineage_says_what_came_from_outside(studied):
    page = record.lineage_table(studied)._repr_html_()
    assert "<td>tiny@2</td><td>model</td><td>1</td><td>tiny@1</td>" in page
    assert "<td></td><td>dataset</td><td>1</td><td>lungs@1</td>" in page
    assert "<td>tiny@1</td><td>nothing that this lab knows: it came from outside</td>" in page


def test_the_first_table_says_it_all_in_short(studied):
    facts = record.facts_of(studied)
    page = record.glance(facts)._repr_html_()
    assert "24 cases of 24 patients" in page
    assert "1 of 24 cases failed" in page
    assert "24 phantoms, no patient" in record.glance({**facts, "phantom": "yes"})._repr_html_()


def test_the_card_has_the_figures_of_this_report_and_says_phantoms(studied):
    facts = record.facts_of(studied)
    told = record.card_of(studied, facts).as_json()["Key metrics: safety and reliability"]
    assert told["SafetyReliability.Results"].startswith("1 of 24 cases failed.")
    phantoms = record.card_of(studied, {**facts, "phantom": "yes"}).as_json()["Key metrics: fairness"]
    assert "not clinical value" in phantoms["FairnessEquity.TestingDataDescription"]


def test_states_and_words_are_markup_safe(studied):
    facts = {**record.facts_of(studied), "intended": "<script>hit()</script>"}
    page = record.CLAIM_2024.fill(facts)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert NONE in page


def test_the_notebook_of_the_validation_is_filed_on_paper():
    assert template("validate").on_paper
    assert not template("infer").on_paper
    assert json.dumps(template("validate").notebook).count("record.") > 6


def test_a_model_without_masks_is_told_by_its_scores(studied):
    bare = replace(studied, rows=(), summary=study.Summary({}), comparisons={}, gate=None, scores={"AUC": "0.931 (0.902 to 0.952)"},
                   subgroups=by_subgroup([], groups_of(studied.tested), metric="dice", seed=7))  # fmt: skip
    facts = record.facts_of(bare)
    assert facts["result"] == facts["diagnostic"] == "AUC: 0.931 (0.902 to 0.952)."
    assert facts["metrics"] == "AUC"
    assert facts["shows"].startswith("The output is a score or a probability")
    assert facts["worst"] == facts["presence"] == facts["comparison"] == ""
    assert facts["verdict"] == "It was held against no acceptance criteria."
    for checklist in CHECKLISTS.values():
        assert "{" not in checklist.fill(facts)._repr_html_()
    assert "0.931" in record.glance(facts)._repr_html_()
    assert "0.931" in record.card_of(bare, facts).markdown()
    told = record.card_of(bare, facts).as_json()["Key metrics: safety and reliability"]
    assert "SafetyReliability.Interpretation" not in told, "there is no worst case to name"


def test_a_dataset_that_is_not_known_at_all_is_still_reported(studied):
    """Cases without a single fact: nothing is made up, and nothing falls over."""
    catalog = studied.catalog
    bare = frozen(catalog, "bare", *({**one, "facts": {}} for one in cases(3)))
    facts = record.facts_of(replace(studied, data=bare))
    assert facts["demography"] == facts["acquired"] == facts["sites"] == facts["deidentified"] == ""
    assert "not known" in record.cases_table(replace(studied, data=bare))._repr_html_()
