"""Surface distances against shapes known by hand, against MONAI, and against the computation without the crop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ailab_kernel.validation.distances import surface_distances

from .shapes import cube, potato, sphere

SPACING = (5.0, 0.8, 0.7)
monai = pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")  # MONAI warns of itself


@pytest.mark.parametrize(("shift", "axis"), [(2, 0), (3, 1), (4, 2)])
def test_a_shifted_slab_is_as_far_as_its_shift(shift, axis):
    """Plates one voxel thick that fill the image across: every distance is the shift, in mm along that axis."""
    one, other = np.zeros((12, 12, 12), bool), np.zeros((12, 12, 12), bool)
    one[(slice(None),) * axis + (slice(3, 4),)] = True
    other[(slice(None),) * axis + (slice(3 + shift, 4 + shift),)] = True
    found = surface_distances(one, other, SPACING)
    expected = shift * SPACING[axis]
    assert [found.hausdorff(100), found.hausdorff(95), found.mean()] == pytest.approx([expected] * 3)
    assert found.surface_dice(expected - 1e-6) == 0.0
    assert found.surface_dice(expected + 1e-6) == 1.0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shifted_cube_is_at_most_its_shift_away(axis):
    start, moved = [4, 5, 6], [4, 5, 6]
    moved[axis] += 3
    one, other = cube((20, 22, 24), start, (6, 7, 8)), cube((20, 22, 24), moved, (6, 7, 8))
    found = surface_distances(one, other, SPACING)
    assert found.hausdorff(100) == pytest.approx(3 * SPACING[axis])
    assert found.hausdorff(95) <= found.hausdorff(100)
    assert 0 < found.mean() < found.hausdorff(95)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.7, 0.7), (0.6, 1.5, 0.9)])
def test_concentric_spheres_are_their_radii_apart_within_half_a_voxel_diagonal(spacing):
    shape = tuple(round(44 / mm) for mm in spacing)
    center = [n / 2 for n in shape]
    small, large = sphere(shape, center, 11.0, spacing), sphere(shape, center, 17.0, spacing)
    found = surface_distances(small, large, spacing)
    half = np.linalg.norm(spacing) / 2
    assert found.mean() == pytest.approx(6.0, abs=half)
    assert found.hausdorff(95) == pytest.approx(6.0, abs=2 * half)


def test_identical_masks_touch_everywhere():
    one = potato(1)
    found = surface_distances(one, one, SPACING)
    assert (found.hausdorff(100), found.mean(), found.surface_dice(0.0)) == (0.0, 0.0, 1.0)


def test_direction_counts():
    """A speck far away in the prediction alone must show in one direction only."""
    truth = cube((10, 30, 30), (2, 2, 2), (4, 6, 6))
    prediction = truth.copy()
    prediction[8, 28, 28] = True
    found = surface_distances(prediction, truth, SPACING)
    assert found.back.max() == 0.0
    assert found.there.max() == pytest.approx(np.linalg.norm([3 * 5.0, 21 * 0.8, 21 * 0.7]))


@monai
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [(5.0, 0.8, 0.7), (1.0, 1.0, 1.0), (0.9, 2.2, 1.4)])
def test_agrees_with_monai(seed, spacing):
    """MONAI takes the same surface (voxels with a 6-neighbour outside) and the larger of two directed percentiles."""
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    one, other = potato(seed, spacing=spacing), potato(seed + 50, spacing=spacing)
    found = surface_distances(one, other, spacing)
    theirs = [torch.from_numpy(array)[None, None].float() for array in (one, other)]
    for percentile in (95, 100):
        hd = compute_hausdorff_distance(*theirs, include_background=True, percentile=percentile, spacing=list(spacing))
        assert found.hausdorff(percentile) == pytest.approx(float(hd), rel=1e-5)
    for tolerance in (1.0, 3.0):
        nsd = compute_surface_dice(*theirs, [tolerance], include_background=True, spacing=list(spacing))
        assert found.surface_dice(tolerance) == pytest.approx(float(nsd), rel=1e-5)


@monai
def test_a_mask_cut_off_by_the_image_ends_there_for_us_and_monai():
    """The cut is surface: the image knows nothing beyond it."""
    import torch
    from monai.metrics import compute_hausdorff_distance

    one, other = cube((6, 20, 20), (0, 0, 0), (6, 9, 20)), cube((6, 20, 20), (0, 0, 0), (6, 12, 20))
    theirs = [torch.from_numpy(array)[None, None].float() for array in (one, other)]
    hd = compute_hausdorff_distance(*theirs, include_background=True, percentile=100, spacing=list(SPACING))
    assert surface_distances(one, other, SPACING).hausdorff(100) == pytest.approx(3 * 0.8) == pytest.approx(float(hd))


def uncropped(prediction, truth, spacing):
    """The definition itself, on a frame of empty voxels round the whole image."""
    cross = ndimage.generate_binary_structure(3, 1)
    wide = [np.pad(array, 3) for array in (prediction, truth)]
    borders = [array & ~ndimage.binary_erosion(array, cross) for array in wide]
    there = ndimage.distance_transform_edt(~borders[1], sampling=spacing)[borders[0]]
    back = ndimage.distance_transform_edt(~borders[0], sampling=spacing)[borders[1]]
    return there, back


@st.composite
def pairs(draw):
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = [random.random(shape) < draw(st.floats(0.02, 0.98)) for _ in range(2)]
    for array in arrays:
        array[tuple(draw(st.integers(0, n - 1)) for n in shape)] = True
    return *arrays, draw(st.tuples(*[st.floats(0.3, 6.0)] * 3))


@settings(max_examples=150, deadline=None)
@given(pairs())
def test_the_crop_changes_nothing_even_at_the_border_of_the_image(pair):
    found = surface_distances(*pair)
    there, back = uncropped(*pair)
    np.testing.assert_allclose(np.sort(found.there), np.sort(there), rtol=1e-12)
    np.testing.assert_allclose(np.sort(found.back), np.sort(back), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(pairs())
def test_swapping_the_masks_swaps_the_directions(pair):
    one, other, spacing = pair
    found, swapped = surface_distances(one, other, spacing), surface_distances(other, one, spacing)
    np.testing.assert_array_equal(found.there, swapped.back)
    assert found.hausdorff() == swapped.hausdorff()
    assert found.surface_dice(2.0) == swapped.surface_dice(2.0)
