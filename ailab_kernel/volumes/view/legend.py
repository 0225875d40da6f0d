"""What the colours of a label map mean: one colour a label, told apart, and a table with volumes."""

import base64
import html
from collections.abc import Mapping
from io import BytesIO

import numpy as np

from ailab_kernel.volumes.masks import Label, Mask

Color = tuple[int, int, int]
# For labels that share their colour with another: told apart on black and on grey, also by colour-blind readers.
_MORE: tuple[Color, ...] = (
    (86, 180, 233), (240, 228, 66), (0, 190, 140), (230, 159, 0), (230, 130, 190), (70, 120, 255), (160, 220, 80),
    (255, 110, 60), (190, 150, 255), (120, 230, 220), (200, 170, 120), (255, 255, 255),
)  # fmt: skip
_MOST_ROWS = 30
_SWATCH = 14                                   # pixels


def label_colors(mask: Mask) -> dict[int, Color]:
    """Return the sRGB colour of every value that is described or drawn: its label's own, unless another has it."""
    own = {label.index: label.color for label in mask.labels}
    found: dict[int, Color] = {}
    for value in sorted({*own, *_drawn(mask)}):
        color = own.get(value)
        free = [one for one in _MORE if one not in found.values()] or [_MORE[value % len(_MORE)]]
        found[value] = color if color and color not in found.values() else free[0]
    return found


def label_names(mask: Mask) -> dict[int, str]:
    """Return the name of every value that is described or drawn."""
    named = {label.index: label.name for label in mask.labels}
    return {value: named.get(value, f"label {value}") for value in sorted({*named, *_drawn(mask)})}


def legend(mask: Mask, volumes_ml: Mapping[int, float] | None = None) -> str:
    """Return an HTML table of labels, the largest first: colour, name, volume in ml, what is meant.

    Parameters
    ----------
    mask
        The label map.
    volumes_ml
        By value, where they are not those of the map (labels that cover one another).
    """
    measured = volumes_ml or {value: float(mask.counts[value]) * mask.grid.voxel_ml for value in label_names(mask)}
    colors, names, meant = label_colors(mask), label_names(mask), {label.index: label for label in mask.labels}
    order = sorted(names, key=lambda value: (-measured[value], value))
    rows = [_row(colors[value], (names[value], _ml(measured[value]), _meaning(meant.get(value))))
            for value in order[:_MOST_ROWS]]  # fmt: skip
    rest = order[_MOST_ROWS:]
    more = f"<tr><td></td><td>and {len(rest)} more</td><td>{_ml(sum(measured[one] for one in rest))}</td><td></td></tr>"
    head = "<tr><th></th><th>label</th><th>volume, ml</th><th>meaning</th></tr>"
    return f"<table>{head}{''.join(rows)}{more if rest else ''}</table>"


def _drawn(mask: Mask) -> list[int]:
    return [value for value in np.flatnonzero(mask.counts).tolist() if value]


def _row(color: Color, cells: tuple[str, ...]) -> str:
    """The colour is a picture: reports let no style through."""
    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (_SWATCH, _SWATCH), color).save(buffer, "PNG")
    swatch = f'<img alt="colour" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
    return f"<tr><td>{swatch}</td>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _ml(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _meaning(label: Label | None) -> str:
    return f"{label.code.meaning} ({label.code.scheme} {label.code.value})" if label else ""
