"""Boxes, surface elements, rims and centre lines, each against a count by hand or the slow way to the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ailab_kernel.validation.shape import (
    boundary_iou,
    bounding_box,
    cl_dice,
    common_box,
    element_areas,
    neighbour_codes,
    offsets_within,
    rim,
    skeleton,
)

from .shapes import cube, potato, sphere

SPACING = (5.0, 0.8, 0.7)
WHOLE = np.ones((3, 3, 3))


@st.composite
def arrays(draw, most=9):
    shape = draw(st.tuples(*[st.integers(1, most)] * 3))
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random(shape) < draw(st.floats(0.0, 1.0))


@settings(deadline=None)
@given(arrays())
def test_the_box_is_that_of_scipy(array):
    found = ndimage.find_objects(array.astype(np.uint8))
    assert bounding_box(array) == (found[0] if found else None)


def test_a_common_box_holds_both_and_an_empty_mask_has_none():
    one, other, empty = cube((9, 9, 9), (1, 2, 3), (1, 1, 1)), cube((9, 9, 9), (4, 1, 3), (2, 2, 2)), np.zeros((9, 9, 9), bool)
    assert common_box(one, other) == (slice(1, 6), slice(1, 3), slice(3, 5))
    assert common_box(empty, one) == bounding_box(one)
    assert common_box(empty, empty) is None


def test_steps_within_a_radius_come_nearest_first():
    offsets, lengths = offsets_within(2.4, SPACING)
    assert offsets[0].tolist() == [0, 0, 0]
    assert (np.diff(lengths) >= 0).all()
    assert [0, 3, 0] in offsets.tolist(), "3 × 0.8 is 2.4 but for rounding"
    np.testing.assert_allclose(lengths, np.linalg.norm(offsets * SPACING, axis=1))


def area(mask, spacing=SPACING):
    return element_areas(spacing)[neighbour_codes(np.pad(mask, 1))].sum()


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_the_area_of_a_box_by_hand(slices, rows, columns):
    """Faces of whole elements, edges of two halves that stand at an angle, corners of three eighths."""
    s, r, c = SPACING
    n, m, k = slices - 1, rows - 1, columns - 1
    faces = 2 * (n * m * s * r + n * k * s * c + m * k * r * c)
    edges = 4 * (n * s * np.hypot(r, c) + m * r * np.hypot(s, c) + k * c * np.hypot(s, r)) / 2
    corners = 8 * np.linalg.norm([r * c, s * c, s * r]) / 8
    assert area(cube((8, 8, 8), (1, 1, 1), (slices, rows, columns))) == pytest.approx(faces + edges + corners)


def test_the_area_of_a_ball_is_some_percent_too_large():
    """Known of every surface between voxels: it is a staircase with its corners cut. docs/metrics.md says so."""
    for spacing in ((1.0, 1.0, 1.0), (2.0, 0.5, 0.5)):
        ball = sphere([round(52 / mm) for mm in spacing], [26 / mm for mm in spacing], 24.0, spacing)
        assert 1.0 < area(ball, spacing) / (4 * np.pi * 24**2) < 1.2


def slow_rim(mask, width, spacing):
    wide = np.pad(mask, 1)
    touching = wide & ~ndimage.binary_erosion(wide)
    near = ndimage.distance_transform_edt(wide, sampling=spacing) <= width
    return (wide & (near | touching))[1:-1, 1:-1, 1:-1]


@settings(max_examples=80, deadline=None)
@given(arrays(), st.sampled_from([0.1, 0.9, 2.0, 5.5, 40.0]))
def test_the_rim_is_what_a_distance_transform_gives(array, width):
    np.testing.assert_array_equal(rim(array, width_mm=width, spacing_mm=SPACING), slow_rim(array, width, SPACING))


def test_boundary_iou_sees_what_dice_does_not():
    """A ball against one 2 mm smaller: Dice 0.87, the rims 2 mm wide have nearly nothing in common."""
    large, small = (sphere((64, 64, 64), (32, 32, 32), radius, (1, 1, 1)) for radius in (24.0, 22.0))
    assert 2 * small.sum() / (large.sum() + small.sum()) > 0.85
    assert boundary_iou(large, small, width_mm=2.0, spacing_mm=(1, 1, 1)) < 0.1
    assert boundary_iou(large, large, width_mm=2.0, spacing_mm=(1, 1, 1)) == 1.0
    empty = np.zeros_like(large)
    assert boundary_iou(empty, empty, width_mm=2.0, spacing_mm=(1, 1, 1)) == 1.0
    assert boundary_iou(empty, large, width_mm=2.0, spacing_mm=(1, 1, 1)) == 0.0


def euler(array):
    """Corners minus edges plus faces minus cubes of the voxels as closed cubes (26-neighbours hang together)."""
    wide, total = np.pad(array, 1), 0
    for axes in np.ndindex(2, 2, 2):
        part = wide
        for axis, joined in enumerate(axes):
            if joined:
                low, high = ((slice(None),) * axis + (side,) for side in (slice(None, -1), slice(1, None)))
                part = part[low] | part[high]
        total += (-1) ** (3 - sum(axes)) * int(part.sum())
    return total


def topology(array):
    wide = np.pad(array, 1)
    return ndimage.label(wide, WHOLE)[1], ndimage.label(~wide)[1], euler(array)


@settings(max_examples=150, deadline=None)
@given(arrays(most=12))
def test_thinning_keeps_pieces_holes_and_tunnels(array):
    line = skeleton(array)
    assert not (line & ~array).any()
    assert topology(line) == topology(array)
    np.testing.assert_array_equal(skeleton(line), line)


@pytest.mark.parametrize("seed", range(5))
def test_thinning_keeps_the_topology_of_lumps(seed):
    array = potato(seed)
    assert topology(skeleton(array)) == topology(array)


def test_a_straight_tube_thins_to_its_axis_and_a_ring_to_a_ring():
    tube = sphere((11, 11, 1), (5, 5, 0), 3.3, (1, 1, 1)).repeat(40, axis=2)
    line = np.argwhere(skeleton(tube))
    assert (line[:, :2] == 5).all()
    assert 34 <= len(line) <= 40
    rows, columns, slices = np.ogrid[-20:21, -20:21, -5:6]
    ring = (np.sqrt(rows**2 + columns**2) - 14) ** 2 + slices**2 <= 9
    thin = skeleton(ring)
    assert topology(thin) == topology(ring) == (1, 1, 0)
    neighbours = ndimage.convolve(thin.astype(int), WHOLE, mode="constant")[thin] - 1
    assert neighbours.max() <= 4
    assert thin.sum() < 110, "about as long as its circle of 88 mm"


def test_cl_dice_sees_a_gap_that_dice_does_not():
    tube = cube((9, 9, 60), (3, 3, 2), (3, 3, 56))
    gap, thin = tube.copy(), cube((9, 9, 60), (4, 4, 2), (1, 1, 56))
    gap[..., 20:40] = False
    assert cl_dice(tube, tube) == cl_dice(thin, tube) == 1.0, "the thickness does not count"
    assert cl_dice(gap, tube) == pytest.approx(2 * (34 / 54) / (1 + 34 / 54), abs=0.03)
    empty = np.zeros_like(tube)
    assert (cl_dice(empty, empty), cl_dice(empty, tube), cl_dice(tube, empty)) == (1.0, 0.0, 0.0)
    assert cl_dice(cube((9, 9, 60), (0, 0, 0), (2, 2, 60)), tube) == 0.0
