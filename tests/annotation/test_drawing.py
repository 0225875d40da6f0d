"""The rasteriser beside others: voxel centres in the patient, matplotlib's polygons, scipy's holes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from scipy import ndimage

from ailab_kernel.annotation.drawing import Operation, apply, read_operation
from ailab_kernel.annotation.drawing.raster import inside, swept
from ailab_kernel.annotation.drawing.shapes import interpolated
from ailab_kernel.ground.errors import WrongUse
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.volume import Volume

SHAPE = (9, 14, 17)
NEAR_MM = 1e-5


def oblique(spacing=(3.1, 1.3, 0.8), angles=(0.35, -0.23, 0.61)) -> Grid:
    """Slice, row and column directions turned about all three axes, each of its own length."""
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        one, two = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[[one, one, two, two], [one, two, one, two]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turned = turn @ turned
    affine = np.eye(4)
    affine[:3, :3] = turned[:, [2, 1, 0]] * spacing
    affine[:3, 3] = -63.5, 41.25, -187.0
    return Grid(SHAPE, affine)


def whole(region) -> np.ndarray:
    found = np.zeros(SHAPE, bool)
    found[region.box] = region.where
    return found


def centres(grid: Grid) -> np.ndarray:
    """(voxels, 3): LPS mm of every voxel."""
    return np.indices(SHAPE).reshape(3, -1).T @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def distance_mm(grid: Grid, path: np.ndarray) -> np.ndarray:
    """From every voxel centre to a path, by the cross product, one stretch after the other."""
    places, corners = centres(grid), path.astype(float) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    found = np.linalg.norm(places - corners[0], axis=1)
    for begin, end in pairwise(corners):
        length = np.linalg.norm(end - begin)
        found = np.minimum(found, np.linalg.norm(places - end, axis=1))
        if length > 0:
            along = (places - begin) @ (end - begin) / length
            beside = np.linalg.norm(np.cross(places - begin, end - begin), axis=1) / length
            found = np.where((along >= 0) & (along <= length), np.minimum(found, beside), found)
    return found.reshape(SHAPE)


def held(path: np.ndarray) -> np.ndarray:
    found = np.zeros(SHAPE, bool)
    for point in np.floor(path.astype(float) + 0.5).astype(int):
        if ((point >= 0) & (point < SHAPE)).all():
            found[tuple(point)] = True
    return found


coordinate = st.floats(-4, 20, width=32)
paths = st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=1, max_size=5).map(lambda all: np.array(all, np.float32))
radii = st.floats(0.05, 9.0)
grids = st.builds(oblique, st.tuples(*[st.floats(0.5, 4.0)] * 3), st.tuples(*[st.floats(-1.5, 1.5)] * 3))


@settings(max_examples=80, deadline=None)
@given(paths, radii, grids)
def test_a_ball_is_what_lies_within_its_radius_in_the_patient(path, radius, grid):
    ours, far = whole(swept(path, radius, grid)), distance_mm(grid, path)
    sure = np.abs(far - radius) > NEAR_MM
    assert np.array_equal(ours[sure], ((far < radius) | held(path))[sure])


@settings(max_examples=80, deadline=None)
@given(paths, radii, grids, st.integers(0, 2), st.integers(0, 8))
def test_a_disc_is_the_same_and_stays_in_its_slice(path, radius, grid, axis, index):
    path[:, axis] = index
    ours, far = whole(swept(path, radius, grid, axis=axis, index=index)), distance_mm(grid, path)
    there = np.zeros(SHAPE, bool)
    there[(slice(None),) * axis + (index,)] = True
    sure = np.abs(far - radius) > NEAR_MM
    assert np.array_equal(ours[sure], (((far < radius) | held(path)) & there)[sure])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9), st.integers(0, 2))
def test_a_polygon_is_matplotlibs(corners, axis):
    flat = np.array(corners, np.float32).astype(float) + np.array([0.0123, 0.0317])      # no centre on an edge
    grid, free = oblique(), [one for one in range(3) if one != axis]
    points = np.insert(flat, axis, 4, axis=1)
    size = [SHAPE[one] for one in free]
    theirs = Outline(np.vstack([flat, flat[:1]])).contains_points(np.indices(size).reshape(2, -1).T).reshape(size)
    ours = whole(inside(points, grid, axis=axis, index=4))
    assert np.array_equal(ours.take(4, axis=axis), even_odd(flat, size))
    if simple(flat):
        assert np.array_equal(ours.take(4, axis=axis), theirs)
    assert ours.sum() == ours.take(4, axis=axis).sum()


def even_odd(flat, size) -> np.ndarray:
    """One centre at a time: how many edges lie to its right."""
    found = np.zeros(size, bool)
    for row, column in np.ndindex(*size):
        for (r1, c1), (r2, c2) in zip(flat, np.roll(flat, -1, axis=0), strict=True):
            if (r1 > row) != (r2 > row) and column < c1 + (row - r1) * (c2 - c1) / (r2 - r1):
                found[row, column] ^= True
    return found


def simple(flat) -> bool:
    """Convex, so that winding and parity agree."""
    edges = np.roll(flat, -1, axis=0) - flat
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    return len(flat) == 3 or (len(flat) == 4 and bool((turns > 0.5).all() or (turns < -0.5).all()))


@pytest.fixture
def vol() -> Volume:
    values = np.random.default_rng(7).integers(-900, 900, SHAPE).astype(np.int16)
    return Volume(values, oblique(), slope=0.5, intercept=-30.0)


def drawn(mask, vol, **asked):
    asked = {"axis": 0, "index": 3, "label": 1} | asked
    points = np.array(asked.pop("points", np.zeros((0, 3))), np.float32)
    return apply(Operation(**asked, points=points), mask, vol)


def test_what_is_locked_stays_and_only_wished_values_are_painted(vol):
    mask = np.zeros(SHAPE, np.uint8)
    mask[3, 7, :] = 2
    change = drawn(mask, vol, tool="brush", points=[[3, 7, 8]], radius_mm=4.0, locked=(2,), within=(-100.0, 200.0))
    values = vol.values
    assert (mask[3, 7] == 2).all()
    assert len(change.at) == (mask == 1).sum() > 10
    assert ((values[mask == 1] >= -100) & (values[mask == 1] <= 200)).all()
    under = whole(swept(np.array([[3, 7, 8]], np.float32), 4.0, vol.grid, axis=0, index=3))
    assert np.array_equal(mask == 1, under & (values >= -100) & (values <= 200) & (np.arange(14)[:, None] != 7))
    mask.reshape(-1)[change.at] = change.before
    assert (mask > 0).sum() == 17


def test_an_outline_is_filled_and_an_open_one_refused(vol):
    mask = np.zeros(SHAPE, np.uint8)
    mask[3, 3:10, 4:12] = 1
    mask[3, 4:9, 5:11] = 0
    mask[3, 6, 7] = 1
    wished = ndimage.binary_fill_holes(mask[3])
    drawn(mask, vol, tool="fill", points=[[3, 5.2, 6.4]])
    assert np.array_equal(mask[3] > 0, wished)
    with pytest.raises(WrongUse, match="open to the edge"):
        drawn(mask, vol, tool="fill", points=[[3, 0, 0]])
    with pytest.raises(WrongUse, match="outside of the image"):
        drawn(mask, vol, tool="fill", points=[[3, -4, 0]])


def test_between_two_discs_lie_discs_of_sizes_in_between():
    grid = Grid((9, 61, 61), np.diag([2.0, 1.5, 1.0, 1.0]))
    rows, columns = np.indices((61, 61))
    away = np.hypot((rows - 30) * 1.5, columns - 30.0)
    marked = np.zeros(grid.shape, bool)
    marked[0], marked[8] = away < 20, away < 12
    found = interpolated(marked, grid, axis=0)
    assert np.array_equal(found[0], marked[0])
    assert np.array_equal(found[8], marked[8])
    for number in range(1, 8):
        assert (found[number] >= (away < 18.5 - number)).all()
        assert (found[number] <= (away < 21.5 - number)).all()
    assert np.array_equal(interpolated(marked.transpose(1, 0, 2), Grid((61, 9, 61), np.diag([1.5, 2.0, 1.0, 1.0])), axis=1).transpose(1, 0, 2), found)


def test_islands_go_and_outlines_become_even(vol):
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:6, 3:10, 3:10] = 1
    mask[8, 12:14, 15:17] = 1
    mask[0, 0, 0] = 2
    drawn(mask, vol, tool="islands", axis=-1)
    assert (mask == 1).sum() == 4 * 7 * 7
    assert mask[0, 0, 0] == 2
    mask[4, 6, 10], before = 1, mask.copy()
    drawn(mask, vol, tool="smooth", axis=0, index=4, radius_mm=1.6)
    assert mask[4, 6, 10] == 0, "a spike of one voxel"
    assert np.array_equal(np.delete(mask, 4, axis=0), np.delete(before, 4, axis=0)), "other slices stay"
    assert (mask[4] == 1).sum() > 40


def test_interpolation_leaves_other_labels_alone(vol):
    mask = np.zeros(SHAPE, np.uint8)
    mask[1, 4:9, 4:9] = mask[5, 4:9, 4:9] = 1
    mask[3, 6, 6] = 2
    drawn(mask, vol, tool="interpolate")
    assert mask[3, 6, 6] == 2
    assert (mask[1:6, 4:9, 4:9] > 0).all()
    assert (mask > 0).sum() == 125


GOOD = {"tool": "brush", "label": 1, "axis": 0, "index": 3, "radius_mm": 2.0, "locked": [], "within": None}


@pytest.mark.parametrize(("wrong", "said"), [
    ({"tool": "laser"}, "one of brush"), ({"label": 3}, "not of this task"), ({"axis": 5}, "0, 1, 2 or -1"),
    ({"index": 9}, "not in the series"), ({"radius_mm": -1}, "outside 0 to"), ({"radius_mm": float("nan")}, "outside 0 to"),
    ({"tool": "polygon"}, "points are not enough"), ({"tool": "fill", "axis": -1}, "needs a slice"), ({"label": "x"}, "no drawing operation"),
    ({"tool": "smooth", "label": 0}, "works on a label"), ({"within": [1]}, "no drawing operation"), ({"locked": None}, "no drawing operation")])
def test_what_is_no_operation_is_refused_in_one_line(wrong, said):
    points = np.array([[3, 1, 1]], "<f4").tobytes()
    with pytest.raises(WrongUse, match=said):
        read_operation(GOOD | wrong, points, shape=SHAPE, values=(1, 2))


def test_points_must_be_near_and_whole():
    for points in (b"123", np.array([[3, 1, np.nan]], "<f4").tobytes(), np.array([[3, 1, 1e9]], "<f4").tobytes()):
        with pytest.raises(WrongUse):
            read_operation(GOOD, points, shape=SHAPE, values=(1, 2))
    head = read_operation(GOOD, np.array([[3, 1, 1]], "<f4").tobytes(), shape=SHAPE, values=(1, 2)).head()
    assert head == GOOD


def flooded(fits: np.ndarray, seed, *, axis: int) -> np.ndarray:
    """Neighbour by neighbour, one voxel at a time."""
    found, due = np.zeros(fits.shape, bool), [tuple(seed)]
    while due:
        one = due.pop()
        if fits[one] and not found[one]:
            found[one] = True
            for moved in (other for other in range(3) if other != axis):
                due += [tuple(value + step * (number == moved) for number, value in enumerate(one))
                        for step in (-1, 1) if 0 <= one[moved] + step < fits.shape[moved]]
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-1, 2), st.integers(1, 4))
def test_growing_takes_what_is_connected_and_stops_at_other_labels(seed, axis, reach):
    chance = np.random.default_rng(seed)
    vol = Volume(chance.integers(0, 10, SHAPE).astype(np.int16), oblique(), slope=2.0, intercept=-5.0)
    mask = (chance.random(SHAPE) < 0.1).astype(np.uint8) * 2
    place = np.array([chance.integers(0, size) for size in SHAPE])
    operation = Operation("grow", 1, axis=axis, index=int(place[axis]) if axis >= 0 else 0, within=(-3.0, 7.0),
                          points=(place[None] + chance.uniform(-0.49, 0.49, (1, 3))).astype(np.float32))
    fits, before = (vol.values >= -3) & (vol.values <= 7) & (mask == 0), mask.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ailab_kernel.annotation.drawing.shapes._REACH", reach)       # small boxes are doubled
        if not fits[tuple(place)]:
            with pytest.raises(WrongUse, match="outside of the limits"):
                apply(operation, mask, vol)
            return
        apply(operation, mask, vol)
    assert np.array_equal(mask, np.where(flooded(fits, place, axis=axis), 1, before))
