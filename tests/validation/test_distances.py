"""Surface distances against shapes known by hand, against MONAI, and against the definition itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ailab_kernel.validation.distances import surface_distances
from ailab_kernel.validation.shape import element_areas

from .shapes import cube, potato, sphere

SPACING = (5.0, 0.8, 0.7)
monai = pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")  # MONAI warns of itself


@pytest.mark.parametrize(("shift", "axis"), [(2, 0), (3, 1), (4, 2)])
def test_a_shifted_slab_is_as_far_as_its_shift(shift, axis):
    """Plates one voxel thick that fill the image across: half the area is a shift away, half one voxel less."""
    one, other = np.zeros((12, 12, 12), bool), np.zeros((12, 12, 12), bool)
    one[(slice(None),) * axis + (slice(3, 4),)] = True
    other[(slice(None),) * axis + (slice(3 + shift, 4 + shift),)] = True
    found = surface_distances(one, other, SPACING)
    mm = SPACING[axis]
    assert [found.hausdorff(100), found.hausdorff(95)] == pytest.approx([shift * mm] * 2)
    assert found.hausdorff(50) == pytest.approx((shift - 1) * mm)
    assert found.mean() == pytest.approx((shift - 0.5) * mm)
    limits = [(shift - 1) * mm - 1e-6, (shift - 1) * mm, shift * mm - 1e-6, shift * mm]
    assert [found.surface_dice(limit) for limit in limits] == pytest.approx([0, 0.5, 0.5, 1])


def test_a_distance_that_equals_the_tolerance_counts_whatever_the_rounding():
    """Three steps of 0.8 mm are 2.4000000000000004 in binary."""
    one, other = cube((9, 20, 9), (0, 2, 0), (9, 1, 9)), cube((9, 20, 9), (0, 5, 0), (9, 1, 9))
    assert surface_distances(one, other, SPACING).surface_dice(2.4) == 1.0


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
    # From the corner of the speck that is furthest to the corner of the box.
    assert found.there.max() == pytest.approx(np.linalg.norm([3 * 5.0, 21 * 0.8, 21 * 0.7]))
    assert found.hausdorff(100) > found.hausdorff(95) == 0.0, "a speck is less than 5 % of the area"


def as_monai(*arrays):
    import torch

    return [torch.from_numpy(array)[None, None].float() for array in arrays]


@monai
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [(5.0, 0.8, 0.7), (1.0, 1.0, 1.0), (0.9, 2.2, 1.4)])
def test_agrees_with_monai(seed, spacing):
    """The surface Dice is MONAI's with area-weighted elements. MONAI's Hausdorff distance runs between border voxels,
    each of which lies half a voxel's diagonal from an element: the two are a diagonal apart at most."""
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    one, other = potato(seed, spacing=spacing), potato(seed + 50, spacing=spacing)
    found, theirs = surface_distances(one, other, spacing), as_monai(one, other)
    for tolerance in (1.03, 2.98, 6.01):
        nsd = compute_surface_dice(*theirs, [tolerance], include_background=True, spacing=list(spacing),
                                   use_subvoxels=True)
        assert found.surface_dice(tolerance) == pytest.approx(float(nsd), abs=1e-6)
    hd = compute_hausdorff_distance(*theirs, include_background=True, percentile=100, spacing=list(spacing))
    assert abs(found.hausdorff(100) - float(hd)) <= np.linalg.norm(spacing)


@pytest.mark.slow
@monai
@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_monai_on_noise_of_every_neighbourhood(seed):
    """Speckle has all 256 neighbourhoods; every figure that MONAI has with area-weighted elements is equal."""
    from monai.metrics import compute_surface_dice
    from monai.metrics.utils import get_edge_surface_distance

    random = np.random.default_rng(seed)
    spacing = tuple(random.uniform(0.3, 6.0, 3))
    one, other = (random.random(random.integers(8, 20, 3)) < random.uniform(0.02, 0.5) for _ in range(2))
    shape = np.minimum(one.shape, other.shape)
    one, other = (array[tuple(slice(n) for n in shape)].copy() for array in (one, other))
    # MONAI crops without a frame, so that its figures differ where a mask meets the image's end: not compared here.
    one, other = np.pad(one, 2), np.pad(other, 2)
    found, theirs = surface_distances(one, other, spacing), as_monai(one, other)
    for tolerance in (0.51, 1.97):
        nsd = compute_surface_dice(*theirs, [tolerance], include_background=True, spacing=list(spacing),
                                   use_subvoxels=True)
        assert found.surface_dice(tolerance) == pytest.approx(float(nsd), abs=1e-6)
    edges, (there, back), areas = get_edge_surface_distance(
        *(array[0, 0].bool() for array in theirs), spacing=spacing, use_subvoxels=True, symmetric=True)
    mine = np.sort(areas[0][edges[0]].numpy()), np.sort(areas[1][edges[1]].numpy())
    np.testing.assert_allclose(np.sort(found.there_mm2), mine[0], rtol=1e-6)
    np.testing.assert_allclose(np.sort(found.back_mm2), mine[1], rtol=1e-6)
    np.testing.assert_allclose(np.sort(found.there), np.sort(there.numpy()), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.sort(found.back), np.sort(back.numpy()), rtol=1e-6, atol=1e-6)


