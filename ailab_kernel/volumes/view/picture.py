"""What volumes and label maps look like in a cell: their planes in right proportion, outlines, and tables. Static, so
that it stays in a saved notebook and in a report; it names nobody.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.planes import Plane, planes_of

from .legend import label_colors, legend
from .pair import grid_of

if TYPE_CHECKING:
    from ailab_kernel.volumes.masks import Mask
    from ailab_kernel.volumes.volume import Volume

_BOX = 280                                     # pixels of each plane's longer side
_MARGIN = 22                                   # around it, for the letters
_WINDOWS = {"CT": (40.0, 400.0)}               # centre and width, HU: soft tissue
_PERCENTILES = (0.5, 99.5)
_MOST = 200_000                                # samples that percentiles are taken of
_FILLED = 0.45                                 # brightness of a label's inside where there is no image behind it
_LETTER = 225
_AXES = ("slice", "row", "column")             # and their numbers as the array counts them, from 0


@dataclass(frozen=True)
class Picture:
    """One plane as it is shown.

    Attributes
    ----------
    png
        The picture's file, letters of the directions at its edges.
    name
        Plane and slice, ``axial, slice 40``.
    sides
        What lies on the left and on top.
    """

    png: bytes
    name: str
    sides: str


def pictures(volume: "Volume | None", mask: "Mask | None" = None) -> list[Picture]:
    """Return the planes of a volume, of a label map, or of a label map outlined on its volume; see `as_html`."""
    grid = grid_of(volume, mask)
    at = _middle(grid) if mask is None else _fullest(mask)
    window = window_of(volume) if volume else (0.0, 1.0)
    return [_picture(volume, mask, plane, at=at[plane.axis], window=window) for plane in _planes(grid)]


def as_html(volume: "Volume | None", mask: "Mask | None" = None, *, volumes_ml: Mapping[int, float] | None = None,
            note: str = "") -> str:  # fmt: skip
    """Return planes and tables of a volume, of a label map, or of a label map outlined on its volume.

    Shown are the middle slices, or those with the most labels. An image of one slice shows that one.

    Parameters
    ----------
    volume, mask
        One of them, or both on the same grid.
    volumes_ml
        Of `legend`.
    note
        A sentence under the picture.

    Raises
    ------
    VolumeError
        They lie on different grids, or the array has another number of axes than three.
    """
    grid = grid_of(volume, mask)
    window = window_of(volume) if volume else (0.0, 1.0)
    cells = "".join(f'<td style="vertical-align:top">{_figure(one)}</td>' for one in pictures(volume, mask))
    tables = (f"<p>{html.escape(note)}</p>" if note else "") + (legend(mask, volumes_ml) if mask else "")
    return f"<table><tr>{cells}</tr></table>{tables}{_table(grid, volume, window)}"


def window_of(volume: "Volume") -> tuple[float, float]:
    """Return the values shown as black and as white: soft tissue for CT, else nearly all that there is."""
    centre, width = _WINDOWS.get(volume.facts.get("Modality", ""), (0.0, 0.0))
    if width:
        return centre - width / 2, centre + width / 2
    step = max(1, round((volume.array.size / _MOST) ** (1 / 3)))
    values = _values(volume, (slice(None, None, step),) * 3)
    low, high = np.percentile(values[np.isfinite(values)], _PERCENTILES) if np.isfinite(values).any() else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def _table(grid: Grid, volume: "Volume | None", window: tuple[float, float]) -> str:
    facts = volume.facts if volume else {}
    rows = {
        "size": " × ".join(map(str, grid.shape)) + " (slices, rows, columns)",
        "spacing": " × ".join(f"{one:.4g}" for one in grid.spacing_mm) + " mm",
        "modality": facts.get("Modality", ""), "series": volume.series_uid if volume else "",
        "window": f"{window[0]:.6g} to {window[1]:.6g}" if volume else "", "corrected": facts.get("corrected", ""),
    }  # fmt: skip
    cells = "".join(f"<tr><th>{key}</th><td>{html.escape(value)}</td></tr>" for key, value in rows.items() if value)
    return f"<table>{cells}</table>"


def _planes(grid: Grid) -> Sequence[Plane]:
    """Those that have a width and a height: an image of one slice has one plane."""
    planes = planes_of(grid)
    return [one for one in planes if min(grid.shape[one.right.axis], grid.shape[one.down.axis]) > 1] or planes[:1]


def _middle(grid: Grid) -> list[int]:
    return [length // 2 for length in grid.shape]


def _fullest(mask: "Mask") -> list[int]:
    """Of each axis the slice that meets the most labels, and of those the one with the most voxels."""
    from scipy.ndimage import find_objects

    boxes = [box for box in find_objects(mask.array) if box]
    if not boxes:
        return _middle(mask.grid)
    spans = [slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3)]
    drawn = mask.array[tuple(spans)] > 0
    found = []
    for axis, span in enumerate(spans):
        voxels = drawn.sum(axis=tuple(other for other in range(3) if other != axis))
        met = np.zeros(len(voxels), int)
        for box in boxes:
            met[box[axis].start - span.start : box[axis].stop - span.start] += 1
        found.append(span.start + int(np.argmax(met * (drawn.size + 1) + voxels)))
    return found


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    plane, sides = picture.name.partition(",")[0], picture.sides
    return f'<img alt="{plane}, {sides}" title="{sides}" src="data:image/png;base64,{data}"><br>{picture.name}'


def _picture(
    volume: "Volume | None", mask: "Mask | None", plane: Plane, *, at: int, window: tuple[float, float]
) -> Picture:
    cut = tuple(slice(at, at + 1) if axis == plane.axis else slice(None) for axis in range(3))
    labels = None if mask is None else _shown(mask.array[cut], plane)
    values = None if volume is None else _shown(_values(volume, cut), plane)
    size = _size(plane, next(one.shape for one in (values, labels) if one is not None))
    picture = np.zeros((*size, 3), np.uint8) if values is None else _grey(values, window, size)
    if mask is not None and labels is not None:
        _draw(picture, _nearest(labels, size), label_colors(mask), filled=volume is None)
    sides = f"{plane.right.begin} on the left, {plane.down.begin} on top"
    return Picture(_framed(picture, plane), f"{plane.name}, {_AXES[plane.axis]} {at}", sides)


def _values(volume: "Volume", at: tuple[slice, ...]) -> np.ndarray:
    """Rescaled values of a part, shape as the part's; per-slice rescaling is cut alike."""
    slope, intercept = (one[at[0]] if isinstance(one, np.ndarray) else one for one in (volume.slope, volume.intercept))
    return volume.array[at].astype(np.float32) * slope + intercept


