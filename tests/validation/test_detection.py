"""Lesions matched and counted by hand, by brute force, and what a scan without a lesion is worth."""

import itertools
import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.validation.detection import (
    Lesions,
    MatchRule,
    ScanFindings,
    case_auc,
    case_counts,
    case_scores,
    connected_lesions,
    failed_scan,
    froc,
    given_lesions,
    lesion_counts,
    lesion_rows,
    match_scan,
)

from .shapes import cube

SPACING = (5.0, 0.8, 0.7)
SHAPE = (8, 30, 30)


def boxes(*starts, scores=None, size=(2, 4, 4)):
    """Lesions that are boxes, one voxel list each; they may overlap."""
    voxels = tuple(np.argwhere(cube(SHAPE, start, size)) for start in starts)
    return Lesions(voxels, tuple(scores or [1.0] * len(starts)), SPACING)


def scan(found=(), false=(), *, name="a", ml=1.0, failed=False):
    return ScanFindings(name, name, (ml,) * len(found), tuple(found), tuple(false), (ml,) * len(false), failed)


def test_pieces_of_a_mask_with_their_sizes_centres_and_scores():
    array = cube(SHAPE, (1, 2, 2), (2, 4, 4)) | cube(SHAPE, (3, 6, 6), (1, 1, 1)) | cube(SHAPE, (6, 20, 20), (1, 2, 2))
    probability = np.full(SHAPE, 0.1)
    probability[2, 3, 3], probability[6, 20, 21] = 0.9, 0.6
    found = connected_lesions(array, SPACING, probability=probability)
    assert len(found) == 2, "corners touch, so the speck belongs to the first"
    assert found.sizes_ml == pytest.approx((33 * 2.8 / 1000, 4 * 2.8 / 1000))
    assert found.scores == (0.9, 0.6)
    np.testing.assert_allclose(found.centers_mm[1], [6 * 5, 20.5 * 0.8, 20.5 * 0.7])
    assert len(connected_lesions(array, SPACING, smallest_ml=0.02)) == 1
    assert len(connected_lesions(np.zeros(SHAPE, bool), SPACING)) == 0
    assert connected_lesions(np.zeros(SHAPE, bool), SPACING).centers_mm.shape == (0, 3)


def test_given_instances_keep_their_own_scores_and_may_touch():
    numbered = cube(SHAPE, (1, 2, 2), (2, 4, 4)) * 3 + cube(SHAPE, (1, 2, 6), (2, 4, 4)) * 7
    found = given_lesions(numbered, SPACING, scores={3: 0.2, 7: 0.8})
    assert found.scores == (0.2, 0.8)
    assert [len(one) for one in found.voxels] == [32, 32]
    assert given_lesions(numbered, SPACING).scores == (1.0, 1.0)
    with pytest.raises(WrongUse, match="1 of 2 lesions have no score"):
        given_lesions(numbered, SPACING, scores={3: 0.2})
    with pytest.raises(WrongUse, match="one number a lesion"):
        given_lesions(numbered, SPACING, scores={3: 0.2, 7: float("nan")})


@pytest.mark.parametrize(("rule", "limit"), [("iou", 8 / 56), ("overlap", 8 / 32), ("center", np.hypot(2 * 0.8, 2 * 0.7))])
def test_each_rule_has_its_limit(rule, limit):
    """Boxes of 2×4×4 shifted by two rows and two columns: a quarter, 8 voxels, in common."""
    true, predicted = boxes((2, 4, 4)), boxes((2, 6, 6))
    nearer, further = (limit * 0.99, limit * 1.01) if rule != "center" else (limit * 1.01, limit * 0.99)
    assert match_scan(predicted, true, MatchRule(rule, nearer)).found == (1.0,)
    assert match_scan(predicted, true, MatchRule(rule, further)).found == (None,)


