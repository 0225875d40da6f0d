"""Shapes whose distances are known by hand, and small masks with labels."""

import numpy as np

from ailab_kernel.dicom.codes import ANATOMICAL_STRUCTURE
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask

WALL = Label(1, "wall", ANATOMICAL_STRUCTURE)
LUNG = Label(2, "lung", ANATOMICAL_STRUCTURE)


def grid(shape, spacing=(5.0, 0.8, 0.7)) -> Grid:
    return Grid(tuple(shape), np.diag([*spacing, 1.0]))


def mask(array, *, labels=(WALL,), spacing=(5.0, 0.8, 0.7)) -> Mask:
    array = np.asarray(array, np.uint8)
    return Mask(array, grid(array.shape, spacing), labels)


def cube(shape, start, size) -> np.ndarray:
    array = np.zeros(shape, bool)
    array[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = True
    return array


def sphere(shape, center, radius_mm, spacing) -> np.ndarray:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return sum(((axis - c) * mm) ** 2 for axis, c, mm in zip(axes, center, spacing, strict=True)) <= radius_mm**2


def potato(seed: int, shape=(14, 30, 26), spacing=(5.0, 0.8, 0.7)) -> np.ndarray:
    """A lumpy, asymmetric thing: some overlapping spheres."""
    random = np.random.default_rng(seed)
    found = np.zeros(shape, bool)
    for _ in range(3):
        center = [random.uniform(0.3, 0.7) * n for n in shape]
        found |= sphere(shape, center, random.uniform(4, 8), spacing)
    return found
