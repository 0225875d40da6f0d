"""One act of drawing as a value: what the journal keeps, and what a browser may send.

Points are voxel indices (slice, row, column) with fractions, voxel centres at whole numbers: an operation means the
same voxels whatever screen, zoom or plane it was drawn on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ailab_kernel.ground.errors import WrongUse

from .patch import Patch, read_patch

TOOLS = ("brush", "polygon", "fill", "grow", "interpolate", "islands", "smooth", "patch")
# How many points each tool needs at least; the others work on the whole label.
_POINTS = {"brush": 1, "polygon": 3, "fill": 1, "grow": 1}
_LARGEST_MM = 500.0
_MOST_POINTS = 1_000_000


@dataclass(frozen=True, eq=False)
class Operation:
    """One act of drawing.

    Attributes
    ----------
    tool
        One of `TOOLS`; the eraser is a brush or polygon with label 0.
    label
        Value that is painted, or that is worked on.
    axis, index
        The slice that was drawn on: array axis 0, 1 or 2 and its number. Axis -1 is in 3-D.
    radius_mm
        Of the brush, or how far ``smooth`` looks (standard deviation), mm.
    locked
        Values that must not change.
    within
        Lowest and highest rescaled value (Hounsfield units for CT) that may be painted; None: all.
    points
        float32, shape (n, 3), (slice, row, column).
    patch
        What the tool ``patch`` puts in.
    """

    tool: str
    label: int
    axis: int = -1
    index: int = 0
    radius_mm: float = 0.0
    locked: tuple[int, ...] = ()
    within: tuple[float, float] | None = None
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    patch: Patch | None = None

    def head(self) -> dict[str, Any]:
        """Everything but the points or the patch's bits, as JSON values."""
        return {"tool": self.tool, "label": self.label, "axis": self.axis, "index": self.index,
                "radius_mm": self.radius_mm, "locked": list(self.locked),
                "within": list(self.within) if self.within else None,
                **({"patch": self.patch.head()} if self.patch else {})}  # fmt: skip


def read_operation(
    head: Mapping[str, Any], points: bytes, *, shape: tuple[int, int, int], values: tuple[int, ...]
) -> Operation:
    """Return the operation that a browser sent, checked.

    Parameters
    ----------
    head
        JSON values as of `Operation.head`.
    points
        Little-endian float32, three a point; for a patch its bits as of `Patch.packed`.
    shape
        (slices, rows, columns) of the volume.
    values
        The labels' values.

    Raises
    ------
    WrongUse
        It is no operation on this volume and these labels.
    """
    try:
        found = _read(head, points, shape)
    except (LookupError, TypeError, ValueError, OverflowError):
        msg = "what the browser sent is no drawing operation; reload the page, and run the cell again"
        raise WrongUse(msg) from None
    faults = [
        (found.tool in TOOLS, f"tool {found.tool[:20]!r}: one of {', '.join(TOOLS)} is expected"),
        (found.label in (0, *values), f"label {found.label} is not of this task; choose one of {list(values)}"),
        (found.label or found.tool in {"brush", "polygon"}, f"{found.tool[:20]} works on a label; choose one"),
        (found.axis in {-1, 0, 1, 2}, f"axis {found.axis}: 0, 1, 2 or -1 (3-D) is expected"),
        (found.axis < 0 or 0 <= found.index < shape[min(found.axis, 2)], f"slice {found.index} is not in the series"),
        (found.axis >= 0 or found.tool not in {"polygon", "fill"}, f"{found.tool[:20]} needs a slice"),
        (found.within or found.tool != "grow", "grow needs the lowest and the highest value that it may take"),
        (0 <= found.radius_mm <= _LARGEST_MM, f"a radius of {found.radius_mm} mm is outside 0 to {_LARGEST_MM:g} mm"),
        (_POINTS.get(found.tool, 0) <= len(found.points) <= _MOST_POINTS, f"{len(found.points)} points are not enough"),
        (_near(found.points, shape), "a point lies far outside of the series"),
    ]
    for fine, said in faults:
        if not fine:
            raise WrongUse(said)
    return found


def _read(head: Mapping[str, Any], data: bytes, shape: tuple[int, int, int]) -> Operation:
    within = head.get("within")
    patch = read_patch(head["patch"], data, shape) if head["tool"] == "patch" else None
    points = np.frombuffer(b"" if patch else data, "<f4").reshape(-1, 3)
    return Operation(
        str(head["tool"]), int(head["label"]), int(head["axis"]), int(head["index"]), float(head["radius_mm"]),
        tuple(sorted({int(value) for value in head["locked"]})),
        (float(within[0]), float(within[1])) if within else None, points, patch,
    )  # fmt: skip


def _near(points: np.ndarray, shape: tuple[int, int, int]) -> bool:
    """Whether all are numbers within three volumes of the volume: a pointer may leave the image, not the building."""
    return bool(np.isfinite(points).all() and (np.abs(points) < 3.0 * max(shape) + 1000).all())