@pytest.mark.parametrize(("kind", "threshold"), [("dice", 0.5), ("iou", 0.0), ("iou", 1.5), ("center", -1.0)])
def test_a_rule_that_is_none_is_refused(kind, threshold):
    with pytest.raises(WrongUse):
        MatchRule(kind, threshold)


def test_a_rule_says_what_it_is():
    assert str(MatchRule("iou", 0.1)) == "IoU at least 0.1, one prediction a lesion, the surest first"
    assert str(MatchRule("center", 5)).startswith("distance of the centres at most 5 mm")


def test_a_lesion_is_found_once_and_by_the_surest():
    found = match_scan(boxes((2, 4, 4), (2, 5, 4), (5, 20, 20), scores=[0.3, 0.8, 0.5]), boxes((2, 4, 4)), MatchRule(),
                       case="c", patient="p")
    assert found == ScanFindings("c", "p", (32 * 2.8 / 1000,), (0.8,), (0.5, 0.3), (32 * 2.8 / 1000,) * 2)


def test_two_predictions_that_are_equally_sure_are_both_used_where_that_can_be():
    """The first lies on both lesions and closest to the one that alone the second can be."""
    true, predicted = boxes((2, 4, 4), (2, 4, 9)), boxes((2, 4, 6), (2, 2, 3))
    found = match_scan(predicted, true, MatchRule("iou", 0.01))
    assert found.found == (1.0, 1.0)
    assert found.false_scores == ()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_of_equally_sure_predictions_as_many_are_matched_as_can_be(seed):
    random = np.random.default_rng(seed)
    true, predicted = (boxes(*[tuple(random.integers(0, 6, 3)) for _ in range(random.integers(1, 5))]) for _ in range(2))
    rule = MatchRule("iou", 0.15)
    single = [[match_scan(Lesions((p,), (1.0,), SPACING), Lesions((t,), (1.0,), SPACING), rule).found[0] is not None
               for t in true.voxels] for p in predicted.voxels]
    most = max(sum(single[p][t] for p, t in zip(order, range(len(true)), strict=False))
               for order in itertools.permutations(range(len(predicted))))
    padded = max(most, max((sum(single[p][t] for p, t in zip(range(len(predicted)), order, strict=False))
                            for order in itertools.permutations(range(len(true)))), default=0))
    assert sum(score is not None for score in match_scan(predicted, true, rule).found) == padded


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.25, 0.5, 0.75]))
def test_one_matching_serves_every_threshold(seed, threshold):
    """Matching only what is as sure as the threshold gives what the whole matching says of it."""
    random = np.random.default_rng(seed)
    true = boxes(*[tuple(random.integers(0, 6, 3)) for _ in range(4)])
    scores = random.choice([0.1, 0.25, 0.3, 0.5, 0.6, 0.75, 0.9], 6)
    predicted = boxes(*[tuple(random.integers(0, 6, 3)) for _ in range(6)], scores=scores.tolist())
    sure = [number for number, score in enumerate(predicted.scores) if score >= threshold]
    only = Lesions(tuple(predicted.voxels[n] for n in sure), tuple(predicted.scores[n] for n in sure), SPACING)
    whole, part = (match_scan(one, true, MatchRule("iou", 0.15)) for one in (predicted, only))
    assert lesion_counts([whole], threshold=threshold) == lesion_counts([part], threshold=0.0)


def test_counts_by_hand_with_scans_without_a_lesion():
    scans = [scan([0.9, None], [0.4], name="a"), scan([0.3], name="b"), scan([], [0.8, 0.2], name="c"), scan(name="d")]
    found = lesion_counts(scans, threshold=0.5)
    assert (found.hits, found.misses, found.false_positives, found.scans) == (1, 2, 1, 4)
    assert (found.sensitivity, found.precision, found.f1) == pytest.approx((1 / 3, 1 / 2, 2 / 5))
    assert found.false_positives_per_scan == 0.25, "every scan counts, also those without a lesion"
    assert [row.found for row in lesion_rows(scans, threshold=0.5)] == [True, False, False]
    cases = case_counts(scans, threshold=0.5)
    assert (cases.sensitivity.successes, cases.sensitivity.total) == (1, 2)
    assert (cases.specificity.successes, cases.specificity.total) == (1, 2)
    assert case_scores(scans) == ([0.9, 0.3, 0.8, 0.0], [True, True, False, False])
    assert case_auc(scans).value == pytest.approx((1 + 1 + 0 + 1) / 4)


@pytest.mark.parametrize(("scans", "sensitivity", "precision", "f1"), [
    ([scan()], 1, 1, 1), ([scan([None])], 0, 0, 0), ([scan([], [0.9])], 1, 0, 0)])
def test_nothing_is_a_rule(scans, sensitivity, precision, f1):
    found = lesion_counts(scans, threshold=0.5)
    assert (found.sensitivity, found.precision, found.f1) == (sensitivity, precision, f1)


def test_a_failed_scan_is_on_the_wrong_side():
    lesion, none = boxes((2, 4, 4)), boxes()
    scans = [scan([0.9], name="a"), scan(name="b"), failed_scan(lesion, case="c", patient="c"),
             failed_scan(none, case="d", patient="d")]
    assert lesion_counts(scans, threshold=0.5).misses == 1
    assert lesion_counts(scans, threshold=0.5).false_positives == 2
    scores, truth = case_scores(scans)
    assert scores[2] < min(scores[:2])
    assert scores[3] > max(scores[:2])
    assert truth == [True, False, True, False]
    assert case_counts(scans, threshold=0.5).specificity.successes == 1
    assert froc(scans).false_positives_per_scan[0] == 0.5
    assert case_auc(scans).value < case_auc(scans[:2]).value


def test_froc_by_hand():
    scans = [scan([0.9, 0.6, None], [0.7], name="a"), scan([0.5], [0.95, 0.5], name="b"), scan([], [0.4], name="c"), scan(name="d")]
    curve = froc(scans, rates=(0.125, 0.25, 0.5, 1.0))
    assert curve.thresholds == (0.95, 0.9, 0.7, 0.6, 0.5, 0.4)
    assert curve.false_positives_per_scan == (0.25, 0.25, 0.5, 0.5, 0.75, 1.0)
    assert curve.sensitivity == (0.0, 0.25, 0.25, 0.5, 0.75, 0.75)
    assert curve.at_rates == (0.0, 0.25, 0.5, 0.75)
    assert curve.mean == pytest.approx(0.375)
    assert (curve.lesions, curve.scans) == (4, 4)
    assert "4 lesions in 4 scans" in curve._repr_html_()
    for threshold, false, found in zip(curve.thresholds, curve.false_positives_per_scan, curve.sensitivity, strict=True):
        counted = lesion_counts(scans, threshold=threshold)
        assert (counted.false_positives_per_scan, counted.sensitivity) == (false, found)


def test_half_of_the_scans_without_a_lesion_halves_the_false_positives_per_scan():
    scans = [scan([0.9], [0.8], name="a")]
    assert froc(scans).false_positives_per_scan[-1] == 2 * froc([*scans, scan(name="b")]).false_positives_per_scan[-1]


def test_what_cannot_be_counted_is_said():
    with pytest.raises(WrongUse, match="no scans"):
        lesion_counts([], threshold=0.5)
    with pytest.raises(WrongUse, match="without a lesion"):
        froc([scan()])
    with pytest.raises(WrongUse, match="second one of a patient"):
        case_counts([scan([0.9]), scan()], threshold=0.5)
    with pytest.raises(WrongUse, match="negative"):
        case_scores([scan([-0.1])])


def test_findings_are_plain_json():
    found = match_scan(boxes((2, 4, 4), scores=[0.5]), boxes((2, 4, 4), (5, 20, 20)), MatchRule())
    told = json.loads(json.dumps(asdict(found)))
    assert told["found"] == [0.5, None]
    assert ScanFindings.of(told) == found
