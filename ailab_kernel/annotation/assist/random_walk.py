"""Clicks without a model: a random walk on the image decides how far a click reaches.

A voxel takes the state of the seed that a walker who avoids edges of the image would most likely meet first (Grady
2006). Only the surroundings of the newest click are solved, on a grid of at most ``_NODES`` voxels to a side; earlier
clicks hold. The same inputs give the same mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.resample import to_grid
from ailab_kernel.volumes.volume import Volume

from .refine import Hint, Refiner, ball_box, distance_mm, part_of, pin

_NODES = 40
_NEAR_MM, _FAR_MM = 4.0, 12.0  # how far a click acts at least and at most
_CORE, _RIM = 0.6, 2.5         # shares of that: what is surely the click's, and where its power ends
_ALIKE = 2.0                   # standard deviations of the noise within which voxels are alike
_SMOOTH = 1.0                  # voxels: noise is no edge
_PRIOR = 0.1                   # pull of a voxel's own grey value
_NEXT = 25                     # percentile of the distances to other grey values: the next tissue's
_WEAKEST = 1e-3                # of a step across an edge: keeps the system solvable


@dataclass(frozen=True)
class RandomWalk:
    """A `Refiner` that needs no model."""

    name: str = "random walk"

    def refine(self, vol: Volume, array: np.ndarray, hints: Sequence[Hint], *, label: int) -> np.ndarray:
        """Return the mask after the clicks; see `Refiner.refine`."""
        if not hints:
            return array.copy()
        newest = hints[-1]
        adds = newest.label == label
        reach = _reach_mm(vol.grid, array, newest, label=label)
        box = ball_box(vol.grid, newest.place, _RIM * reach)
        wrong = (array[box] == label) != adds
        part = part_of(vol.grid, box)
        coarse = _coarser(part)
        image = ndimage.gaussian_filter(to_grid(vol.array[box].astype(np.float32), part, coarse), _SMOOTH)
        away = distance_mm(coarse, (np.linalg.inv(coarse.affine) @ vol.grid.affine @ [*newest.place, 1.0])[:3])
        core = _alike(image, away, _CORE * reach)
        like = _likeness(image, core, to_grid(wrong.astype(np.float32), part, coarse) >= 0.5)
        share = walk(image, core, (away < _RIM * reach) & ~core, spacing_mm=coarse.spacing_mm, like=like)
        refined = array.copy()
        gained = to_grid(share, coarse, part) >= 0.5
        refined[box] = np.where(gained & wrong & np.isin(array[box], (0, label)), label if adds else 0, array[box])
        return pin(refined, vol.grid, hints, label=label)


def fallback() -> Refiner:
    """Return what refines where no model can."""
    return RandomWalk()


def walk(
    image: np.ndarray, seeds: np.ndarray, free: np.ndarray, *, spacing_mm: tuple[float, float, float], like: np.ndarray
) -> np.ndarray:
    """Return how likely a random walker from each voxel meets a seed first.

    Parameters
    ----------
    image
        float, shape (slices, rows, columns).
    seeds
        bool, same shape: where the answer is 1.
    free
        bool, same shape: what is asked; all that is neither seed nor free is 0.
    spacing_mm
        (slice, row, column): a step along a short axis is likelier.
    like
        float, 0 to 1, same shape: how far a voxel by itself looks like the seeds.

    Returns
    -------
    np.ndarray
        float32, 0 to 1.
    """
    share = seeds.astype(np.float32)
    if not free.any():
        return share
    rows = _laplacian(image, spacing_mm)[np.flatnonzero(free)]
    inner = rows[:, np.flatnonzero(free)]
    pull = _PRIOR * like[free] - rows @ (seeds & ~free).ravel().astype(float)
    inner = inner + _PRIOR * sparse.eye_array(inner.shape[0])
    scale = sparse.diags_array(1.0 / inner.diagonal())
    share[free] = cg(inner, pull, rtol=1e-3, maxiter=300, M=scale)[0]
    return share


def _laplacian(image: np.ndarray, spacing_mm: tuple[float, float, float]) -> sparse.csr_array:
    """Weights of the steps between neighbours, as the matrix of a graph."""
    index = np.arange(image.size).reshape(image.shape)
    noise = _noise(image)
    ends, weights = [], []
    for axis, step in enumerate(spacing_mm):
        here, there = (np.moveaxis(index, axis, 0)[part].ravel() for part in (slice(None, -1), slice(1, None)))
        jump = (image.ravel()[here] - image.ravel()[there]) / noise
        ends.append((here, there))
        weights.append((np.exp(-0.5 * jump * jump) + _WEAKEST) * (min(spacing_mm) / step) ** 2)
    here, there, weight = np.hstack([e[0] for e in ends]), np.hstack([e[1] for e in ends]), np.hstack(weights)
    steps = sparse.coo_array((weight, (here, there)), (image.size, image.size)).tocsr()
    steps = steps + steps.T
    return (sparse.diags_array(steps.sum(axis=1)) - steps).tocsr()


def _noise(image: np.ndarray) -> float:
    """Standard deviation within small surroundings, the median of all, which edges hardly move."""
    mean, square = (ndimage.uniform_filter(part.astype(np.float64), 7) for part in (image, image**2))
    return max(float(np.median(np.maximum(square - mean**2, 0.0))) ** 0.5, 1e-3)


def _alike(image: np.ndarray, away: np.ndarray, reach_mm: float) -> np.ndarray:
    """The piece around the click within ``reach_mm`` whose smoothed values are like the click's own; bool."""
    start = np.unravel_index(away.argmin(), away.shape)
    alike = (np.abs(image - image[start]) <= _ALIKE * _noise(image)) & (away <= reach_mm)
    alike[start] = True
    pieces, _ = ndimage.label(alike)
    return pieces == pieces[start]


def _likeness(image: np.ndarray, core: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """How far a voxel's grey value alone is that of what was clicked on: a half lies half way to the next tissue."""
    away = np.abs(image - image[core].mean())
    rest = away[wrong & (away > 4.0 * _noise(image))]
    return np.exp2(-((2.0 * away / np.percentile(rest, _NEXT)) ** 2)) if rest.size else np.ones_like(image)


def _reach_mm(grid: Grid, array: np.ndarray, hint: Hint, *, label: int) -> float:
    """How deep the click lies in what is wrong."""
    box = ball_box(grid, hint.place, _FAR_MM)
    right = (array[box] == label) == (hint.label == label)
    away = distance_mm(grid, hint.place, box)[right]
    return float(np.clip(away.min(initial=_FAR_MM), _NEAR_MM, _FAR_MM))


def _coarser(grid: Grid) -> Grid:
    """The same field of view with at most ``_NODES`` voxels to a side."""
    shape = min(grid.shape[0], _NODES), min(grid.shape[1], _NODES), min(grid.shape[2], _NODES)
    to_source = np.eye(4)
    for axis, (fine, few) in enumerate(zip(grid.shape, shape, strict=True)):
        to_source[axis, axis] = fine / few
        to_source[axis, 3] = (fine / few - 1) / 2
    return Grid(shape, grid.affine @ to_source)