def _shown(part: np.ndarray, plane: Plane) -> np.ndarray:
    """One slice as it lies on the screen, shape (down, right)."""
    part = part.squeeze(plane.axis)
    if plane.right.axis < plane.down.axis:     # rows go down the screen
        part = part.T
    return part[::-1 if plane.down.falls else 1, ::-1 if plane.right.falls else 1]


def _size(plane: Plane, shape: tuple[int, ...]) -> tuple[int, int]:
    """Pixels (down, right) of a slice, in the patient's proportion."""
    high, wide = shape[0] * plane.down.mm, shape[1] * plane.right.mm
    scale = _BOX / max(high, wide)
    return max(1, round(high * scale)), max(1, round(wide * scale))


def _grey(values: np.ndarray, window: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    grey = np.clip((np.nan_to_num(values) - window[0]) / (window[1] - window[0]), 0, 1) * 255
    image = Image.fromarray(grey.astype(np.uint8)).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.array(image.convert("RGB"))


def _nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    pairs = zip(labels.shape, size, strict=True)
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for old, new in pairs)
    return labels[np.ix_(rows, columns)]


def _draw(picture: np.ndarray, labels: np.ndarray, colors: Mapping[int, tuple[int, int, int]], *, filled: bool) -> None:
    """Draw each label's outline, a pixel inside of it."""
    table = np.zeros((max(colors, default=0) + 1, 3), np.uint8)
    for value, color in colors.items():
        table[value] = color
    if filled:
        picture[:] = table[labels] * _FILLED
    around = np.pad(labels, 1)
    edge = np.zeros(labels.shape, bool)
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        edge |= around[down : down + labels.shape[0], right : right + labels.shape[1]] != labels
    edge &= labels > 0
    picture[edge] = table[labels[edge]]


def _framed(picture: np.ndarray, plane: Plane) -> bytes:
    """A PNG with the letters around it, grey where nothing has a colour."""
    from PIL import Image, ImageDraw, ImageFont

    high, wide = picture.shape[:2]
    image = Image.fromarray(np.pad(picture, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0))))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=14)
    middle = wide / 2 + _MARGIN, high / 2 + _MARGIN
    for letters, place in ((plane.right.begin, (_MARGIN / 2, middle[1])), (plane.down.begin, (middle[0], _MARGIN / 2)),
                           (plane.right.end, (wide + _MARGIN * 1.5, middle[1])),
                           (plane.down.end, (middle[0], high + _MARGIN * 1.5))):  # fmt: skip
        draw.text(place, letters, fill=(_LETTER,) * 3, font=font, anchor="mm")
    colored = (picture != picture[..., :1]).any()
    buffer = BytesIO()
    (image if colored else image.convert("L")).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
