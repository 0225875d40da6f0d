"""Every metric on masks counted by hand, and every row of the table for empty masks."""

import numpy as np
import pytest

from ailab_kernel.dicom.codes import ANATOMICAL_STRUCTURE, Code
from ailab_kernel.ground.errors import DatasetError
from ailab_kernel.validation.metrics import (
    EMPTY_RULES,
    METRICS,
    TUBES,
    WORST_DISTANCE,
    diagonal_mm,
    dice,
    is_tube,
    renumbered,
    score,
    worst,
)
from ailab_kernel.volumes.masks import Label

from .shapes import LUNG, WALL, cube, grid, mask

SHAPE = (8, 20, 20)
EMPTY = np.zeros(SHAPE)
AORTA = Label(1, "aorta", Code("15825003", "SCT", "Aorta"))
OF_ALL = {name for name, metric in METRICS.items() if not metric.tubes_only}


def test_counts_by_hand():
    truth, found = cube(SHAPE, (2, 4, 4), (2, 10, 10)), cube(SHAPE, (2, 4, 9), (2, 10, 10))
    scores = score(mask(found), mask(truth), tolerance_mm=3.0)["wall"]
    ml = 5.0 * 0.8 * 0.7 / 1000
    assert scores["dice"] == pytest.approx(0.5)
    assert scores["sensitivity"] == pytest.approx(0.5)
    assert scores["specificity"] == pytest.approx(1 - 100 / (8 * 400 - 200))
    assert scores["volume_ml"] == scores["truth_ml"] == pytest.approx(200 * ml)
    assert scores["volume_error_ml"] == 0.0
    assert scores["hd95"] == pytest.approx(5 * 0.7)
    assert scores["hd"] == pytest.approx(5 * 0.7)
    assert 0 < scores["assd"] < scores["hd95"]
    assert set(scores) == OF_ALL


def test_a_rim_as_wide_as_the_tolerance_by_hand():
    """Boxes of 2×10×10 at 5×0.8×0.7 mm: each slice borders on an empty one, so the rim is the whole box."""
    truth, found = cube(SHAPE, (2, 4, 4), (2, 10, 10)), cube(SHAPE, (2, 4, 9), (2, 10, 10))
    assert score(mask(found), mask(truth), tolerance_mm=0.1)["wall"]["boundary_iou"] == pytest.approx(100 / 300)


def test_a_tube_is_scored_along_its_centre_line_too():
    truth, found = cube(SHAPE, (3, 3, 1), (3, 3, 18)), cube(SHAPE, (3, 3, 1), (3, 3, 9))
    scores = score(mask(found, labels=(AORTA,)), mask(truth, labels=(AORTA,)), tolerance_mm=1.0)["aorta"]
    assert set(scores) == set(METRICS)
    # The line of the short tube lies in the long one; of the long one's some half lies in the short one.
    assert scores["cl_dice"] == pytest.approx(2 * 0.5 / 1.5, abs=0.06)
    assert is_tube(AORTA)
    assert not is_tube(WALL)


def test_codes_of_tubes_are_those_of_the_standard():
    from pydicom.sr.codedict import codes

    known = {(code.value, code.meaning.casefold()) for code in (getattr(codes.SCT, name) for name in codes.SCT.dir())}
    assert {(value, meaning.casefold()) for value, meaning in TUBES.items()} <= known


def test_the_rules_for_empty_masks_can_be_shown():
    shown, printed = EMPTY_RULES._repr_html_(), str(EMPTY_RULES)
    assert len(EMPTY_RULES.rows()) == len(METRICS)
    for metric in METRICS.values():
        assert metric.definition in printed
        assert metric.title in printed
    assert WORST_DISTANCE in shown
    assert "as it is" in shown


def test_volume_error_has_the_sign_of_prediction_minus_truth():
    scores = score(mask(cube(SHAPE, (1, 1, 1), (1, 1, 3))), mask(cube(SHAPE, (1, 1, 1), (1, 1, 5))), tolerance_mm=1)
    assert scores["wall"]["volume_error_ml"] == pytest.approx(-2 * 5.0 * 0.8 * 0.7 / 1000)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("case", ["both_empty", "prediction_empty", "truth_empty"])
