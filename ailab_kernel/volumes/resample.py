"""From grid to grid, exact in world coordinates.

Along an axis a target voxel takes the mean of the linear interpolant over a window around its centre. The window
grows with the target voxel (antialias) and vanishes when the target is as fine as the source (plain linear
interpolation). The mean of a straight line over a symmetric window is its value at the centre, so that a linear ramp
keeps its world position for every scale, which triangle-filter antialiasing does not promise.
"""

import math
from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy import ndimage, sparse

from ailab_kernel.ground.errors import VolumeError

from .geometry import Grid
from .resample_torch import aligned, general, open_device

if TYPE_CHECKING:
    import torch

Mode = Literal["linear", "nearest"]
# Slice axis to head, row axis to posterior, column axis to left: (slice, row, column) as LPS components.
_CANONICAL = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
_ALIGNED = 1e-5                                # voxels that an axis may leave its course by, over the whole grid
_EDGE = 1e-4


class Step(NamedTuple):
    """How one target axis runs through the source: source index = scale * target index + offset."""

    axis: int
    scale: float
    offset: float
    size_in: int
    size_out: int

    @property
    def centres(self) -> np.ndarray:
        """Source index of each target voxel centre, shape (size_out,)."""
        return self.scale * np.arange(self.size_out) + self.offset

    @property
    def trivial(self) -> bool:
        """Whether nothing is to be done along this axis."""
        return self.size_in == self.size_out and self.scale == 1.0 and self.offset == 0.0


def model_grid(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid a network sees: axes of ``grid`` reordered and flipped to the nearest canonical ones.

    Slice axis towards the head, row axis towards posterior, column axis towards left; the same field of view, and
    the spacing nearest to ``spacing_mm`` that fits it in whole voxels.

    Parameters
    ----------
    grid
        The source grid.
    spacing_mm
        Wished (slice, row, column) spacing, mm, along the canonical axes.
    """
    directions = (_CANONICAL.T @ grid.affine[:3, :3]) / grid.spacing_mm
    axes = max(permutations(range(3)), key=lambda p: sum(abs(directions[i, p[i]]) for i in range(3)))
    to_source, shape = np.zeros((4, 4)), []
    to_source[3, 3] = 1.0
    for target, source in enumerate(axes):
        size = grid.shape[source]
        count = max(1, round(size * grid.spacing_mm[source] / spacing_mm[target]))
        scale = size / count * (1.0 if directions[target, source] >= 0 else -1.0)
        # Outer faces coincide: the middle of the field of view stays the middle.
        to_source[source, target], to_source[source, 3] = scale, (size - 1) / 2 - scale * (count - 1) / 2
        shape.append(count)
    return Grid((shape[0], shape[1], shape[2]), grid.affine @ to_source)


def to_grid(
    array: np.ndarray, source: Grid, target: Grid, *, mode: Mode = "linear", fill: float = 0.0, device: str = ""
) -> np.ndarray:
    """Samples of ``array`` at the voxel centres of ``target``.

    Parameters
    ----------
    array
        Shape (..., slices, rows, columns) on ``source``; leading axes are channels.
    source, target
        Any two grids in the same frame of reference.
    mode
        ``linear`` (antialiased where the target is coarser; float32 out) or ``nearest`` (dtype kept; for labels).
    fill
        Value outside the source's field of view.
    device
        Where torch computes it, ``cuda`` or ``auto`` (a GPU where there is one): equal to rounding. Empty: on the
        processor, equal bit for bit on every machine and with any number of threads.

    Raises
    ------
    VolumeError
        The array is not on ``source``, or no such device is here.
    """
    if array.shape[-3:] != tuple(source.shape):
        raise VolumeError(f"the array has shape {array.shape[-3:]}, its grid {source.shape}; pass the array's own grid")
    to_source = np.linalg.inv(source.affine) @ target.affine
    steps, on = _aligned_steps(to_source, source.shape, target.shape), open_device(device)
    linear = mode == "linear"
    if steps is None:
        return _general(array, to_source, target.shape, mode=mode, fill=fill, on=on)
    if on:
        shares = [(step.axis, weights(step).toarray() if linear else nearest_index(step))
                  for step in cheapest_first(steps) if not step.trivial]  # fmt: skip
        out = aligned(np.asarray(array, np.float32) if linear else array, shares, on)
        return _fill_outside(_reorder(out, steps), steps, fill)
    out = np.asarray(array, np.float32) if linear else array
    for step in cheapest_first(steps):
        out = along(out, step) if linear else _take(out, step)
    return _fill_outside(_reorder(out, steps), steps, fill)


def cheapest_first(steps: Sequence[Step]) -> list[Step]:
    """Steps in the order that keeps the array small, with whole rows read or written at the large end."""
    return sorted(steps, key=_cost)


def _cost(step: Step) -> tuple[float, int]:
    growth = step.size_out / step.size_in
    return growth, (-step.axis if growth >= 1 else step.axis)


def aligned_steps(source: Grid, target: Grid) -> list[Step] | None:
    """How each target axis runs through the source, or None when the grids stand at an angle to each other."""
    return _aligned_steps(np.linalg.inv(source.affine) @ target.affine, source.shape, target.shape)


def weights(step: Step) -> sparse.csr_array:
    """Weight of each source voxel in each target voxel, float32, shape (size_out, size_in); rows sum to 1."""
    centres, width = step.centres, _window(abs(step.scale))
    index = np.floor(centres - width / 2)[:, None] + np.arange(int(np.ceil(width)) + 2)
    share = _weight(centres[:, None] - index, width)
    row = np.broadcast_to(np.arange(step.size_out)[:, None], index.shape)
    # Beyond the edge the image continues as its last voxel: shares of one voxel are summed.
    column = np.clip(index, 0, step.size_in - 1).astype(np.int32)
    shape = step.size_out, step.size_in
    matrix = sparse.coo_array((share.ravel(), (row.ravel(), column.ravel())), shape).tocsr()
    matrix.eliminate_zeros()
    return matrix.astype(np.float32)


def along(array: np.ndarray, step: Step) -> np.ndarray:
    """``array``, float32, shape (..., slices, rows, columns), resampled along one axis.

    A sparse product: two to a few terms per voxel, in an order that no number of threads and no processor changes.
    """
    if step.trivial:
        return array
    matrix = weights(step)
    if step.axis == 2:
        flat = np.ascontiguousarray(array.reshape(-1, step.size_in).T)
        return np.ascontiguousarray((matrix @ flat).T).reshape(*array.shape[:-1], step.size_out)
    axis = array.ndim - 3 + step.axis
    inner = array.shape[axis + 1:]
    out = np.empty((*array.shape[:axis], step.size_out, *inner), np.float32)
    width = math.prod(inner)
    for into, part in zip(out.reshape(-1, step.size_out, width), array.reshape(-1, step.size_in, width), strict=True):
        into[:] = matrix @ part
    return out


def _window(scale: float) -> float:
    """Width of the averaging window in source voxels: the target voxel's, less what linear interpolation blurs."""
    return float(np.sqrt(max(0.0, scale * scale - 1.0)))


def _weight(distance: np.ndarray, width: float) -> np.ndarray:
    if width < 1e-3:
        return np.maximum(0.0, 1.0 - np.abs(distance))
    return (_integral(distance + width / 2) - _integral(distance - width / 2)) / width


def _integral(x: np.ndarray) -> np.ndarray:
    """Integral of the unit triangle from -1 to ``x``."""
    x = np.clip(x, -1.0, 1.0)
    return 0.5 + x - 0.5 * x * np.abs(x)


def _aligned_steps(to_source: np.ndarray, size_in: tuple[int, ...], size_out: tuple[int, ...]) -> list[Step] | None:
    """One step per target axis when the grids' axes are parallel all over the grid; else None."""
    matrix = to_source[:3, :3]
    axes = [int(np.argmax(np.abs(matrix[:, target]))) for target in range(3)]
    rest = np.abs(matrix).copy()
    rest[axes, range(3)] = 0.0
    if len(set(axes)) < 3 or (rest @ np.asarray(size_out)).max() > _ALIGNED:
        return None
    return [Step(axis, _snap(matrix[axis, target]), _snap(to_source[axis, 3]), size_in[axis], size_out[target])
            for target, axis in enumerate(axes)]


def _snap(value: float) -> float:
    """Undo the rounding of matrix inversion for the common values."""
    nearest = round(value * 2) / 2
    return float(nearest if abs(value - nearest) < 1e-9 else value)


def _reorder(array: np.ndarray, steps: list[Step]) -> np.ndarray:
    lead = array.ndim - 3
    return array.transpose(*range(lead), *(lead + step.axis for step in steps))


def nearest_index(step: Step) -> np.ndarray:
    """Index of the source voxel nearest to each target voxel, int64, shape (size_out,)."""
    return np.clip(np.floor(step.centres + 0.5), 0, step.size_in - 1).astype(int)


def _take(array: np.ndarray, step: Step) -> np.ndarray:
    return np.take(array, nearest_index(step), axis=array.ndim - 3 + step.axis)


def _fill_outside(array: np.ndarray, steps: list[Step], fill: float) -> np.ndarray:
    """Contiguous result with ``fill`` wherever the voxel centre leaves the source's field of view."""
    out = np.ascontiguousarray(array)
    for axis, step in enumerate(steps):
        outside = _outside(step.centres, step.size_in)
        if outside.any():
            out = out.copy() if out is array or not out.flags.writeable else out
            np.moveaxis(out, out.ndim - 3 + axis, 0)[outside] = fill
    return out


def _outside(index: np.ndarray, size: int) -> np.ndarray:
    return (index < -0.5 - _EDGE) | (index > size - 0.5 + _EDGE)


def _general(array: np.ndarray, to_source: np.ndarray, shape: tuple[int, ...], *, mode: Mode, fill: float,
             on: "torch.device | None") -> np.ndarray:  # fmt: skip
    """Grids at an angle: blur along the source axes as far as the target is coarser, then interpolate."""
    linear = mode == "linear"
    flat = array.reshape(-1, *array.shape[-3:])
    outside = _outside_general(to_source, flat.shape[1:], shape)
    if on:
        smooth = np.stack([_blurred(image, to_source) for image in flat]) if linear else flat
        out = general(smooth, to_source, shape, device=on, linear=linear)
    else:
        out = np.empty((len(flat), *shape), np.float32 if linear else array.dtype)
        for channel, image in zip(out, flat, strict=True):
            smooth = _blurred(image, to_source) if linear else image
            ndimage.affine_transform(smooth, to_source[:3, :3], to_source[:3, 3], output_shape=shape, output=channel,
                                     order=1 if linear else 0, mode="nearest")  # fmt: skip
    out[:, outside] = fill
    return out.reshape(*array.shape[:-3], *shape)


def _outside_general(to_source: np.ndarray, size_in: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    i, j, k = np.ogrid[tuple(slice(n) for n in shape)]
    return np.logical_or.reduce([_outside(row[0] * i + row[1] * j + row[2] * k + row[3], size)
                                 for row, size in zip(to_source[:3], size_in, strict=True)])


def _blurred(image: np.ndarray, to_source: np.ndarray) -> np.ndarray:
    out = np.asarray(image, np.float32)
    for axis, scale in enumerate(np.linalg.norm(to_source[:3, :3], axis=1)):
        width = _window(scale)
        if width >= 1e-3:
            reach = int(np.ceil(width / 2)) + 1
            kernel = _weight(np.arange(-reach, reach + 1, dtype=float), width)
            out = ndimage.correlate1d(out, kernel, axis=axis, mode="nearest")
    return out
