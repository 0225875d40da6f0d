"""Implicit surfaces: approximate signed distances in mm, negative inside, composed by minimum and maximum.

Every function takes coordinates of any one shape and gives float32 of that shape. Distances are exact to first order
near the surface, which is what partial volume and labels need.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Point = Sequence[float]
FAR = np.float32(1e3)


def ellipsoid(p: Sequence[np.ndarray], centre: Point, radii: Point) -> np.ndarray:
    """Distance to an axis-aligned ellipsoid.

    Parameters
    ----------
    p
        Coordinates (x, y, z), mm.
    centre, radii
        Middle and half axes, mm.
    """
    near, far = np.float32(0), np.float32(1e-9)
    for axis, middle, radius in zip(p, centre, radii, strict=True):
        scaled = (axis - np.float32(middle)) * np.float32(1 / radius)
        square = scaled * scaled
        near = near + square
        far = far + square * np.float32(1 / radius**2)
    return (near - np.sqrt(near)) / np.sqrt(far)


def capsule(p: Sequence[np.ndarray], ends: Sequence[Point], radii: Point) -> np.ndarray:
    """Distance to a segment with a radius that changes linearly from one end to the other.

    Parameters
    ----------
    p
        Coordinates (x, y, z), mm.
    ends
        The two ends, (x, y, z) mm each.
    radii
        Radius at each end, mm.
    """
    start = np.asarray(ends[0], np.float32)
    along = np.asarray(ends[1], np.float32) - start
    offset = [axis - s for axis, s in zip(p, start, strict=True)]
    t = sum(o * a for o, a in zip(offset, along / max(float(along @ along), 1e-6), strict=True))
    np.clip(t, 0, 1, out=t)
    square = sum((o - t * a) ** 2 for o, a in zip(offset, along, strict=True))
    return np.sqrt(square) - (np.float32(radii[0]) + t * np.float32(radii[1] - radii[0]))


def tube(p: Sequence[np.ndarray], path: Sequence[Sequence[float]], *, scale: float = 1.0) -> np.ndarray:
    """Distance to a chain of capsules.

    Parameters
    ----------
    p
        Coordinates (x, y, z), mm.
    path
        (x, y, z, radius) of each joint, mm.
    scale
        Factor on all radii.
    """
    return union(*(capsule(p, (a[:3], b[:3]), (a[3] * scale, b[3] * scale)) for a, b in pairwise(path)))


def union(*shapes: np.ndarray) -> np.ndarray:
    """Distance to what any of ``shapes`` covers."""
    result = shapes[0]
    for shape in shapes[1:]:
        result = np.minimum(result, shape)
    return result


def blend(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Union of two shapes whose crease is filled with a fillet of about ``width`` mm."""
    overlap = np.maximum(np.float32(width) - np.abs(a - b), 0)
    return np.minimum(a, b) - overlap * overlap * np.float32(0.25 / width)


def carve(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """What lies inside both shapes, the edge rounded over about ``width`` mm."""
    return -blend(-a, -b, width)
