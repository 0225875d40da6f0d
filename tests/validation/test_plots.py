"""Pictures hang as radiologists hang them, from any way a series may be stored; failed cases are seen as failed."""

import itertools

import numpy as np
import pytest

from ailab_kernel.validation import plots, study
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume

from .shapes import LUNG, WALL

SPACING = {0: 1.0, 1: 2.0, 2: 3.0}  # mm along L, P and S of patient space
# Plane by the LPS axis that the slices follow: LPS steps to the right of the picture, and down.
HUNG = {2: ((1, 0, 0), (0, 1, 0)), 1: ((1, 0, 0), (0, 0, -1)), 0: ((0, 1, 0), (0, 0, -1))}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
@pytest.mark.parametrize("tilt", [0.0, 0.15])
def test_every_storage_order_hangs_the_same_way(order, signs, tilt):
    """Each voxel holds its own place along one axis of patient space: it must rise to the right, or downwards."""
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine = np.eye(4)
    for index, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[:3, index] = turn @ np.eye(3)[world] * sign * SPACING[world]
    shape = (3, 4, 5)
    place = np.einsum("ij,jabc->iabc", affine[:3, :3], np.indices(shape))[:, 1]
    flip, aspect = plots._to_radiological(Volume(np.zeros(shape, np.int16), Grid(shape, affine)))
    right, down = HUNG[order[0]]
    assert (np.diff(flip(np.tensordot(right, place, 1)), axis=1) > 0).all()
    assert (np.diff(flip(np.tensordot(down, place, 1)), axis=0) > 0).all()
    axis = [int(np.flatnonzero(step)[0]) for step in (right, down)]
    assert aspect == pytest.approx(SPACING[axis[1]] / SPACING[axis[0]])


def rows(*values, failed=()):
    return [study.CaseScores(f"c{i}", f"p{i}", "wall", {"dice": v, "volume_ml": 0.0 if i in failed else 90.0 + i,
            "truth_ml": 100.0}, "no memory" if i in failed else "") for i, v in enumerate(values)]  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """Keep the figures instead of making pictures of them."""
    kept = []
    monkeypatch.setattr(plots, "_picture", kept.append)
    return kept


def test_a_failed_case_measured_no_volume_and_the_title_says_so(drawn):
    plots.bland_altman(rows(0.8, 0.9, 0.0, 0.7, failed={2}))
    axis = drawn[0].axes[0]
    assert sorted(axis.lines[0].get_ydata()) == [-10.0, -9.0, -7.0]
    assert "1 failed, not shown" in axis.get_title(loc="left")


@pytest.mark.parametrize("draw", [
    lambda tuned: plots.paired(rows(0.5, 0.5), tuned, metric="dice", names=("base", "tuned")),
    lambda tuned: plots.strip(tuned, metric="dice"),
])  # fmt: skip
def test_a_failed_case_is_a_cross(drawn, draw):
    draw(rows(0.8, 0.0, failed={1}))
    crosses = [line for line in drawn[0].axes[0].lines if line.get_marker() == "x"]
    assert [float(np.ravel(line.get_ydata())[0]) for line in crosses] == [0.0]


@pytest.mark.parametrize("values", [(), (0.5,)])
def test_few_or_no_volumes_are_drawn_without_a_warning(drawn, values):
    plots.bland_altman([*rows(*values), study.CaseScores("x", "x", "wall", {"dice": 0.0}, "gap")])
    assert len(drawn) == 1


def test_pictures_of_nothing_and_of_many_labels():
    array = np.zeros((2, 6, 6), np.uint8)
    affine = np.diag([3.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]]
    vol, empty = Volume(array.astype(np.int16), Grid(array.shape, affine)), Mask(array, Grid(array.shape, affine), (WALL,))
    many = Mask(np.full_like(array, 2), empty.grid, (WALL, LUNG))
    picture = plots.overlays([(vol, empty, empty), (vol, many, None), (vol, empty, many)], titles=["a", "b", "c"])
    assert picture.data.startswith(b"\x89PNG")
