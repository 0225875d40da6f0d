import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.labels import labels_from_logits
from ailab_kernel.volumes.resample import model_grid, to_grid

from .synthetic import grid

AXES = st.permutations([0, 1, 2])
FLIPS = st.tuples(*[st.sampled_from([1, -1])] * 3)
SHAPES = st.tuples(*[st.integers(8, 20)] * 3)
SPACINGS = st.tuples(*[st.floats(0.6, 5)] * 3)
RAMP = np.array([0.7, -1.3, 0.4])


def turned(place: Grid, axes, flips) -> Grid:
    """The same voxels with axes in another order and direction."""
    step = np.eye(4)
    step[:3, :3] = np.eye(3)[:, axes] * np.array(flips)
    shape = tuple(place.shape[a] for a in axes)
    step[:3, 3] = [place.shape[a] - 1 if flips[list(axes).index(a)] < 0 else 0 for a in range(3)]
    return Grid(shape, place.affine @ step)


def ramp(place: Grid) -> np.ndarray:
    """A straight ramp through the world, sampled on a grid."""
    index = np.stack([*np.indices(place.shape), np.ones(place.shape)])
    world = np.tensordot(place.affine, index, 1)[:3]
    return np.tensordot(RAMP, world, 1).astype(np.float32)


def inside(place: Grid, source: Grid, margin: float) -> np.ndarray:
    index = np.tensordot(np.linalg.inv(source.affine) @ place.affine, np.stack([*np.indices(place.shape), np.ones(place.shape)]), 1)
    size = np.array(source.shape).reshape(3, 1, 1, 1)
    return ((index[:3] >= margin) & (index[:3] <= size - 1 - margin)).all(0)


@settings(deadline=None)
@given(SHAPES, SPACINGS, AXES, FLIPS, st.tuples(*[st.floats(0.6, 6)] * 3))
def test_a_ramp_keeps_its_place_in_the_world(shape, spacing, axes, flips, wished):
    source = turned(grid(shape=shape, spacing=spacing), axes, flips)
    target = model_grid(source, wished)
    found = to_grid(ramp(source), source, target)
    margin = max(wished) / min(spacing) + 1
    where = inside(target, source, margin)
    assert np.abs(found - ramp(target))[where].max(initial=0) < 2e-3 * max(1, np.abs(ramp(target)).max() / 100)


@settings(deadline=None)
@given(SHAPES, SPACINGS, AXES, FLIPS, st.tuples(*[st.floats(0.6, 6)] * 3))
def test_the_model_grid_is_canonical_and_keeps_the_field_of_view(shape, spacing, axes, flips, wished):
    source = turned(grid(shape=shape, spacing=spacing, turn=(5, -8, 10)), axes, flips)
    target = model_grid(source, wished)
    directions = target.affine[:3, :3] / target.spacing_mm
    assert directions[2, 0] > 0.7, "slices towards the head"
    assert directions[1, 1] > 0.7, "rows to the back"
    assert directions[0, 2] > 0.7, "columns to the left"
    volume = [np.prod(np.multiply(g.shape, g.spacing_mm)) for g in (source, target)]
    assert volume[0] == pytest.approx(volume[1])
    middle = [(g.affine @ [*(np.array(g.shape) - 1) / 2, 1])[:3] for g in (source, target)]
    assert middle[0] == pytest.approx(middle[1])


def test_nearest_keeps_labels_where_they_are():
    source = grid(shape=(9, 11, 13))
    labels = np.zeros(source.shape, np.uint8)
    labels[2:5, 3:9, 1:4] = 7
    fine = model_grid(source, tuple(np.array(source.spacing_mm) / 3))
    there = to_grid(labels, source, fine, mode="nearest")
    assert np.array_equal(to_grid(there, fine, source, mode="nearest"), labels)
    assert there.dtype == np.uint8
    assert (there == 7).sum() == 27 * (labels == 7).sum()


def test_grids_at_an_angle():
    source, target = grid(shape=(20, 22, 24), turn=(0, 0, 0)), grid(shape=(12, 12, 12), turn=(10, 20, 5), origin=(-25, 24, 230))
    found = to_grid(ramp(source), source, target)
    where = inside(target, source, 2)
    assert where.sum() > 100
    assert np.abs(found - ramp(target))[where].max() < 1e-2


@settings(deadline=None, max_examples=20)
@given(AXES, FLIPS, st.tuples(*[st.floats(0.9, 4)] * 3))
def test_labels_come_back_in_place(axes, flips, wished):
    source = turned(grid(shape=(14, 20, 26), spacing=(2.5, 1.2, 0.8)), axes, flips)
    model = model_grid(source, wished)
    index = np.stack(np.indices(model.shape)).astype(np.float32)
    middle = np.array(model.shape).reshape(3, 1, 1, 1) * np.array([0.4, 0.55, 0.45]).reshape(3, 1, 1, 1)
    distance = np.sqrt((((index - middle) * np.array(model.spacing_mm).reshape(3, 1, 1, 1)) ** 2).sum(0))
    logits = np.stack([np.zeros_like(distance), 6 - distance, distance - 3 - np.abs(distance - 5) * 2]).astype(np.float32)
    found = labels_from_logits(logits, model, source)
    expected = to_grid(logits, model, source).argmax(0)
    assert np.array_equal(found, expected)
    assert labels_from_logits(-np.abs(logits) * np.array([0, 1, 1], np.float32).reshape(3, 1, 1, 1) - np.array([0, 1, 1], np.float32).reshape(3, 1, 1, 1), model, source).sum() == 0