@monai
def test_the_area_of_every_neighbourhood_is_monais():
    from monai.metrics.utils import create_table_neighbour_code_to_surface_area

    for spacing in [(1.0, 1.0, 1.0), SPACING, (0.9, 2.2, 1.4)]:
        theirs, kernel = create_table_neighbour_code_to_surface_area(spacing)
        assert kernel.flatten().tolist() == [128, 64, 32, 16, 8, 4, 2, 1]
        np.testing.assert_allclose(element_areas(spacing), theirs.numpy(), rtol=1e-6)


def test_a_mask_cut_off_by_the_image_ends_there():
    """The cut is surface: the image knows nothing beyond it."""
    one, other = cube((6, 20, 20), (0, 0, 0), (6, 9, 20)), cube((6, 20, 20), (0, 0, 0), (6, 12, 20))
    found = surface_distances(one, other, SPACING)
    assert found.hausdorff(100) == pytest.approx(3 * 0.8)
    framed = surface_distances(np.pad(one, 3), np.pad(other, 3), SPACING)
    np.testing.assert_array_equal(found.there_mm2, framed.there_mm2)


def definition(prediction, truth, spacing):
    """The definition itself, on a frame of empty voxels round the whole image, by a distance transform."""
    kernel = 2 ** np.arange(7, -1, -1).reshape(2, 2, 2)
    codes = [ndimage.correlate(np.pad(array, 3).astype(np.uint8), kernel.astype(np.uint8), mode="constant")
             for array in (prediction, truth)]
    borders = [(code > 0) & (code < 255) for code in codes]
    areas = [element_areas(spacing)[code[border]] for code, border in zip(codes, borders, strict=True)]
    there = ndimage.distance_transform_edt(~borders[1], sampling=spacing)[borders[0]]
    back = ndimage.distance_transform_edt(~borders[0], sampling=spacing)[borders[1]]
    return there, back, *areas


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
def test_the_quick_way_is_the_definition_even_at_the_border_of_the_image(pair):
    found = surface_distances(*pair)
    mine = found.there, found.back, found.there_mm2, found.back_mm2
    for one, other in zip(mine, definition(*pair), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_what_is_far_away_is_found_as_exactly_as_what_is_near():
    one, other = np.zeros((40, 60, 50), bool), np.zeros((40, 60, 50), bool)
    one[2:5, 2:9, 3:5], other[33:39, 50:58, 40:49], other[3, 3, 9] = True, True, True
    found = surface_distances(one, other, SPACING)
    for mine, theirs in zip((found.there, found.back), definition(one, other, SPACING), strict=False):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def figures(one, other, spacing):
    found = surface_distances(one, other, spacing)
    return [found.hausdorff(95), found.hausdorff(100), found.mean(), found.surface_dice(2.0)]


@settings(max_examples=50, deadline=None)
@given(pairs())
def test_swapping_the_masks_swaps_the_directions(pair):
    one, other, spacing = pair
    found, swapped = surface_distances(one, other, spacing), surface_distances(other, one, spacing)
    np.testing.assert_array_equal(found.there, swapped.back)
    assert figures(one, other, spacing) == pytest.approx(figures(other, one, spacing))


@settings(max_examples=60, deadline=None)
@given(pairs(), st.permutations(range(3)), st.tuples(*[st.sampled_from([1, -1])] * 3), st.tuples(*[st.integers(0, 4)] * 3))
def test_no_figure_depends_on_where_a_mask_lies_or_how_it_is_turned(pair, axes, mirror, moved):
    """Turned with its spacing, mirrored, or moved within a larger image."""
    one, other, spacing = pair
    turned = [array.transpose(axes)[tuple(slice(None, None, step) for step in mirror)] for array in (one, other)]
    wide = [np.pad(array, [(n, 4 - n) for n in moved]) for array in turned]
    assert figures(*wide, tuple(spacing[axis] for axis in axes)) == pytest.approx(figures(*pair), rel=1e-9)
