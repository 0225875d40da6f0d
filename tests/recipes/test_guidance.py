"""Clicks as channels, and where a simulated reader clicks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ailab_kernel.recipes import find
from ailab_kernel.recipes.guidance import SIGMA_MM, click_maps, guided, merge, mistakes, see

HEART = find("heart-wall")
SPACING = (4.0, 1.5, 2.0)


def test_a_click_means_the_same_millimetres_along_every_axis():
    (ball,) = click_maps([((6.0, 20.0, 15.0), 0)], (13, 41, 31), spacing_mm=SPACING, channels=1)
    away = np.sqrt(sum(((axis - at) * step) ** 2 for axis, at, step in zip(np.ogrid[:13, :41, :31], (6, 20, 15), SPACING, strict=True)))
    np.testing.assert_allclose(ball, np.exp(-0.5 * (away / SIGMA_MM) ** 2), atol=1e-6)


def test_two_clicks_of_a_label_do_not_add_up_and_one_outside_is_still_seen():
    maps = click_maps([((2, 3, 3), 1), ((2, 3, 3), 1), ((-1, 3, 3), 2)], (5, 7, 7), spacing_mm=(6.0, 6.0, 6.0), channels=3)
    assert maps.max() == 1.0
    assert maps[2, 0, 3, 3] == pytest.approx(np.exp(-0.5))


def test_the_network_grows_at_its_input_only():
    assert {key for key, value in guided(HEART).network.items() if HEART.network[key] != value} == {"in_channels"}
    image, mask = np.random.default_rng(1).random((4, 5, 6), np.float32), np.zeros((4, 5, 6), np.uint8)
    mask[1, 2, 3], mask[2, 2, 2] = 1, 2
    seen = see(image, mask, [], recipe=HEART)
    assert seen.shape == (guided(HEART).network["in_channels"], 4, 5, 6)
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen[0], image)
    np.testing.assert_array_equal(seen[1:3], [mask == 1, mask == 2])
    assert not seen[3:].any()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 2))
def test_merging_touches_one_label(seed, label):
    random = np.random.default_rng(seed)
    mask, answer = (random.integers(0, 3, (4, 5, 6)).astype(np.uint8) for _ in range(2))
    merged, other = merge(mask, answer, label), 3 - label
    np.testing.assert_array_equal(merged == other, mask == other)
    np.testing.assert_array_equal(merged == label, (answer == label) & (mask != other))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_a_click_lies_in_a_largest_mistake_and_has_its_label(seed, count):
    random = np.random.default_rng(seed)
    truth, answer = (ndimage.zoom(random.integers(0, 3, (3, 4, 4)), 3, order=0) for _ in range(2))
    found = mistakes(answer, truth, spacing_mm=SPACING, count=count)
    sizes = []
    for label in range(3):
        pieces, _ = ndimage.label((answer != truth) & (truth == label))
        sizes += np.bincount(pieces.ravel())[1:].tolist()
        for place, clicked in found:
            assert clicked != label or pieces[tuple(map(int, place))]
    assert len(found) == min(count, len(sizes))
    if found:
        place, label = found[0]
        pieces, _ = ndimage.label((answer != truth) & (truth == label))
        assert (pieces == pieces[tuple(map(int, place))]).sum() == max(sizes)
