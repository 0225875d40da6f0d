"""What a viewer is given: the image as 16-bit numbers and its labels, on one grid that a browser can hold."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.nifti import mask_to_nifti, volume_to_nifti
from ailab_kernel.volumes.stream import save
from ailab_kernel.volumes.volume import Volume

from .legend import Color, label_colors, label_names
from .pair import grid_of
from .picture import window_of

if TYPE_CHECKING:
    from ailab_kernel.volumes.masks import Mask

MOST_VOXELS = 512 * 512 * 400                  # 210 MB of int16; a graphics card takes four bytes for each
_SIDES = ("LR", "PA", "HF")                    # Patient Orientation (0020,0020)
_LEAST, _WHOLE = -32768, 65535                 # int16: the smallest, and how many lie above it


@dataclass(frozen=True, eq=False)
class Scene:
    """An image, a label map, or both, as a viewer shows them.

    Attributes
    ----------
    volume
        int16 stored values; None without an image.
    mask
        On the same grid; None without labels.
    note
        What is not shown as it is; "" where all is.
    """

    volume: Volume | None
    mask: "Mask | None"
    note: str = ""

    @property
    def grid(self) -> Grid:
        """Where the voxels lie that are shown."""
        return grid_of(self.volume, self.mask)

    @property
    def window(self) -> tuple[float, float]:
        """Values that are black and white, in the volume's unit."""
        return window_of(self.volume) if self.volume else (0.0, 1.0)

    @property
    def colors(self) -> dict[int, Color]:
        """Colour, sRGB, by label value."""
        return label_colors(self.mask) if self.mask else {}

    @property
    def names(self) -> dict[int, str]:
        """Name by label value."""
        return label_names(self.mask) if self.mask else {}

    def told_at(self, point: np.ndarray) -> str:
        """Say what lies at a place of the patient (LPS, mm): the voxel, its value and its label."""
        where = ", ".join(f"{letters[int(mm < 0)]} {abs(mm):.1f}" for letters, mm in zip(_SIDES, point, strict=True))
        exact = np.linalg.solve(self.grid.affine, [*point, 1.0])[:3]
        index = tuple(np.rint(exact).astype(int).tolist())
        if any(not 0 <= one < size for one, size in zip(index, self.grid.shape, strict=True)):
            return f"{where} mm: outside"
        told = [f"{where} mm", f"slice {index[0]}, row {index[1]}, column {index[2]}"]
        if self.volume:
            value = self.volume.array[index] * float(self.volume.slope) + float(self.volume.intercept)
            told.append(f"{value:.6g}" + (" HU" if self.volume.facts.get("Modality") == "CT" else ""))
        if self.mask and (label := int(self.mask.array[index])):
            told.append(self.names[label])
        return " · ".join(told)

    @cached_property
    def image_file(self) -> bytes:
        """The image as ``.nii.gz``; b"" where there is none."""
        if self.volume is None:
            return b""
        with tempfile.TemporaryDirectory(prefix="ailab-view-") as folder:
            path = Path(folder) / "image.nii.gz"
            volume_to_nifti(self.volume, path, durable=False)
            return path.read_bytes()

    @cached_property
    def labels_file(self) -> bytes:
        """The labels as ``.nii.gz``; b"" where there are none."""
        if self.mask is None:
            return b""
        with tempfile.TemporaryDirectory(prefix="ailab-view-") as folder:
            path = Path(folder) / "labels.nii.gz"
            mask_to_nifti(self.mask, path)
            return path.read_bytes()


def packed(array: np.ndarray) -> bytes:
    """Return the bytes of an array in its own order, compressed (gzip)."""
    with tempfile.TemporaryDirectory(prefix="ailab-view-") as folder:
        path = Path(folder) / "array.gz"
        save(path, b"", lambda number: np.ascontiguousarray(array[number]), parts=len(array), durable=False)
        return path.read_bytes()


