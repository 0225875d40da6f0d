"""Clicks without a model: what a click may change, how far it reaches, and that it is quick on a large volume."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ailab_kernel.annotation.assist import Hint, fallback
from ailab_kernel.annotation.assist.clicking import click
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.volume import Volume

ANGLES = np.radians([9.0, -14.0])


def grid(shape, spacing):
    """Oblique: turned about two axes."""
    (c, s), (d, e) = ((np.cos(a), np.sin(a)) for a in ANGLES)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, d, -e], [0, e, d]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)[::-1]
    affine[:3, 3] = 11, -40, 70
    return Grid(shape, affine)


def study(shape=(24, 60, 50), spacing=(3.0, 1.2, 1.5), semi=(13.0, 9.0, 15.0), seed=1):
    """A bright lopsided body of known half axes (mm) in noise, its mask, and where its middle is."""
    middle = np.array([0.45, 0.55, 0.5]) * shape
    parts = [((axis - at) * step / half) for axis, at, step, half in zip(np.ogrid[tuple(map(slice, shape))], middle, spacing, semi, strict=True)]
    truth = (parts[0] ** 2 + (parts[1] + 0.2 * parts[0]) ** 2 + parts[2] ** 2 < 1).astype(np.uint8)
    hu = 40 + 110 * truth + np.random.default_rng(seed).normal(0, 20, shape)
    return Volume(hu.astype(np.int16), grid(shape, spacing)), truth, tuple(middle.tolist())


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("spacing", [(3.0, 1.2, 1.5), (1.5, 2.4, 1.2), (2.0, 2.0, 2.0)])
def test_one_click_finds_a_body_whatever_the_voxels(spacing):
    shape = tuple(int(size / step) for size, step in zip((72, 72, 75), spacing, strict=True))
    vol, truth, middle = study(shape, spacing)
    found = fallback().refine(vol, np.zeros(shape, np.uint8), [Hint(middle, 1)], label=1)
    assert dice(found == 1, truth == 1) > 0.9


def test_a_click_on_background_takes_a_leak_away_and_leaves_the_rest():
    vol, truth, middle = study()
    leaky = truth.copy()
    leaky[8:14, 44:54, 20:30] = 1
    found = fallback().refine(vol, leaky, [Hint((10.5, 50.0, 25.0), 0)], label=1)
    assert dice(found == 1, truth == 1) > dice(leaky == 1, truth == 1) + 0.03
    assert dice(found == 1, truth == 1) > 0.96
    assert found[tuple(map(round, middle))] == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 49), st.integers(0, 2)), max_size=4))
def test_whatever_is_clicked_other_labels_stay_and_clicks_hold(seed, places):
    vol, truth, _ = study()
    random = np.random.default_rng(seed)
    before = np.where(random.random(truth.shape) < 0.02, 2, truth * random.integers(0, 2)).astype(np.uint8)
    kept = before.copy()
    hints = [Hint(tuple(map(float, place)), label) for *place, label in places]
    after = fallback().refine(vol, before, hints, label=1)
    assert after.dtype == np.uint8
    np.testing.assert_array_equal(before, kept)
    np.testing.assert_array_equal(after == 2, before == 2)
    assert set(np.unique(after)) <= {0, 1, 2}
    for hint in hints[-1:]:
        at = tuple(map(int, hint.place))
        assert after[at] == 2 or (after[at] == 1) == (hint.label == 1)
    np.testing.assert_array_equal(after, fallback().refine(vol, before, hints, label=1))


def test_clicks_add_up_and_never_take_long_on_a_large_volume():
    shape = (200, 512, 512)
    small, truth, _ = study()
    values, whole = np.zeros(shape, np.int16), np.zeros(shape, np.uint8)
    values[80:104, 200:260, 300:350], whole[80:104, 200:260, 300:350] = small.array, truth
    vol = Volume(values, grid(shape, (3.0, 1.2, 1.5)))
    began = time.process_time()
    found = fallback().refine(vol, np.zeros(shape, np.uint8), [Hint((91.0, 233.0, 325.0), 1)], label=1)
    assert time.process_time() - began < 2.0
    assert dice(found == 1, whole == 1) > 0.9


def test_the_scripted_reader_clicks_until_it_is_good_or_gives_up():
    vol, truth, _ = study()
    done = click(fallback(), vol, (np.zeros_like(truth), truth), label=1)
    assert done.done
    assert 1 <= len(done.hints) <= 6
    assert len(done.dice) == len(done.hints) + 1
    assert done.dice[0] == 0
    unmoved = click(Deaf(), vol, (np.zeros_like(truth), truth), label=1)
    assert (len(unmoved.hints), unmoved.done) == (20, False)
    assert click(Deaf(), vol, (truth, truth), label=1).hints == ()


class Deaf:
    name = "deaf"

    def refine(self, vol, array, hints, *, label):
        return array.copy()
