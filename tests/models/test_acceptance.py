"""Criteria are read strictly; what is in force, who approved and what was revoked come from the ledger."""

import pytest

from ailab_kernel.ground.errors import ModelError, NotFound, WrongUse
from ailab_kernel.ground.ids import sha256
from ailab_kernel.models import Models
from ailab_kernel.models.acceptance import Criterion, check_met, declare, in_force, parse

from .judged import Report, dataset_in, gate_of
from .test_bundle import make_bundle

WHOLE = """
title = "Tiny things"
aliases = ["champion"]
dataset = "check@1"
approvals = 1
failures = 2

[[criterion]]
label = "lung"
metric = "dice"
at_least = 0.8
patients = 30

[[criterion]]
metric = "hd95"
at_most = 5

[[criterion]]
metric = "dice"
at_least = 0.7
share = 0.9

[[criterion]]
metric = "dice"
at_least = 0.7
subgroup = "scanner"

[[criterion]]
metric = "dice"
margin = 0.02
than = "champion"
"""


def test_criteria_come_whole():
    found = parse(WHOLE)
    assert (found.digest, found.title, found.aliases) == (sha256(WHOLE.encode()), "Tiny things", ("champion",))
    assert (found.dataset, found.approvals, found.failures) == ("check@1", 1, 2)
    assert [one.kind for one in found.criteria] == ["mean", "mean", "share", "subgroup", "margin"]
    assert [one.limit for one in found.criteria] == [0.8, 5.0, 0.9, 0.7, -0.02]
    assert found.covers("champion")
    assert not found.covers("challenger")
    assert found.asks_of("champion")
    assert not found.asks_of("baseline")


@pytest.mark.parametrize(("asked", "good", "bad"), [
    (Criterion("dice", at_least=0.8), 0.8, 0.7999), (Criterion("hd95", at_most=5), 5.0, 5.001),
    (Criterion("hd95", at_most=5, share=0.9), 0.9, 0.89), (Criterion("dice", margin=0.02, than="baseline"), -0.0199, -0.02),
    (Criterion("hd95", margin=1.0, than="champion"), -0.9, -1.1),
])  # fmt: skip
def test_a_bound_on_the_good_side(asked, good, bad):
    assert asked.met(good)
    assert not asked.met(bad)


@pytest.mark.parametrize(("toml", "told"), [
    ("title = ", "no TOML"), ("tittle = 'x'", "'tittle' is not known"), ("failures = true", "wrong kind"),
    ("failures = -1", "0 or more"), ("aliases = ['Not A Name']", "no name"), ("aliases = [1]", "no name"),
    ("dataset = 'Check'", "no name"), ("criterion = [1]", "criterion 1 is no table"),
    ("[[criterion]]\nlabel = 'x'", "criterion 1 names no metric"), ("[[criterion]]\nmetric = 'dice'", "needs one of"),
    ("[[criterion]]\nmetric = 'dice'\nat_least = 0.5\nat_most = 0.6", "needs one of"),
    ("[[criterion]]\nmetric = 'dice'\nat_least = 0.5\nthan = 'baseline'", "needs one of"),
    ("[[criterion]]\nmetric = 'dice'\nat_least = nan", "wrong kind"),
    ("[[criterion]]\nmetric = 'dice'\nthan = 'best'", "than is one of baseline, champion"),
    ("[[criterion]]\nmetric = 'dice'\nat_least = 0.5\nmargin = 0.1", "a margin without than"),
    ("[[criterion]]\nmetric = 'dice'\nat_least = 0.5\nshare = 0.9\nsubgroup = 'sex'", "takes one of"),
    ("[[criterion]]\nmetric = 'dice'\nat_least = 0.5\nshare = 1.5", "outside 0 to 1"),
    ("[[criterion]]\nmetric = 'dice'\nat_least = 0.5\npatients = 0", "fewer than 1"),
    ("[[criterion]]\nmetric = 'dice'\nthan = 'baseline'\nmargin = -0.1", "a margin below 0"), ("x" * 70_000, "at most"),
])  # fmt: skip
def test_what_cannot_be_asked_is_said(toml, told):
    with pytest.raises(WrongUse, match=told):
        parse(toml)


def test_the_labs_own_come_before_the_products(workspace):
    catalog = workspace.catalog
    assert in_force(catalog, "x", alias="champion", recipe="heart-wall").criteria.title == "Heart wall and cavity on chest CT"
    assert "worse than before" in in_force(catalog, "x", alias="champion", recipe="spleen").criteria.title
    declare(catalog, "x", "title = 'one'")
    declare(catalog, "x", "title = 'two'\naliases = ['challenger']")
    of = {alias: in_force(catalog, "x", alias=alias, recipe="spleen") for alias in ("champion", "challenger")}
    assert {alias: one.criteria.title for alias, one in of.items()} == {"champion": "one", "challenger": "two"}
    assert "criteria x@1 of" in of["champion"].origin
    again = declare(catalog, "x", "title = 'one'")
    assert again.version == 3, "criteria that come back are a new entry"
    assert declare(catalog, "x", "title = 'one'") == again
    assert in_force(catalog, "y", alias="champion", recipe="spleen").origin == "come with AI-LAB"


