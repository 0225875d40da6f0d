"""Radiographs of nobody: a CT volume seen from the front as one picture, and how wide its heart is.

A projection has the geometry of a radiograph (parallel rays, no scatter) and none of its physics beyond attenuation: it
is good for showing that 2-D models train, answer and are measured, and for nothing at a bedside.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ailab_kernel.ground.errors import VolumeError
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.resample import model_grid, to_grid
from ailab_kernel.volumes.volume import Volume

from .phantoms import Phantom, PhantomStudy, make, random_phantom
from .styles import STYLES, Exam

PIXELS = 128
ENLARGED = 0.5                                 # a heart wider than half of the chest (Danzer, Am J Med Sci 1919)
HEART, LUNGS = ("heart-wall", "heart-cavity"), ("lung", "lesion")
_WATER_PER_MM = 0.0206                         # linear attenuation of water at 60 keV
_MODERATE = 1 / 3                              # so that lungs and mediastinum both keep their detail
# Hearts of every size in plain chest CT: about half of them wider than half of the chest, many of them near that.
ROOM = replace(
    STYLES["mixed"], name="radiography", coverage=("chest",), slice_mm=(1.0, 4.0), phases=(("none", 1.0),),
    ranges={**STYLES["mixed"].ranges, "fov_mm": (420, 460), "heart": (0.7, 1.25), "width": (0.85, 1.15),
            "turn_deg": (-5, 5)},
    chances={"round_field": 0.0, "effusion": 0.03, "consolidation": 0.03},
)  # fmt: skip
# Fine from side to side, where the heart is measured; coarse from front to back, which is summed up.
SIZE, SPACING_MM = (72, 48, 128), (5.0, 7.0, 3.6)


def project(vol: Volume, *, pixels: int = PIXELS) -> np.ndarray:
    """Return a volume as a radiograph from the front: bone bright, air dark, the patient's left on the right side.

    Parallel rays from front to back; a pixel is 1 - exp(-L/3) of the line integral L of the attenuation.

    Parameters
    ----------
    vol
        CT in Hounsfield units, on any grid.
    pixels
        Rows and columns of the picture; the longer side of the volume fills it, air the rest.

    Returns
    -------
    np.ndarray
        float32, 0 to 1, shape (pixels, pixels), the first row toward the head.

    Raises
    ------
    VolumeError
        A single slice: there is no front to look from.
    """
    if min(vol.grid.shape) < 2:
        msg = f"a volume of {' x '.join(map(str, vol.grid.shape))} voxels has no depth; a stack of slices is expected"
        raise VolumeError(msg)
    tall, _, wide = model_grid(vol.grid, (1.0, 1.0, 1.0)).shape
    step = max(tall, wide) / pixels
    grid = model_grid(vol.grid, (step, step, step))
    water = to_grid(np.clip(vol.values, -1000, 3071), vol.grid, grid, fill=-1000.0) / np.float32(1000) + np.float32(1)
    line = water.sum(axis=1) * np.float32(grid.spacing_mm[1] * _WATER_PER_MM)
    picture = 1 - np.exp(-np.maximum(line, 0) * np.float32(_MODERATE))
    return _framed(picture[::-1], pixels)


def cardiothoracic_ratio(truth: Mask) -> float:
    """Return the heart's greatest width over that of the lungs at their widest level, as on a radiograph.

    Parameters
    ----------
    truth
        With labels ``heart-wall`` and ``heart-cavity``, and ``lung``, on slices that run along the body.

    Raises
    ------
    VolumeError
        Heart or lungs are not in it.
    """
    heart, lungs = (_seen(truth, names) for names in (HEART, LUNGS))
    if not heart.any() or not lungs.any():
        msg = "a cardiothoracic ratio needs heart and lungs; the truth has no voxel of one of them"
        raise VolumeError(msg)
    return _width(np.any(heart, axis=0)) / max(_width(row) for row in lungs if row.any())


def enlarged(truth: Mask) -> bool:
    """Return whether the heart is wider than half of the chest."""
    return cardiothoracic_ratio(truth) > ENLARGED


def radiograph_phantom(seed: int) -> Phantom:
    """Return the phantom of a seed whose projection is a radiograph of the chest, without lesions."""
    return random_phantom(seed, style=ROOM, size=SIZE, spacing_mm=SPACING_MM, exam=Exam(lesions=0))


def radiograph_study(seed: int) -> PhantomStudy:
    """Return that phantom scanned: `project` makes the radiograph of its volume, `enlarged` the answer of its truth."""
    return make(radiograph_phantom(seed))


def _framed(picture: np.ndarray, pixels: int) -> np.ndarray:
    """The picture in the middle of a square of air, float32."""
    square = np.zeros((pixels, pixels), np.float32)
    height, width = (min(n, pixels) for n in picture.shape)
    top, left = (pixels - height) // 2, (pixels - width) // 2
    square[top:top + height, left:left + width] = picture[:height, :width]
    return square


def _seen(truth: Mask, names: Sequence[str]) -> np.ndarray:
    """Where any of the labels is seen from the front: bool, shape (slices, columns), whatever the order of the axes."""
    grid = model_grid(truth.grid, truth.grid.spacing_mm)
    values = [label.index for label in truth.labels if label.name in names]
    return np.max(to_grid(np.isin(truth.array, values).astype(np.uint8), truth.grid, grid, mode="nearest"), axis=1) > 0


def _width(row: np.ndarray) -> int:
    """Columns from the first to the last that is true."""
    found = np.flatnonzero(row)
    return int(found[-1] - found[0]) + 1
