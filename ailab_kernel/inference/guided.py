"""A network that was shown a reader's clicks while it learnt answers on the part of the image that they are about."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ailab_kernel.ground.errors import ModelError
from ailab_kernel.models import Bundle
from ailab_kernel.recipes import find, prepare
from ailab_kernel.recipes.guidance import ROI, Click, guided, merge, see
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.labels import labels_from_logits
from ailab_kernel.volumes.resample import to_grid
from ailab_kernel.volumes.volume import Volume

from .engine import Engine, torch_engine
from .predict import settle

_MARGIN = 8  # voxels between the newest click and the edge of the window
# The image is seen twice, half a voxel apart, and the mean of the answers counts: what noise says differs.
_OFFSETS = (0.0, 0.5)


class GuidedPredictor:
    """Runs one guided model; see `recipes.guidance` for what it sees.

    Parameters
    ----------
    bundle
        The model; its weights are checked against their digest.

    Raises
    ------
    ModelError
        It takes no clicks.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.recipe = bundle, guided(find(bundle.recipe))
        takes, wanted = (network["in_channels"] for network in (bundle.network, self.recipe.network))
        if takes != wanted:
            msg = f"model {bundle.ref} takes {takes} channels, one that follows clicks {wanted}; it can only propose"
            raise ModelError(msg)
        self._seen: tuple[Volume, list[tuple[np.ndarray, Grid]]] | None = None

    @cached_property
    def _engine(self) -> Engine:
        """Opened by the first click: a desk must not wait for torch."""
        return torch_engine(self.bundle.network, self.bundle.weights(), device="cpu")

    def refine(self, vol: Volume, array: np.ndarray, clicks: Sequence[Click], *, label: int) -> np.ndarray:
        """Return the mask after the clicks, within the window around them and the mask.

        Parameters
        ----------
        vol
            CT in Hounsfield units, on any grid.
        array
            The mask as it stands: the recipe's values, uint8, shape (slices, rows, columns) of ``vol``.
        clicks
            Voxels of ``vol`` with their labels, oldest first.
        label
            The label that is refined.
        """
        looks = self._prepared(vol)
        grid = looks[0][1]
        centre = middle(to_grid(array, vol.grid, grid, mode="nearest"), moved(clicks, vol.grid, grid))
        window, answers = part(grid, centre, ROI), list[np.ndarray]()
        for image, one in looks:
            cut = part(one, centre, ROI)
            mask = to_grid(array, vol.grid, cut, mode="nearest")
            seen = see(to_grid(image, one, cut), mask, moved(clicks, vol.grid, cut), recipe=self.recipe)
            answers.append(to_grid(self._engine.run(seen[None])[0], cut, window))
        answer = settle(self.recipe, np.mean(answers, 0), window)
        box = _box(vol.grid, window)
        found = labels_from_logits(answer, window, vol.grid)
        refined = array.copy()
        refined[box] = merge(array[box], found[box], label)
        return refined

    def _prepared(self, vol: Volume) -> list[tuple[np.ndarray, Grid]]:
        """The image on the model grids; kept, since one click follows another."""
        if self._seen is None or self._seen[0] is not vol:
            self._seen = vol, [prepare(self.recipe, vol, offset=offset) for offset in _OFFSETS]
        return self._seen[1]


def middle(mask: np.ndarray, clicks: Sequence[Click]) -> np.ndarray:
    """Return the voxel around which a window shows both the mask and the newest click; float64, shape (3,)."""
    last = np.array(clicks[-1][0])
    if not mask.any():
        return last
    centre = np.array([np.median(axis) for axis in np.nonzero(mask)])
    reach = np.array(ROI) / 2 - _MARGIN
    return np.clip(centre, last - reach, last + reach)


def part(grid: Grid, centre: np.ndarray, size: tuple[int, int, int]) -> Grid:
    """Return the part of a grid, ``size`` voxels around voxel ``centre``; it may reach beyond the grid."""
    first = np.round(centre - (np.array(size) - 1) / 2)
    shift = np.eye(4)
    shift[:3, 3] = first
    return Grid(size, grid.affine @ shift)


def moved(clicks: Sequence[Click], source: Grid, target: Grid) -> list[Click]:
    """Return clicks in voxels of another grid."""
    matrix = np.linalg.inv(target.affine) @ source.affine
    places = [(matrix @ [*place, 1.0])[:3].tolist() for place, _ in clicks]
    return [((first, second, third), label) for (first, second, third), (_, label) in zip(places, clicks, strict=True)]


def _box(grid: Grid, window: Grid) -> tuple[slice, ...]:
    """Index ranges of ``grid`` that lie in the window, whose axes are parallel to it."""
    ends = np.array([(-0.5, -0.5, -0.5, 1.0), (*np.array(window.shape) - 0.5, 1.0)]).T
    low, high = np.sort((np.linalg.inv(grid.affine) @ window.affine @ ends)[:3], axis=1).T
    return tuple(slice(max(0, int(np.ceil(a))), max(0, min(n, int(np.floor(b)) + 1)))
                 for a, b, n in zip(low, high, grid.shape, strict=True))  # fmt: skip
