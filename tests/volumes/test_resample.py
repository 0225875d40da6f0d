import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ailab_kernel.ground.errors import VolumeError
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


def source_index(place: Grid, source: Grid) -> np.ndarray:
    """Where the voxels of a grid lie among the source's, shape (3, slices, rows, columns)."""
    voxels = np.stack([*np.indices(place.shape), np.ones(place.shape)])
    return np.tensordot(np.linalg.inv(source.affine) @ place.affine, voxels, 1)[:3]


def inside(place: Grid, source: Grid, margin: float) -> np.ndarray:
    index, size = source_index(place, source), np.array(source.shape).reshape(3, 1, 1, 1)
    return ((index >= margin) & (index <= size - 1 - margin)).all(0)


def clear_of_borders(place: Grid, source: Grid) -> np.ndarray:
    """Voxels whose nearest one in the source is beyond doubt."""
    index = source_index(place, source)
    return (np.abs(index - np.floor(index) - 0.5) > 1e-3).all(0)


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


def placed(shape, spacing, axes, flips, turn) -> Grid:
    return turned(grid(shape=shape, spacing=spacing, turn=turn), axes, flips)


# Rounded: an entry of 1e-310 in a direction makes ITK's singular value decomposition give up, and its images are then wrong.
TURNS = st.tuples(*[st.floats(-40, 40).map(lambda degrees: round(degrees, 12))] * 3)
PLACED = st.builds(placed, SHAPES, SPACINGS, AXES, FLIPS, TURNS)


def rounding(place: Grid) -> float:
    """Float32 at the size of the ramp's values."""
    return 4e-7 * max(1.0, float(np.abs(ramp(place)).max())) * 8


@settings(deadline=None, max_examples=60)
@given(PLACED, TURNS, SPACINGS)
def test_a_ramp_is_exact_on_any_finer_grid(source, turn, spacing):
    """Oblique, anisotropic, flipped: inside the field of view linear interpolation of a straight line is the line."""
    fine = min(source.spacing_mm) * 0.9
    middle = (source.affine @ [*(np.array(source.shape) - 1) / 2, 1])[:3]
    target = grid(shape=(9, 11, 7), spacing=np.multiply(spacing, fine / max(spacing)), turn=turn)
    affine = target.affine.copy()
    affine[:3, 3] += middle - (target.affine @ [4, 5, 3, 1])[:3]
    target = Grid(target.shape, affine)
    found, where = to_grid(ramp(source), source, target), inside(target, source, 0)
    assert where[4, 5, 3]
    assert np.abs(found - ramp(target))[where].max() < 20 * rounding(source)


@settings(deadline=None, max_examples=60)
@given(PLACED, TURNS)
def test_labels_take_the_voxel_they_lie_in(source, turn):
    labels = np.random.default_rng(1).integers(0, 9, source.shape).astype(np.uint8)
    target = grid(shape=(8, 9, 10), spacing=(1.1, 0.7, 0.9), turn=turn)
    affine = target.affine.copy()
    affine[:3, 3] += (source.affine @ [*(np.array(source.shape) - 1) / 2, 1])[:3] - (target.affine @ [4, 4, 5, 1])[:3]
    target = Grid(target.shape, affine)
    found = to_grid(labels, source, target, mode="nearest", fill=200)
    clear, near = clear_of_borders(target, source), np.rint(source_index(target, source)).astype(int)
    size = np.array(source.shape).reshape(3, 1, 1, 1)
    within = ((near >= 0) & (near < size)).all(0)
    assert np.array_equal(found[clear & within], labels[tuple(near[:, clear & within])])
    assert (found[clear & ~within] == 200).all()


@settings(deadline=None, max_examples=40)
@given(PLACED, PLACED, st.sampled_from(["linear", "nearest"]))
def test_torch_gives_the_same(source, other, mode):
    values = np.random.default_rng(2).normal(0, 300, (2, *source.shape)).astype(np.float32 if mode == "linear" else np.int16)
    for target in (other, model_grid(source, (2.0, 2.0, 2.0)), model_grid(source, (0.7, 0.8, 5.0))):
        expected = to_grid(values, source, target, mode=mode, fill=-7)
        found = to_grid(values, source, target, mode=mode, fill=-7, device="cpu")
        assert found.dtype == expected.dtype
        sure = clear_of_borders(target, source) if mode == "nearest" else np.ones(target.shape, bool)
        assert np.abs(found.astype(float) - expected)[:, sure].max(initial=0) < 1e-3


def test_a_device_that_is_not_here():
    import torch

    source = grid()
    with pytest.raises(VolumeError, match="cannot be used here"):
        to_grid(ramp(source), source, source, device="no-such-device")
    if not torch.cuda.is_available():
        with pytest.raises(VolumeError, match="leave it empty"):
            to_grid(ramp(source), source, source, device="cuda")
        assert np.array_equal(to_grid(ramp(source), source, source, device="auto"), ramp(source))


@settings(deadline=None, max_examples=40)
@example(placed((8, 8, 8), (1.0, 1.0, 1.0), [0, 1, 2], (1, 1, 1), (0.0, 0.0, 0.0078125)), (0.0, 0.0, 0.0))
@given(PLACED, TURNS)
def test_simpleitk_agrees(source, turn):
    """A peer's resampler, linear and nearest, on a grid at an angle that is not coarser (no antialias there)."""
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (pip install SimpleITK)")
    spacing = np.full(3, min(source.spacing_mm) * 0.5)
    target = grid(shape=(8, 9, 10), spacing=spacing, turn=turn)
    affine = target.affine.copy()
    affine[:3, 3] += (source.affine @ [*(np.array(source.shape) - 1) / 2, 1])[:3] - (target.affine @ [4, 4, 5, 1])[:3]
    target = Grid(target.shape, affine)

    def image(array, place):
        made, axes = sitk.GetImageFromArray(array), place.affine[:3, 2::-1]
        made.SetSpacing(np.linalg.norm(axes, axis=0).tolist())
        made.SetDirection((axes / np.linalg.norm(axes, axis=0)).ravel().tolist())
        made.SetOrigin(place.affine[:3, 3].tolist())
        return made

    values = np.random.default_rng(3).normal(0, 300, source.shape).astype(np.float32)
    within = inside(target, source, 0.01)
    for mode, kind, where in (("linear", sitk.sitkLinear, within),
                              ("nearest", sitk.sitkNearestNeighbor, within & clear_of_borders(target, source))):  # fmt: skip
        found = to_grid(values, source, target, mode=mode)
        theirs = sitk.GetArrayFromImage(sitk.Resample(image(values, source), image(found, target), sitk.Transform(), kind))
        assert np.abs(found - theirs)[where].max(initial=0) < (1e-2 if mode == "linear" else 1e-9)
