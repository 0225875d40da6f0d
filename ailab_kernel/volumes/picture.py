"""What a volume looks like in a cell: its three planes in one picture, and a table. Static, so that it stays in a
saved notebook and in a report.
"""

import base64
import html
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from .planes import Plane, planes_of

if TYPE_CHECKING:
    from .volume import Volume

_HEIGHT = 220                                  # pixels of each plane
_WINDOWS = {"CT": (40.0, 400.0)}               # centre and width, HU: soft tissue
_PERCENTILES = (0.5, 99.5)
_MOST = 200_000                                # samples that percentiles are taken of


def as_html(volume: "Volume") -> str:
    """Return the picture and the table of a volume; it names nobody."""
    planes = planes_of(volume.grid)
    window = window_of(volume)
    shown = "".join(_figure(volume, plane, window) for plane in planes)
    rows = {
        "size": " × ".join(map(str, volume.array.shape)) + " (slices, rows, columns)",
        "spacing": " × ".join(f"{one:.4g}" for one in volume.spacing_mm) + " mm",
        "modality": volume.facts.get("Modality", ""), "series": volume.series_uid,
        "window": f"{window[0]:.6g} to {window[1]:.6g}", "corrected": volume.facts.get("corrected", ""),
    }  # fmt: skip
    cells = "".join(f"<tr><th>{key}</th><td>{html.escape(value)}</td></tr>" for key, value in rows.items() if value)
    return f'<div style="display:flex;gap:4px">{shown}</div><table>{cells}</table>'


def window_of(volume: "Volume") -> tuple[float, float]:
    """Return the values shown as black and as white: soft tissue for CT, else nearly all that there is."""
    centre, width = _WINDOWS.get(volume.facts.get("Modality", ""), (0.0, 0.0))
    if width:
        return centre - width / 2, centre + width / 2
    step = max(1, round((volume.array.size / _MOST) ** (1 / 3)))
    low, high = np.percentile(_values(volume, (slice(None, None, step),) * 3), _PERCENTILES)
    return float(low), float(high if high > low else low + 1)


def _values(volume: "Volume", at: tuple[slice, ...]) -> np.ndarray:
    """Rescaled values of a part, shape as the part's; per-slice rescaling is cut alike."""
    slope, intercept = (one[at[0]] if isinstance(one, np.ndarray) else one for one in (volume.slope, volume.intercept))
    return volume.array[at].astype(np.float32) * slope + intercept


def _figure(volume: "Volume", plane: Plane, window: tuple[float, float]) -> str:
    data = base64.b64encode(_png(volume, plane, window)).decode()
    sides = f"{plane.right.begin} on the left, {plane.down.begin} on top"
    picture = f'<img alt="{plane.name}, {sides}" title="{sides}" height="{_HEIGHT}" src="data:image/png;base64,{data}">'
    return f'<figure style="margin:0">{picture}<figcaption>{plane.name}</figcaption></figure>'


def _png(volume: "Volume", plane: Plane, window: tuple[float, float]) -> bytes:
    """The middle slice of a plane as it is shown, in right proportion (H × W grey)."""
    from PIL import Image

    middle = volume.array.shape[plane.axis] // 2
    at = tuple(slice(middle, middle + 1) if axis == plane.axis else slice(None) for axis in range(3))
    values = _values(volume, at).squeeze(plane.axis)
    if plane.right.axis < plane.down.axis:     # rows go down the screen
        values = values.T
    values = values[::-1 if plane.down.falls else 1, ::-1 if plane.right.falls else 1]
    grey = np.clip((values - window[0]) / (window[1] - window[0]), 0, 1) * 255
    high, wide = values.shape[0] * plane.down.mm, values.shape[1] * plane.right.mm
    size = (max(1, round(_HEIGHT * wide / high)), _HEIGHT)
    buffer = BytesIO()
    Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR).save(buffer, "PNG")
    return buffer.getvalue()


