"""Agreement on boxes that can be counted by hand, and the report of a double reading whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_kernel.annotation.agreement import agree, as_json, as_table, kappa, limits_of, summarize
from ailab_kernel.annotation.task import create_task, get_task
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.dicom.codes import LUNG
from ailab_kernel.ground.errors import DatasetError, WrongUse
from ailab_kernel.lab import Lab
from ailab_kernel.recipes.recipe import find
from ailab_kernel.validation.study import CaseScores
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask

SHAPE = (6, 14, 16)
GRID = Grid(SHAPE, np.array([[0, 0, 1.5, 9], [0, 2.0, 0, -4], [5.0, 0, 0, 3], [0, 0, 0, 1]]))
LABEL = Label(1, "lung", LUNG)


def box(columns: slice, *, slices=slice(1, 3), rows=slice(2, 12)) -> Mask:
    array = np.zeros(SHAPE, np.uint8)
    array[slices, rows, columns] = 1
    return Mask(array, GRID, (LABEL,))


def test_two_boxes_that_are_shifted_by_two_columns():
    told = agree(box(slice(1, 11)), box(slice(3, 13)), LABEL)
    # 200 voxels each, 160 of them shared; the box around both has 240. Observed 160/240, by chance (25 + 1)/36.
    assert told["dice"] == pytest.approx(2 * 160 / 400)
    assert told["kappa"] == pytest.approx((24 / 36 - 26 / 36) / (1 - 26 / 36))
    assert told["truth_ml"] == told["volume_ml"] == pytest.approx(200 * 15 / 1000)
    assert told["volume_error_ml"] == 0
    assert told["hd95"] == 3
    # A box's surface: faces of 2 × 9 × 9 elements of 3 mm², 2 × 9 of 7.5 and 2 × 9 of 10, edges of two half faces each,
    # corners of an eighth of three. The end of either box is 3 mm from the other's, or 2 mm beside its rows' faces; the
    # first elements of the four sides are 1.5 mm from it.
    edges = {"slices": math.hypot(5, 3.75), "rows": math.hypot(5, 1.5), "columns": math.hypot(3.75, 1.5)}
    corner = math.hypot(10, 7.5, 3) / 8
    total = (2 * (81 * 3 + 9 * 7.5 + 9 * 10) + 4 * (1 * edges["slices"] + 9 * edges["rows"] + 9 * edges["columns"])
             + 8 * corner)  # fmt: skip
    near_end = 9 * 10 + 2 * 9 * edges["rows"] + 2 * edges["slices"] + 4 * corner
    next_to_it = 2 * 9 * 3 + 2 * 7.5 + 4 * edges["columns"]
    within = 7 * 10 * 3 + 2 * 10 * 2
    assert told["surface_mm"] == pytest.approx((3 * near_end + 1.5 * next_to_it + within) / total)


def test_a_box_within_a_box():
    told = agree(box(slice(2, 6)), box(slice(2, 10)), LABEL)
    assert told["dice"] == pytest.approx(2 * 80 / 240)
    assert told["kappa"] == 0, "the second says yes everywhere in the box: chance explains it all"
    assert told["volume_error_ml"] == pytest.approx(80 * 15 / 1000)


@pytest.mark.parametrize(("one", "other", "dice", "kappa_", "mm"), [
    (slice(0, 0), slice(0, 0), 1, 1, 0), (slice(2, 6), slice(0, 0), 0, 0, math.hypot(6 * 5, 14 * 2, 16 * 1.5)), (slice(2, 6), slice(2, 6), 1, 1, 0)])
def test_what_is_empty_is_a_rule(one, other, dice, kappa_, mm):
    told = agree(box(one), box(other), LABEL)
    assert (told["dice"], told["kappa"]) == (dice, kappa_)
    assert told["surface_mm"] == told["hd95"] == pytest.approx(mm)


@given(st.integers(0, 2**32 - 1))
def test_kappa_is_symmetric_and_counted_by_hand(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, 3, 4, 5)) < 0.3
    both = np.argwhere(one | other)
    assert kappa(one, other) == pytest.approx(kappa(other, one))
    if len(both):
        (a, b, c), (d, e, f) = both.min(0), both.max(0) + 1
        pairs = [(bool(one[i, j, k]), bool(other[i, j, k])) for i in range(a, d) for j in range(b, e) for k in range(c, f)]
        n = len(pairs)
        yes = [sum(pair[side] for pair in pairs) / n for side in (0, 1)]
        seen, chance = sum(p == q for p, q in pairs) / n, yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
        assert kappa(one, other) == pytest.approx(1 if chance == 1 else (seen - chance) / (1 - chance))


def test_limits_of_agreement_and_intervals():
    limits = limits_of([1.0, 2.0, 6.0])
    assert (limits.mean, limits.n) == (3, 3)
    assert limits.high - limits.mean == pytest.approx(1.96 * math.sqrt(7))
    assert math.isnan(limits_of([1.0]).low)
    values = {"dice": 0.8, "kappa": 0.5, "surface_mm": 1.0, "hd95": 3.0, "volume_error_ml": 2.0}
    rows = [CaseScores(f"case {n}", f"patient {n // 2}", "lung", values | {"dice": 0.7 + 0.1 * (n // 2)}) for n in range(4)]
    (found,) = summarize(rows, "2 and 1", seed=7)
    assert found.intervals["dice"].mean == pytest.approx(0.75)
    assert found.intervals["dice"].patients == 2, "a patient is the unit"
    assert "Only 2 patients" in as_table([found])
    assert as_json(found)["limits_ml"] == {"mean": 2.0, "low": 2.0, "high": 2.0, "n": 4}


def test_other_grids_are_not_compared():
    other = Mask(np.zeros((2, 2, 2), np.uint8), Grid((2, 2, 2), np.eye(4)), (LABEL,))
    with pytest.raises(DatasetError, match="different grids"):
        agree(box(slice(1, 3)), other, LABEL)


def read_twice(workspace, seeds) -> tuple[str, list[str]]:
    """A pilot's double reading: boxes shifted by two columns; the first case is adjudicated."""
    for seed in seeds:
        images = make_objects(seed, style="general-hospital", size=(8, 32, 32), spacing_mm=(15.0, 11.2, 11.0))
        workspace.archive.store([ds for ds in images if ds.Modality == "CT"])
    uids = [series.uid for series in workspace.archive.search_series(modality="CT")]
    task = create_task(workspace, find("heart-wall"), uids, readers=("ann", "ben"), adjudicator="cleo")
    for uid in uids:
        grid = task.volume(uid).grid
        for reader, left in (("ann", 8), ("ben", 10)):
            array = np.zeros(grid.shape, np.uint8)
            array[3:5, 10:20, left : left + 10] = 1
            task = task.submit(uid, Mask(array, grid, task.recipe.labels), reader=reader, seconds=90.0)
    start = task.start(uids[0], "cleo")
    task = task.review(uids[0], start, reviewer="cleo").accept(uids[0], reviewer="cleo")
    return task.ref, uids


