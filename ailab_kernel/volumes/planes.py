"""How a volume's slices lie on a screen: axial, coronal and sagittal as radiologists look at them, on any grid.

Axial is seen from the feet, coronal from the front (patient's left on the right of the screen), sagittal from the
left, with the nose to the left. An oblique series keeps its own slices: each array axis is shown as the plane that its
normal is nearest to, and the letters at the edges say where its directions really point.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from .geometry import Grid

# Patient axes (L, P, S) by number; name of the plane across it, and what should point right and down: axis and sign.
_PLANES = (
    ("sagittal", 0, ((1, 1), (2, -1))),
    ("coronal", 1, ((0, 1), (2, -1))),
    ("axial", 2, ((0, 1), (1, 1))),
)
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))  # Patient Orientation (0020,0020)
_SLANTED = 0.26                                    # beyond 15 degrees a second letter is told


@dataclass(frozen=True)
class Side:
    """A direction on the screen: the array axis whose index changes along it, and whether it falls.

    ``begin`` and ``end`` are the letters at the edges, left or top, and right or bottom.
    """

    axis: int
    falls: bool
    mm: float
    begin: str
    end: str


@dataclass(frozen=True)
class Plane:
    """Slices across one array axis, as they are shown.

    Attributes
    ----------
    name
        ``axial``, ``coronal`` or ``sagittal``.
    axis
        Array axis that numbers the slices.
    falls
        Whether scrolling up (towards head, front or left) lowers the index.
    right, down
        What the screen's directions are.
    """

    name: str
    axis: int
    falls: bool
    right: Side
    down: Side

    def told(self) -> dict[str, Any]:
        """JSON values for the browser."""
        return {"name": self.name, "axis": self.axis, "falls": self.falls,
                **{name: vars(side) for name, side in (("right", self.right), ("down", self.down))}}  # fmt: skip


def planes_of(grid: Grid) -> tuple[Plane, ...]:
    """Return the axial, coronal and sagittal plane of a grid, the one of its own slices first."""
    units = grid.affine[:3, :3] / grid.spacing_mm
    order = max(permutations(range(3)), key=lambda one: sum(abs(units[one[axis], axis]) for axis in range(3)))
    array_axis = {patient: axis for axis, patient in enumerate(order)}
    found = [_plane(grid, units, array_axis, number) for number in range(3)]
    return tuple(sorted(found, key=lambda plane: (plane.axis != 0, plane.name)))


def _plane(grid: Grid, units: np.ndarray, array_axis: dict[int, int], number: int) -> Plane:
    name, normal, wished = _PLANES[number]
    right, down = (_side(grid, units, array_axis[patient], patient, sign) for patient, sign in wished)
    axis = array_axis[normal]
    # Up is towards the head; coronal towards the front (-P), sagittal towards the left.
    up = units[normal, axis] * (-1 if normal == 1 else 1)
    return Plane(name, axis, bool(up < 0), right, down)


def _side(grid: Grid, units: np.ndarray, axis: int, patient: int, sign: int) -> Side:
    direction = units[:, axis]
    falls = bool(direction[patient] * sign < 0)
    shown = -direction if falls else direction
    return Side(axis, falls, grid.spacing_mm[axis], _letters(-shown), _letters(shown))


def _letters(direction: np.ndarray) -> str:
    """Where a direction points, the strongest first, as Patient Orientation writes it."""
    strong = [one for one in np.argsort(-np.abs(direction), kind="stable") if abs(direction[one]) > _SLANTED]
    return "".join(_LETTERS[one][0 if direction[one] > 0 else 1] for one in strong[:2])
