"""Subgroups: the right groups, an interval for each that is large enough, the gap, and comparisons that count how many."""

from dataclasses import replace

import numpy as np
import pytest

from ailab_kernel.validation.statistics import mean_interval, rank_sum_p
from ailab_kernel.validation.study import CaseScores, as_json
from ailab_kernel.validation.subgroups import by_subgroup, groups_of

from .test_study import case

VALUES = np.random.default_rng(5).normal(0.85, 0.02, 40)


def cases(*facts):
    return [replace(case(f"c{i:02}"), facts=one) for i, one in enumerate(facts)]


def rows(values, *, ml=None, metric="dice"):
    return [CaseScores(f"c{i:02}", f"p{i}", "wall", {metric: float(v), "truth_ml": float(ml[i] if ml is not None else 5)})
            for i, v in enumerate(values)]  # fmt: skip


@pytest.mark.parametrize(("attribute", "facts", "names"), [
    ("scanner", [{"Manufacturer": "A", "ManufacturerModelName": "1"}, {"Manufacturer": "B"}], ["A 1", "B"]),
    ("software", [{"SoftwareVersions": "v1"}, {}], ["v1", "not known"]),
    ("thickness", [{"SliceThickness": text} for text in ("5.0", "1", "0.8", "5.01", "2.5", "thick")],
     ["to 1 mm", "over 2 to 3 mm", "over 3 to 5 mm", "over 5 mm", "not known"]),
    ("sex", [{"PatientSex": "F"}, {"PatientSex": "M"}, {"PatientSex": ""}], ["female", "male", "not known"]),
    ("age", [{"PatientAge": text} for text in ("017Y", "018Y", "006M", "074Y", "075Y", "old")],
     ["under 18 years", "18 to 39 years", "60 to 74 years", "75 years and over", "not known"]),
    ("site", [{"site": "north"}, {"site": "south"}], ["north", "south"]),
])  # fmt: skip
def test_which_groups_there_are(attribute, facts, names):
    found = groups_of(cases(*facts)).of(attribute, "wall")
    assert list(found) == names
    assert sum(len(one) for one in found.values()) == len(facts)


@pytest.mark.parametrize(("count", "parts"), [(19, 2), (20, 2), (30, 3), (40, 4), (80, 4)])
def test_sizes_are_equal_parts_of_ten_or_more(count, parts):
    found = groups_of([], rows(np.ones(count), ml=np.arange(1, count + 1))).of("size", "wall")
    assert len(found) == parts
    assert max(map(len, found.values())) - min(map(len, found.values())) <= 1


def test_empty_references_are_a_group_of_their_own():
    found = groups_of([], rows(np.ones(24), ml=[0] * 4 + list(range(1, 21)))).of("size", "wall")
    assert len(found["none there"]) == 4
    assert groups_of([], rows(np.ones(3), ml=[0, 0, 0])).of("size", "wall") == {}


def test_figures_intervals_gap_and_the_small_ones():
    facts = [{"PatientSex": "F"}] * 20 + [{"PatientSex": "M"}] * 15 + [{"PatientSex": "O"}] * 5
    values = VALUES - np.r_[np.zeros(20), np.full(20, 0.1)]
    found = by_subgroup(rows(values), groups_of(cases(*facts)), metric="dice", seed=1)
    female, male, other = found.groups
    assert female.interval == mean_interval(values[:20], [f"p{i}" for i in range(20)], seed=1)
    assert (other.patients, other.interval, other.p) == (5, None, None)
    assert found.gap("sex", "wall") == pytest.approx(values[:20].mean() - values[20:35].mean())
    assert female.p == male.p == pytest.approx(rank_sum_p(values[:20], values[20:35])), "two groups are one comparison"
    assert female.p < 1e-6
    page = found._repr_html_()
    for wanted in ("insufficient", "female", "Fewer than 10 patients", "Not known of these cases: site, scanner"):
        assert wanted in page
    told = found.as_metrics()
    assert as_json(told) == told
    assert told["by"]["wall"]["sex"]["other"] == {"patients": 5}


def test_comparisons_are_adjusted_over_the_whole_table():
    facts = [{"PatientSex": "FM"[i % 2], "SoftwareVersions": f"v{i % 3}"} for i in range(40)]
    found = by_subgroup(rows(VALUES), groups_of(cases(*facts)), metric="dice", seed=1)
    raw = rank_sum_p(VALUES[::2], VALUES[1::2])
    of = {one.name: one.p for one in found.groups}
    assert of["female"] == of["male"] >= raw
    assert max(of.values()) <= 1.0
    assert of["female"] == pytest.approx(min(1.0, raw * 4)) or of["female"] >= raw


def test_what_all_share_is_said_once():
    found = by_subgroup(rows(VALUES), groups_of(cases(*[{"Manufacturer": "<A>"}] * 40)), metric="dice", seed=1)
    assert found.groups == ()
    assert found.same["scanner"] == "<A>"
    assert "alike in scanner (&lt;A&gt;)" in found._repr_html_()
    assert found.gap("scanner", "wall") is None


def test_of_distances_the_gap_and_the_tests_go_the_same_way():
    facts = [{"PatientSex": "F"}] * 20 + [{"PatientSex": "M"}] * 20
    found = by_subgroup(rows(np.r_[np.arange(20.0), np.arange(20.0) + 30], metric="hd95"), groups_of(cases(*facts)),
                        metric="hd95", seed=1)  # fmt: skip
    assert found.gap("sex", "wall") == pytest.approx(30.0)
    assert "HD95, mm" in found._repr_html_()


def test_rank_sums():
    assert rank_sum_p([1, 2, 3], []) == 1.0
    assert rank_sum_p([1, 1], [1, 1]) == 1.0
    assert rank_sum_p(range(10), range(10, 20)) < 0.001