def test_nothing_to_compare_is_said(workspace):
    images = [ds for ds in make_objects(84, style="general-hospital", size=(8, 32, 32), spacing_mm=(15.0, 11.2, 11.0)) if ds.Modality == "CT"]
    workspace.archive.store(images)
    task = create_task(workspace, find("heart-wall"), [images[0].SeriesInstanceUID], readers=("ann", "ben"))
    with pytest.raises(WrongUse, match="nothing to compare yet"):
        task.compared()


@pytest.mark.slow
def test_the_report_gives_the_known_answer_and_replays_after_more_was_done(workspace):
    lab = Lab(workspace)
    ref, uids = read_twice(workspace, (85, 86))
    report = lab.agreement(ref)
    assert report.state == "done", report.manifest.get("reason")
    told = report.metrics["pairs"]["2 and 1"]["heart-wall"]
    assert (report.metrics["cases"], report.metrics["accepted"]) == (2, 1)
    assert told["dice"]["mean"] == pytest.approx(0.8)
    assert told["kappa"]["mean"] == pytest.approx(-0.2)
    assert told["volume_error_ml"]["mean"] == 0
    page = report.html.read_text()
    assert "prove the plumbing" in page
    assert "was not enforced" in page
    get_task(workspace, ref).give_back(uids[0], reviewer="cleo", reason="apex")
    again = lab.replay(report)
    assert again.identical, again.differences
    assert lab.agreement(ref).metrics["accepted"] == 0