def test_each_row_of_the_table_for_empty_masks(name, case):
    something = cube(SHAPE, (2, 4, 4), (2, 3, 3))
    predicted, true = {"both_empty": (EMPTY, EMPTY), "prediction_empty": (EMPTY, something),
                       "truth_empty": (something, EMPTY)}[case]  # fmt: skip
    found = score(mask(predicted, labels=(AORTA,)), mask(true, labels=(AORTA,)), tolerance_mm=3.0)["aorta"][name]
    rule = METRICS[name].both_empty if case == "both_empty" else METRICS[name].one_empty
    if rule is not None:
        assert found == (diagonal_mm(grid(SHAPE)) if rule == WORST_DISTANCE else rule)
    else:
        ml = 18 * 5.0 * 0.8 * 0.7 / 1000
        n = {"both_empty": (0, 0), "prediction_empty": (0, ml), "truth_empty": (ml, 0)}[case]
        specificity = 1 - 18 / (8 * 400) if case == "truth_empty" else 1.0
        expected = {"specificity": specificity, "volume_ml": n[0], "truth_ml": n[1], "volume_error_ml": n[0] - n[1]}
        assert found == pytest.approx(expected[name])


def test_a_label_is_scored_by_its_own_voxels_only():
    truth = cube(SHAPE, (1, 1, 1), (2, 5, 5)) * 1 + cube(SHAPE, (5, 9, 9), (2, 5, 5)) * 2
    found = truth.copy()
    found[found == 1] = 0
    scores = score(mask(found, labels=(WALL, LUNG)), mask(truth, labels=(WALL, LUNG)), tolerance_mm=3.0)
    assert list(scores) == ["wall", "lung"]
    assert scores["wall"]["dice"] == 0.0
    assert scores["lung"]["dice"] == scores["lung"]["nsd"] == 1.0


def test_a_full_truth_leaves_no_voxel_to_be_specific_about():
    full = np.ones(SHAPE)
    assert score(mask(full), mask(full), tolerance_mm=1.0)["wall"]["specificity"] == 1.0


def test_other_grids_are_refused():
    with pytest.raises(DatasetError, match="resample"):
        score(mask(EMPTY), mask(EMPTY, spacing=(5.0, 0.8, 0.8)), tolerance_mm=1.0)


def test_the_worst_values_are_worse_than_or_equal_to_any_score():
    something = cube(SHAPE, (0, 0, 0), (1, 1, 1))
    far = cube(SHAPE, (7, 19, 19), (1, 1, 1))
    far, something = mask(far, labels=(AORTA,)), mask(something, labels=(AORTA,))
    scores, floor = score(far, something, tolerance_mm=1.0)["aorta"], worst(grid(SHAPE), 0.2, tube=True)
    assert set(floor) == set(METRICS)
    assert set(worst(grid(SHAPE), 0.2)) == OF_ALL
    for name, metric in METRICS.items():
        if metric.higher_is_better is not None:
            assert floor[name] <= scores[name] if metric.higher_is_better else floor[name] >= scores[name]
    assert (floor["truth_ml"], floor["volume_ml"], floor["volume_error_ml"]) == (0.2, 0.0, -0.2)


def test_dice_of_arrays():
    assert dice(EMPTY > 0, EMPTY > 0) == 1.0
    assert dice(cube(SHAPE, (0, 0, 0), (1, 1, 4)), cube(SHAPE, (0, 0, 2), (1, 1, 4))) == 0.5


def test_labels_are_paired_by_name_not_by_number():
    truth = cube(SHAPE, (1, 1, 1), (2, 5, 5)) * 1 + cube(SHAPE, (5, 9, 9), (2, 4, 5)) * 2
    turned = (Label(7, "wall", ANATOMICAL_STRUCTURE), Label(1, "lung", ANATOMICAL_STRUCTURE))
    found = mask(np.array([0, 7, 1])[truth], labels=turned)
    scores = score(found, mask(truth, labels=(WALL, LUNG)), tolerance_mm=1.0)
    assert [scores[name]["dice"] for name in ("wall", "lung")] == [1.0, 1.0]
    np.testing.assert_array_equal(renumbered(found, (WALL, LUNG)).array, truth)


def test_a_label_that_the_prediction_does_not_know_is_not_found_whatever_its_number():
    truth = cube(SHAPE, (1, 1, 1), (2, 5, 5)) * 1 + cube(SHAPE, (5, 9, 9), (2, 4, 5)) * 2
    other = Label(2, "vessel", ANATOMICAL_STRUCTURE)
    scores = score(mask(truth, labels=(WALL, other)), mask(truth, labels=(WALL, LUNG)), tolerance_mm=1.0)
    assert (scores["wall"]["dice"], scores["lung"]["dice"], scores["lung"]["volume_ml"]) == (1.0, 0.0, 0.0)
    with pytest.raises(DatasetError, match="knows vessel, the truth wall"):
        score(mask(truth, labels=(other,)), mask(truth, labels=(WALL,)), tolerance_mm=1.0)
