"""Post-processing keeps what can be anatomy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ailab_kernel.dicom.codes import LUNG, MYOCARDIUM
from ailab_kernel.recipes import Keep, tidy
from ailab_kernel.recipes.tidy import fill_holes, largest_pieces
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask

WALL, CAVITY = Label(1, "wall", MYOCARDIUM), Label(2, "cavity", LUNG)


def mask(array: np.ndarray) -> Mask:
    return Mask(array.astype(np.uint8), Grid(array.shape, np.diag([10.0, 10.0, 10.0, 1.0])), (WALL, CAVITY))


def boxes() -> np.ndarray:
    array = np.zeros((8, 20, 20), np.uint8)
    array[1:4, 1:6, 1:6], array[5:7, 8:12, 8:12], array[0, 18, 18] = 1, 1, 1
    return array


@pytest.mark.parametrize(("keep", "voxels"), [
    (Keep(), 75 + 32 + 1), (Keep(components=1), 75), (Keep(components=2), 107), (Keep(components=9), 108),
    (Keep(minimum_ml=2), 107), (Keep(components=3, minimum_ml=40), 75), (Keep(minimum_ml=1000), 0),
])  # fmt: skip
def test_pieces(keep, voxels):
    assert (tidy(mask(boxes()), {"wall": keep}).array == 1).sum() == voxels


def test_hole_is_filled_but_no_other_label_is_overwritten():
    array = np.zeros((3, 12, 12), np.uint8)
    array[1, 2:10, 2:10] = 1
    array[1, 4:8, 4:8] = 0
    array[1, 5, 5] = 2
    out = tidy(mask(array), {"wall": Keep(fill_holes=True)}).array
    assert out[1, 5, 5] == 2
    assert (out[1, 2:10, 2:10] == 1).sum() == 63
    assert not out[[0, 2]].any()


def test_a_label_without_rules_and_an_empty_mask_stay():
    array = boxes()
    np.testing.assert_array_equal(tidy(mask(array), {"cavity": Keep(components=1)}).array, array)
    assert not tidy(mask(np.zeros((2, 3, 3))), {"wall": Keep(components=1, fill_holes=True)}).array.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_whole_array_and_box_agree_and_twice_is_once(seed, components):
    array = np.pad((np.random.default_rng(seed).random((5, 7, 8)) < 0.45).astype(np.uint8), ((1, 2), (3, 1), (0, 2)))
    rules = {"wall": Keep(components=components, fill_holes=True)}
    once = tidy(mask(array), rules).array
    np.testing.assert_array_equal(once == 1, fill_holes(largest_pieces(array == 1, components=components)))
    np.testing.assert_array_equal(tidy(mask(once.copy()), rules).array, once)