def _told(**changes):
    criteria = parse(WHOLE)
    gate = gate_of(criteria)
    for number, change in changes.items():
        gate["verdicts"][int(number[1:])] |= change
    check_met(criteria, gate, report="r", first=False)


def test_verdicts_are_held_against_the_criteria_once_more():
    _told()
    for change in ({"verdict": "refused", "reason": "8 patients"}, {"bound": 0.79}, {"bound": None}, {"patients": 29}):
        with pytest.raises(ModelError, match="did not pass its gate"):
            _told(n1=change)
    for number, change in (("n0", {"bound": 3}), ("n2", {"bound": 5.1}), ("n3", {"bound": 0.8}), ("n4", {"number": 9}),
                           ("n5", {"bound": -0.03}), ("n5", {"bound": "good"})):  # fmt: skip
        with pytest.raises(ModelError, match="did not pass its gate"):
            _told(**{number: change})
    for nothing in (None, {}, {"verdicts": []}, {"verdicts": [{}], "criteria": "0" * 64}):
        with pytest.raises(ModelError, match="not judged by the criteria in force"):
            check_met(parse(WHOLE), nothing, report="r", first=False)


def test_without_a_champion_there_is_nothing_to_be_worse_than():
    criteria = parse(WHOLE)
    gate = gate_of(criteria)
    gate["verdicts"][5]["bound"] = None
    check_met(criteria, gate, report="r", first=True)
    with pytest.raises(ModelError):
        check_met(criteria, gate, report="r", first=False)


@pytest.fixture
def two(tmp_path, workspace):
    """Two models and the lab that holds them."""
    models = Models(workspace.catalog)
    return models, *(models.import_bundle(make_bundle(tmp_path / str(seed), seed=seed)) for seed in (1, 2))


def test_an_approval_by_the_same_person_is_none(two, workspace):
    models, one, _ = two
    models.declare("tiny", "approvals = 1")
    report = Report(workspace.catalog, one)
    models.approve(one, "champion", evidence=report)
    with pytest.raises(ModelError, match=r"needs 1 more approval .*ailab models approve tiny@1 champion --evidence"):
        models.promote(one, "champion", evidence=report)
    Models(workspace.catalog.by("chair")).approve(one, "champion", evidence=report)
    other = Report(workspace.catalog, one, id="validate-11111111")
    with pytest.raises(ModelError, match="needs 1 more approval"):
        models.promote(one, "champion", evidence=other)
    models.promote(one, "champion", evidence=report)
    assert models.get("tiny@champion") == one


def test_revoked_to_nothing_and_back(two, workspace):
    models, one, other = two
    models.promote(one, "champion", evidence=Report(workspace.catalog, one, id="validate-1"))
    models.promote(other, "champion", evidence=Report(workspace.catalog, other, id="validate-2"))
    for reason in ("", "  "):
        with pytest.raises(WrongUse, match="a reason is needed"):
            models.revoke("tiny", "champion", reason=reason)
    assert models.revoke("tiny", "champion", reason="misses thin walls", back=True) == one.digest
    assert models.get("tiny@champion") == one
    with pytest.raises(NotFound, match="meant no other model before"):
        models.revoke("tiny", "champion", reason="worse still", back=True)
    assert models.revoke("tiny", "champion", reason="worse still") == ""
    assert models.aliases("tiny") == {}
    assert [move.reason for move in models.history("tiny")][2:] == ["revoked: misses thin walls", "revoked: worse still"]
    with pytest.raises(NotFound):
        models.revoke("tiny", "champion", reason="once more")
    with pytest.raises(ModelError, match=r"was revoked as champion after report validate-2 \(misses thin walls\)"):
        models.promote(other, "champion", evidence=Report(workspace.catalog, other, id="validate-2"))
    models.promote(other, "champion", evidence=Report(workspace.catalog, other, id="validate-3"))
    assert models.get("tiny@champion") == other


def test_a_challenger_is_compared_with_the_champion_of_today(two, workspace):
    models, one, other = two
    models.declare("tiny", "[[criterion]]\nmetric = 'dice'\nmargin = 0.02\nthan = 'champion'")
    models.promote(one, "champion", evidence=Report(workspace.catalog, one))
    stale = Report(workspace.catalog, other, id="validate-2", resolved={"baseline": "7" * 64})
    with pytest.raises(ModelError, match="another model than the champion of today"):
        models.promote(other, "challenger", evidence=stale)
    fair = Report(workspace.catalog, other, id="validate-3", resolved={"baseline": one.digest})
    models.promote(other, "challenger", evidence=fair)
    assert models.aliases("tiny") == {"champion": one.digest, "challenger": other.digest}


def test_another_datasets_report_is_refused_by_name(two, workspace):
    models, one, _ = two
    models.declare("tiny", "dataset = 'check'")
    with pytest.raises(ModelError, match="is on dataset other@1; the criteria in force ask for check"):
        models.promote(one, "champion", evidence=Report(workspace.catalog, one, dataset=dataset_in(workspace.catalog, "other")))
    models.promote(one, "champion", evidence=Report(workspace.catalog, one))
