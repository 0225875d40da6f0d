"""Solid nodules in the lungs of phantoms: where they lie, how large they are, and that every second one has none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from .anatomy import Body, Heart
from .sdf import Point, ellipsoid
from .space import Space
from .styles import STYLES, Exam

DIAMETER_MM = (5.0, 25.0)
_CHANCE = 29                                   # keeps these draws apart from those of the phantom
_TRIES, _SHRINK, _APART_MM, _THICK_MM = 25, 0.85, 8.0, 2.0
# One site's screening CT: the whole chest in thin slices, mostly without contrast medium.
SCREENING = replace(
    STYLES["mixed"], name="screening", coverage=("chest",), slice_mm=(0.8, 3.0),
    phases=(("none", 0.8), ("venous", 0.2)),
    ranges={**STYLES["mixed"].ranges, "fov_mm": (300, 420), "noise_hu": (4, 30)},
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Nodule:
    """A lump: a turned ellipsoid whose border is rough.

    Attributes
    ----------
    centre
        (x, y, z) in scaled body mm (`anatomy`).
    radii
        Half axes in its own frame, mm.
    turn
        (3, 3) body to its own frame.
    waves
        Shape (n, 4): wave vector in its own frame, 1/mm, and phase, of the border and of the tissue.
    hu
        Attenuation.
    """

    centre: Point
    radii: Point
    turn: np.ndarray
    waves: np.ndarray
    hu: float

    @property
    def diameter_mm(self) -> float:
        """Of the ball of the same volume, in scaled body mm."""
        return 2 * float(np.prod(self.radii)) ** (1 / 3)

    @property
    def reach_mm(self) -> float:
        """Furthest that any of it lies from the centre."""
        return 1.25 * max(self.radii)

    def paint(self, p: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance to it and its attenuation in HU at points (x, y, z) of any one shape."""
        offset = [axis - np.float32(middle) for axis, middle in zip(p, self.centre, strict=True)]
        q = [_along(row, offset) for row in self.turn]
        waves = [np.sin(_along(wave[:3], q) + np.float32(wave[3])) for wave in self.waves]
        rough = np.asarray(np.mean(waves, axis=0, dtype=np.float32))
        edge = ellipsoid(q, (0, 0, 0), self.radii) + np.float32(0.14 * min(self.radii)) * rough
        return edge, np.float32(self.hu) + np.float32(15) * rough


def _along(direction: np.ndarray, p: Sequence[np.ndarray]) -> np.ndarray:
    x, y, z = (axis * np.float32(share) for axis, share in zip(p, direction, strict=True))
    return x + y + z


def nodule_exam(seed: int) -> Exam:
    """Return what is asked of a seed's phantom in `SCREENING`: no nodule of odd seeds, one to three of even ones."""
    count = 0 if seed % 2 else 1 + int(np.random.default_rng([seed, _CHANCE]).integers(3))
    return Exam(lesions=0, nodules=count)


def draw_nodules(body: Body, vessels: np.ndarray, *, count: int, seed: int) -> tuple[Nodule, ...]:
    """Draw nodules that lie in the lungs, apart from each other and from thick vessels.

    Parameters
    ----------
    body
        The patient.
    vessels
        Branches in the lungs, shape (n, 2 ends, (x, y, z, radius)), mm.
    count
        How many. A place is found for each: one that fits nowhere becomes smaller.
    seed
        Of the phantom.
    """
    rng = np.random.default_rng([seed, _CHANCE, 1])
    found: list[Nodule] = []
    for _ in range(count):
        diameter = float(np.exp(rng.uniform(*np.log(DIAMETER_MM))))
        form = rng.uniform(0.75, 1.3, 3)
        radii, tries = diameter / 2 * form / np.prod(form) ** (1 / 3), 0
        while not _free(body, (vessels, found), centre := _anywhere(body, rng), float(radii.max())):
            tries += 1
            if tries % _TRIES == 0:            # never endless: in the end it is a point
                radii = radii * _SHRINK
        waves = np.column_stack([rng.normal(size=(5, 3)) * 2.2 / radii.max(), rng.uniform(0, 2 * np.pi, 5)])
        dense = 260.0 if rng.random() < 0.1 else float(rng.uniform(-40, 70))
        turn = Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
        found.append(Nodule(tuple(centre), tuple(radii), turn, waves, dense))
    return tuple(found)


def _anywhere(body: Body, rng: np.random.Generator) -> np.ndarray:
    z = rng.uniform(body.dome - 40, 100)
    a, b, _, _, middle, _ = body.level(z)
    return np.array([rng.uniform(-a, a), middle + rng.uniform(-b, b), z])


def _free(body: Body, taken: tuple[np.ndarray, Sequence[Nodule]], centre: np.ndarray, radius: float) -> bool:
    """Whether a nodule of this size fits here: in the lung, off the vessels that could hide it, off the others."""
    vessels, others = taken
    if any(np.linalg.norm(centre - one.centre) < radius + one.reach_mm + _APART_MM for one in others):
        return False
    thick = vessels[vessels[:, :, 3].max(1) > _THICK_MM]
    if len(thick) and (_gap(centre, thick) < radius + 1).any():
        return False
    return depth_mm(body, centre) > radius + 1


def _gap(point: np.ndarray, branches: np.ndarray) -> np.ndarray:
    """Distance from a point to the surface of each branch, mm, shape (n,)."""
    start, along = branches[:, 0, :3], branches[:, 1, :3] - branches[:, 0, :3]
    share = np.einsum("ij,ij->i", point - start, along) / np.maximum(np.einsum("ij,ij->i", along, along), 1e-6)
    nearest = start + np.clip(share, 0, 1)[:, None] * along
    return np.linalg.norm(point - nearest, axis=1) - branches[:, :, 3].max(1)


def depth_mm(body: Body, point: Point | np.ndarray) -> float:
    """Return how far inside the lungs a point (x, y, z) of the body lies, mm; negative outside."""
    # A block of this one voxel: every shape's box holds it, since all corners fall on index 0.
    space = Space([np.full((1, 1, 1), value, np.float32) for value in point], np.zeros((4, 4)), 0.0)
    rows = body.at(space.p[2])
    cage = body.cage(space.p, rows)
    _, _, outside = Heart(body).place(space)
    pericardium = outside - np.float32(0.25) - np.float32(body.traits["epicardial_mm"])
    walls = body.mediastinum(space, rows, pericardium), body.diaphragm(space.p, cage[1:])
    return -float(body.lungs(space.p, cage, walls).item())
