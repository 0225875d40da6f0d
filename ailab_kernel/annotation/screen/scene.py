"""What a session is, told to the page once: places, labels, windows, names. It never names a patient."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ailab_kernel import __version__
from ailab_kernel.annotation.session import Session
from ailab_kernel.volumes.planes import planes_of

# Name, centre and width of a display window, HU (usual presets of CT).
_WINDOWS = (("soft tissue", 40, 400), ("lung", -600, 1500), ("mediastinum", 50, 350), ("bone", 400, 1800),
            ("brain", 40, 80))  # fmt: skip
# Other readers' outlines: apart from each other and from the usual labels' colours (after Okabe and Ito).
_COLOURS = ((86, 180, 233), (240, 228, 66), (204, 121, 167), (0, 158, 115), (230, 159, 0))


def scene_of(session: Session, pixels: np.ndarray, *, scale: Mapping[str, float], references: Sequence[str],
             **more: Any) -> dict[str, Any]:  # fmt: skip
    """Return the scene, JSON values.

    Parameters
    ----------
    session
        Its grid, labels, reader.
    pixels, scale
        Of `screen_values`.
    references
        Names of other readers' masks.
    more
        What else the page is to know: ``title``, ``can_save``, ``case``, ``cases``.
    """
    vol, case = session.vol, session.case
    ct = vol.facts.get("Modality") == "CT"
    return {
        "version": __version__, "session": case.name, "reader": case.reader,
        "shape": list(vol.grid.shape), "spacing": list(vol.spacing_mm), "voxel_ml": vol.grid.voxel_ml,
        "directions": vol.grid.affine[:3, :3].tolist(),
        "metric": (vol.grid.affine[:3, :3].T @ vol.grid.affine[:3, :3]).tolist(),
        "planes": [plane.told() for plane in planes_of(vol.grid)],
        "labels": [{"value": one.index, "name": one.name, "meaning": one.code.meaning, "color": list(one.color)}
                   for one in case.labels],
        "windows": [*(_WINDOWS if ct else ()), ("whole range", *_whole_window(vol.array, scale))],
        "references": [{"name": name, "color": list(_COLOURS[number % len(_COLOURS)])}
                       for number, name in enumerate(references)],
        "unit": "HU" if ct else "", "dtype": pixels.dtype.name, **scale, **more,
    }  # fmt: skip


def _whole_window(array: np.ndarray, scale: Mapping[str, float]) -> tuple[float, float]:
    """Centre and width of a window from the 1st to the 99th percentile of every few voxels."""
    step = max(1, round((array.size / 200_000) ** (1 / 3)))
    low, high = np.percentile(array[::step, ::step, ::step], (1, 99)) * scale["slope"] + scale["intercept"]
    return round(float(low + high) / 2), max(1, round(float(high - low)))
