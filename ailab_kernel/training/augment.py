"""One training crop: moved, bent and changed as another scanner or patient might, by chance from a given generator."""

import numpy as np
import torch
from torch.nn import functional

from ailab_kernel.recipes import Augment, Recipe

_KNOTS = 5


def look(
    image: torch.Tensor, truth: torch.Tensor, *, centre: np.ndarray, recipe: Recipe, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut one crop around ``centre``.

    Parameters
    ----------
    image, truth
        float (0 to 1) and uint8, shape (slices, rows, columns) on the model grid.
    centre
        Voxel index (slice, row, column) of the crop's middle before it is shifted.
    recipe
        Crop size, spacing and how much may change.
    random
        Chance.

    Returns
    -------
    tuple
        float32 and int64, shape (1, *crop).
    """
    chance = torch.Generator().manual_seed(int(random.integers(2**62)))
    grid = places(image.shape, centre, recipe=recipe, random=random, chance=chance)
    # Beyond the image there is air, 0, as at inference.
    seen = functional.grid_sample(image.float()[None, None], grid, align_corners=True)
    label = functional.grid_sample(truth.float()[None, None], grid, mode="nearest", align_corners=True)
    seen = change(seen, recipe.augment, random=random, chance=chance)
    seen, label = cut_field(seen, label, recipe.augment.crop, random=random)
    return seen[0], label[0].long()


def places(
    size: torch.Size, centre: np.ndarray, *, recipe: Recipe, random: np.random.Generator, chance: torch.Generator
) -> torch.Tensor:
    """Return where each crop voxel comes from, as `grid_sample` wants it: (1, *crop, 3), last axis column, row, slice.

    Parameters
    ----------
    size
        (slices, rows, columns) of the image.
    centre
        Voxel index of the crop's middle.
    recipe
        Crop size, spacing and how much may change.
    random, chance
        Chance, for numbers and for fields.
    """
    augment, crop = recipe.augment, recipe.fine_tune.crop
    spacing = np.array(recipe.spacing_mm)
    turn = _turn(np.radians(random.uniform(-1, 1, 3) * augment.turn_deg))
    matrix = turn @ np.diag(1 + random.uniform(-1, 1, 3) * augment.scale)
    if random.random() < augment.flip:
        matrix[:, 2] *= -1
    middle = centre + random.uniform(-1, 1, 3) * augment.shift_mm / spacing
    # Turn in mm, count in voxels; then to the image's own -1 .. 1.
    to_unit = 2 / np.maximum(np.array(size) - 1, 1)
    matrix = np.diag(to_unit / spacing) @ matrix @ np.diag(spacing)
    half = (np.array(crop) - 1) / 2
    theta = np.column_stack([matrix * half, middle * to_unit - 1])
    # torch counts column, row, slice.
    theta = np.ascontiguousarray(theta[::-1][:, [2, 1, 0, 3]])
    grid = functional.affine_grid(torch.from_numpy(theta).float()[None], [1, 1, *crop], align_corners=True)
    return grid + bend(crop, augment.bend_mm * (to_unit / spacing)[::-1], chance=chance)


def bend(crop: tuple[int, int, int], reach: np.ndarray, *, chance: torch.Generator) -> torch.Tensor:
    """Return a smooth random displacement, shape (1, *crop, 3), up to about ``reach`` (column, row, slice)."""
    knots = torch.rand((1, 3, _KNOTS, _KNOTS, _KNOTS), generator=chance) * 2 - 1
    knots = knots * torch.from_numpy(reach.copy()).float().view(1, 3, 1, 1, 1)
    return functional.interpolate(knots, size=crop, mode="trilinear", align_corners=True).permute(0, 2, 3, 4, 1)


def change(
    image: torch.Tensor, augment: Augment, *, random: np.random.Generator, chance: torch.Generator
) -> torch.Tensor:
    """Change contrast, noise and sharpness.

    Parameters
    ----------
    image
        float32, 0 to 1, shape (1, 1, slices, rows, columns).
    augment
        How much.
    random, chance
        Chance, for numbers and for fields.
    """
    if random.random() < augment.window:
        low, high = random.uniform(0, 0.25), random.uniform(0.75, 1)
        image = ((image - low) / (high - low)).clamp(0, 1)
    image = image ** float(2 ** (random.uniform(-1, 1) * augment.gamma))
    if random.random() < augment.coarse:
        image = _coarser(image, random)
    noise = random.uniform(0, augment.noise) * (random.random() < 0.7)
    if noise:
        image = image + noise * torch.randn(image.shape, generator=chance)
    if random.random() < augment.blur:
        image = functional.avg_pool3d(image, 3, stride=1, padding=1, count_include_pad=False)
    gain, offset = 1 + random.uniform(-1, 1) * augment.gain, random.uniform(-1, 1) * augment.offset
    return ((image - 0.5) * gain + 0.5 + offset).clamp(0, 1)


def _coarser(image: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Sample more coarsely along one axis or all, and back."""
    factors = np.ones(3)
    factors[[[0], [0], [1, 2], [0, 1, 2]][random.integers(4)]] = random.uniform(1.3, 2.5)
    size = [max(2, round(n / f)) for n, f in zip(image.shape[2:], factors, strict=True)]
    small = functional.interpolate(image, size=size, mode="area")
    return functional.interpolate(small, size=image.shape[2:], mode="trilinear", align_corners=False)


def cut_field(
    image: torch.Tensor, label: torch.Tensor, most: float, *, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut up to ``most`` of the field of view from one or two faces, leaving air and background."""
    if not most or random.random() < 0.5:
        return image, label
    image, label = image.clone(), label.clone()
    for _ in range(random.integers(1, 3)):
        axis, share = 2 + int(random.integers(3)), random.uniform(0, most)
        count = int(share * image.shape[axis])
        start = 0 if random.random() < 0.5 else image.shape[axis] - count
        image.narrow(axis, start, count).zero_()
        label.narrow(axis, start, count).zero_()
    return image, label


def _turn(angles: np.ndarray) -> np.ndarray:
    """Rotation about the slice, row and column axes, shape (3, 3)."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = [n for n in range(3) if n != axis]
        turn = np.eye(3)
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix
