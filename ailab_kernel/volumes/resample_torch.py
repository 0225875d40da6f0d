"""The resampling of `resample` on a device: the same weights, sums in another order, so equal to rounding."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ailab_kernel.ground.errors import VolumeError

if TYPE_CHECKING:
    import torch

_SLAB_BYTES = 1 << 28


def open_device(name: str) -> "torch.device | None":
    """The device that a name means; None for the processor's own path: empty, or ``auto`` without a GPU.

    Raises
    ------
    VolumeError
        No such device here.
    """
    if not name:
        return None
    import torch

    if name == "auto":
        return torch.device("cuda") if torch.cuda.is_available() else None
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        msg = f"device {name!r} cannot be used here ({type(error).__name__}); leave it empty, or give auto"
        raise VolumeError(msg) from None
    return device


def aligned(array: np.ndarray, shares: Sequence[tuple[int, np.ndarray]], device: "torch.device") -> np.ndarray:
    """``array``, shape (..., slices, rows, columns), resampled axis by axis; axes stay in the source's order.

    Parameters
    ----------
    array
        float32 where shares are weights.
    shares
        For each axis (0 slices, 1 rows, 2 columns) that changes: the weight of each source voxel in each target voxel,
        float32, shape (size_out, size_in), or the source voxel that each target voxel takes, int64, shape (size_out,).
    device
        Where to compute.
    """
    import torch

    out = torch.from_numpy(np.ascontiguousarray(array)).to(device)
    for source_axis, share in shares:
        axis, on = array.ndim - 3 + source_axis, torch.from_numpy(share).to(device)
        if share.ndim == 1:
            out = out.index_select(axis, on)
        else:
            out = torch.movedim(torch.tensordot(out, on, dims=([axis], [1])), -1, axis)
    return np.asarray(out.contiguous().cpu().numpy())


def general(
    array: np.ndarray, to_source: np.ndarray, shape: Sequence[int], *, device: "torch.device", linear: bool
) -> np.ndarray:
    """``array``, shape (channels, slices, rows, columns), at the voxels of a grid that stands at an angle to its own.

    Positions are float64, so that nothing is lost far from the origin; slab by slab, so that memory stays bounded.
    """
    import torch

    image = torch.from_numpy(np.ascontiguousarray(array)).to(device).reshape(len(array), -1)
    out = np.empty((len(array), *shape), array.dtype)
    slab = max(1, _SLAB_BYTES // (64 * int(np.prod(shape[1:]))))
    for first in range(0, shape[0], slab):
        index = _positions(to_source, range(first, min(first + slab, shape[0])), shape[1:], device)
        values = _linear(image, index, array.shape[1:]) if linear else _nearest(image, index, array.shape[1:])
        out[:, first : first + slab] = values.reshape(len(array), -1, *shape[1:]).cpu().numpy()
    return out


def _positions(
    to_source: np.ndarray, slices: range, shape: Sequence[int], device: "torch.device"
) -> "list[torch.Tensor]":
    """Source index along each axis of every voxel of some target slices of ``shape`` (rows, columns), float64."""
    import torch

    k = torch.arange(slices.start, slices.stop, dtype=torch.float64, device=device)[:, None, None]
    i, j = (torch.arange(n, dtype=torch.float64, device=device) for n in shape)
    return [(float(row[0]) * k + float(row[1]) * i[:, None] + float(row[2]) * j + float(row[3])).reshape(-1)
            for row in to_source[:3]]  # fmt: skip


def _nearest(image: "torch.Tensor", index: "list[torch.Tensor]", size: Sequence[int]) -> "torch.Tensor":
    import torch

    flat = torch.zeros_like(index[0], dtype=torch.long)
    for at, count in zip(index, size, strict=True):
        flat = flat * count + (at + 0.5).floor().clamp(0, count - 1).long()
    return image[:, flat]


def _linear(image: "torch.Tensor", index: "list[torch.Tensor]", size: Sequence[int]) -> "torch.Tensor":
    """Trilinear; beyond the edge the image continues as its last voxel."""
    import torch

    inside = [at.clamp(0, count - 1) for at, count in zip(index, size, strict=True)]
    lower = [at.floor().clamp(0, max(0, count - 2)) for at, count in zip(inside, size, strict=True)]
    shares = [(at - low).to(torch.float32) for at, low in zip(inside, lower, strict=True)]
    total = torch.zeros((len(image), len(index[0])), dtype=torch.float32, device=image.device)
    for corner in np.ndindex(2, 2, 2):
        flat, share = torch.zeros_like(index[0], dtype=torch.long), torch.ones_like(shares[0])
        for up, low, part, count in zip(corner, lower, shares, size, strict=True):
            flat = flat * count + (low.long() + up).clamp(max=count - 1)
            share = share * (part if up else 1 - part)
        total += image[:, flat] * share
    return total
