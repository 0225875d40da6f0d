"""Shapes with figures known from a formula, at 1, 1/2 and 1/4 mm: within half a voxel, and better the finer."""

from dataclasses import dataclass

import numpy as np
import pytest

from ailab_kernel.validation.metrics import diagonal_mm, score
from ailab_kernel.volumes.geometry import Grid

from .shapes import mask, sphere

STEPS = (1.0, 0.5, 0.25)
ROUND, FLAT = (1.0, 1.0, 1.0), (2.0, 1.0, 0.5)  # mm at the coarsest: isotropic, and slices four times as far apart
R, WHOLE, BETWEEN = 10.0, 4.0, 2.6  # shifts by whole voxels at every step, and by parts of them
SIDE_MM = 32.0


def centers(step, spacing):
    """A lattice of ``SIDE_MM`` mm with the origin off every voxel's centre, as a patient would lie."""
    shape = [round(SIDE_MM / (mm * step)) for mm in spacing]
    return shape, [(np.arange(n) - n / 2 + 0.3) * mm * step for n, mm in zip(shape, spacing, strict=True)]


def ball(step, spacing, radius, shift=0.0, axis=2):
    _, axes = centers(step, spacing)
    axes[axis] = axes[axis] - shift
    return sum(one**2 for one in np.ix_(*axes)) <= radius**2


def box(step, spacing, side, shift=0.0, axis=2):
    _, axes = centers(step, spacing)
    axes[axis] = axes[axis] - shift
    return np.logical_and.reduce(np.broadcast_arrays(*(abs(one) <= side / 2 for one in np.ix_(*axes))))


@dataclass(frozen=True)
class Shape:
    """Prediction and truth as functions of step and spacing, and what the formulas say of the smooth surfaces."""

    pair: object
    hd: float
    hd95: float
    assd: float
    volume: float
    truth: float
    area: float


def shifted_spheres(axis, shift):
    """The distance from a point of one sphere at cosine u to the other one's surface, even over u (Archimedes)."""
    u = np.linspace(-1, 1, 200_001)
    distances = np.abs(np.sqrt(R**2 + shift**2 - 2 * R * shift * u) - R)
    volume = 4 / 3 * np.pi * R**3
    return Shape(lambda step, mm: (ball(step, mm, R, shift, axis), ball(step, mm, R)), shift,
                 float(np.quantile(distances, 0.95)), float(distances.mean()), volume, volume, 4 * np.pi * R**2)


def concentric(small, large):
    volumes = [4 / 3 * np.pi * r**3 for r in (small, large)]
    apart = large - small
    return Shape(lambda step, mm: (ball(step, mm, small), ball(step, mm, large)), apart, apart, apart, *volumes,
                 4 * np.pi * large**2)


def shells():
    """Hollow spheres of 6 to 9 and 6.5 to 11 mm: each surface has its own nearest one."""
    inner, outer = (4 / 3 * np.pi * (b**3 - a**3) for a, b in ((6, 9), (6.5, 11)))
    areas = {r: 4 * np.pi * r**2 for r in (6, 9, 6.5, 11)}
    apart = {6: 0.5, 9: 2.0, 6.5: 0.5, 11: 2.0}
    mean = sum(areas[r] * apart[r] for r in areas) / sum(areas.values())
    return Shape(lambda step, mm: (ball(step, mm, 9) & ~ball(step, mm, 6), ball(step, mm, 11) & ~ball(step, mm, 6.5)),
                 2.0, 2.0, mean, inner, outer, areas[6.5] + areas[11])


def shifted_cubes(axis, d):
    """Cubes of 16 mm, ``d`` mm apart along an axis. On one cube: an end ``d`` from the other's; the end within the other
    that far or less, near its sides as far as they; of the sides a strip that is the nearer to the end the further in."""
    side = 16.0
    x = (np.arange(2000) + 0.5) / 2000 * side
    margin = np.minimum(x, side - x)
    inside = np.minimum(np.minimum(margin[:, None], margin[None]), d)
    total = 6 * side**2
    strip = np.linspace(0, d, 2001)
    # Areas by distance: near end, far end, strips of the four sides (4 × side × width); the rest touches.
    values = np.concatenate([np.full(1, d), inside.ravel(), d - strip])
    weights = np.concatenate([np.full(1, side**2), np.full(inside.size, side**2 / inside.size),
                              np.full(strip.size, 4 * side * d / strip.size)])
    order = np.argsort(values)
    rest = total - weights.sum()
    cumulated = rest + np.cumsum(weights[order])
    return Shape(lambda step, mm: (box(step, mm, side, d, axis), box(step, mm, side)), d,
                 float(values[order][np.searchsorted(cumulated, 0.95 * total)]), float(values @ weights / total), side**3,
                 side**3, total)