def scene_of(volume: Volume | None, mask: "Mask | None") -> Scene:
    """Return what a viewer is given; more than `MOST_VOXELS` are thinned out, along the finest axes first.

    Raises
    ------
    WrongUse, VolumeError
        Of `grid_of`.
    """
    from ailab_kernel.volumes.masks import Mask

    grid = grid_of(volume, mask)
    steps = _steps(grid)
    cut = tuple(slice(None, None, step) for step in steps)
    shown = _thinned(grid, steps)
    note = "" if steps == (1, 1, 1) else _told(grid, shown)
    return Scene(_short(volume, cut, shown) if volume else None,
                 Mask(np.ascontiguousarray(mask.array[cut]), shown, mask.labels) if mask else None, note)  # fmt: skip


def _steps(grid: Grid) -> tuple[int, ...]:
    """Every how many-th slice, row and column is shown."""
    steps = [1, 1, 1]
    while np.prod([-(-size // step) for size, step in zip(grid.shape, steps, strict=True)]) > MOST_VOXELS:
        finest = min(range(3), key=lambda axis: (grid.spacing_mm[axis] * steps[axis], axis == 0))
        steps[finest] += 1
    return tuple(steps)


def _thinned(grid: Grid, steps: tuple[int, ...]) -> Grid:
    slices, rows, columns = (-(-size // step) for size, step in zip(grid.shape, steps, strict=True))
    return Grid((slices, rows, columns), grid.affine @ np.diag([*steps, 1.0]))


def _told(grid: Grid, shown: Grid) -> str:
    sizes = [" × ".join(map(str, one.shape)) for one in (grid, shown)]
    return f"Shown with {sizes[1]} of {sizes[0]} voxels, which are more than a browser holds."


def _short(volume: Volume, cut: tuple[slice, ...], grid: Grid) -> Volume:
    """The volume as int16: whole values as they are, stored ones where they fit, else as finely as 16 bits allow."""
    slope, intercept = (one[cut[0]] if isinstance(one, np.ndarray) else one for one in (volume.slope, volume.intercept))
    part = Volume(volume.array[cut], grid, slope, intercept, facts=volume.facts)
    step, offset = _scale(part)
    short = np.empty(grid.shape, np.int16)
    for number, plane in enumerate(_rescaled(part)):
        short[number] = np.rint((plane - offset) / step)
    return Volume(short, grid, step, offset, facts=volume.facts)


def _scale(part: Volume) -> tuple[float, float]:
    """Slope and intercept under which the values fit into 16 bits, those that lose nothing first."""
    low, high = np.array([(plane.min(), plane.max()) for plane in _rescaled(part)]).T
    ends = np.array((low.min(), high.max()))
    scales = [(1.0, 0.0)] if part.array.dtype.kind in "iub" and _is_whole(part) else []
    if part.array.dtype.kind in "iub" and not (np.ndim(part.slope) or np.ndim(part.intercept)):
        scales.append((float(part.slope), float(part.intercept)))
    fits = [(step, offset) for step, offset in scales
            if step and ((ends - offset) / step >= _LEAST).all()
            and ((ends - offset) / step - _LEAST <= _WHOLE).all()]  # fmt: skip
    step = float(ends[1] - ends[0]) / _WHOLE or 1.0
    return fits[0] if fits else (step, float(ends[0]) - _LEAST * step)


def _is_whole(part: Volume) -> bool:
    return all(float(one).is_integer() for both in (part.slope, part.intercept) for one in np.ravel(both))


def _rescaled(part: Volume) -> Iterator[np.ndarray]:
    """Slices in the volume's unit, float64; what is no number is 0."""
    slopes, intercepts = (np.broadcast_to(one, (len(part.array), 1, 1)) for one in (part.slope, part.intercept))
    for plane, slope, intercept in zip(part.array, slopes, intercepts, strict=True):
        values = plane * np.float64(slope[0, 0]) + np.float64(intercept[0, 0])
        yield np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0, copy=False)