SHAPES = {
    "spheres, shifted": shifted_spheres(2, WHOLE),
    "spheres, shifted across the slices": shifted_spheres(0, WHOLE),
    "spheres, one in the other": concentric(8.0, 11.0),
    "shells": shells(),
    "cubes, shifted": shifted_cubes(2, WHOLE),
    "cubes, shifted across the slices": shifted_cubes(0, WHOLE),
}
OFF_THE_LATTICE = {
    "spheres": shifted_spheres(2, BETWEEN), "spheres across the slices": shifted_spheres(0, BETWEEN),
    "cubes": shifted_cubes(2, BETWEEN), "cubes across the slices": shifted_cubes(0, BETWEEN),
}  # fmt: skip


def measured(shape, step, spacing):
    mm = tuple(one * step for one in spacing)
    found = score(*(mask(array, spacing=mm) for array in shape.pair(step, spacing)), tolerance_mm=1.0)["wall"]
    return mm, found


@pytest.mark.parametrize("spacing", [ROUND, FLAT], ids=["isotropic", "anisotropic"])
@pytest.mark.parametrize("name", SHAPES)
def test_figures_are_within_half_a_voxel_and_better_the_finer(name, spacing):
    shape, errors = SHAPES[name], []
    for step in STEPS:
        mm, found = measured(shape, step, spacing)
        half = np.linalg.norm(mm) / 2
        wrong = {key: abs(found[key] - getattr(shape, key)) for key in ("hd", "hd95", "assd")}
        assert max(wrong.values()) <= half, (step, wrong)
        for key, value in (("volume_ml", shape.volume), ("truth_ml", shape.truth)):
            assert abs(found[key] * 1000 - value) <= shape.area * half
        errors.append((sum(wrong.values()), abs(found["truth_ml"] * 1000 - shape.truth) / shape.truth))
    (first, _), (second, _), (third, volume) = errors
    assert first > second > third or max(first, second, third) < 1e-3, errors  # cubes on the lattice are exact
    assert volume < 0.005


@pytest.mark.parametrize("spacing", [ROUND, FLAT], ids=["isotropic", "anisotropic"])
@pytest.mark.parametrize("name", OFF_THE_LATTICE)
def test_a_shift_by_parts_of_a_voxel_adds_at_most_half_a_voxel_more(name, spacing):
    """Either mask's surface is drawn up to half a voxel from where it is, and both may be wrong the same way."""
    for step in STEPS:
        mm, found = measured(OFF_THE_LATTICE[name], step, spacing)
        for key in ("hd", "hd95", "assd"):
            assert abs(found[key] - getattr(OFF_THE_LATTICE[name], key)) <= np.linalg.norm(mm), (step, key)


@pytest.mark.parametrize("one", [True, False])
def test_empty_masks_have_their_rule_at_every_step(one):
    for step in STEPS[:2]:
        mm = tuple(step * x for x in FLAT)
        array = ball(step, FLAT, R)
        found = score(mask(array * 0, spacing=mm), mask(array * one, spacing=mm), tolerance_mm=1.0)["wall"]
        diagonal = diagonal_mm(Grid(array.shape, np.diag([*mm, 1.0])))
        assert [found[name] for name in ("hd", "hd95", "assd")] == [diagonal if one else 0.0] * 3
        assert [found[name] for name in ("dice", "nsd", "boundary_iou")] == [0.0 if one else 1.0] * 3


def test_a_ball_of_the_other_maker_is_the_same():
    """The shapes of this module and of `shapes` agree where both can make one."""
    np.testing.assert_array_equal(ball(1.0, ROUND, R), sphere((32, 32, 32), (15.7,) * 3, R, ROUND))
