"""One body as implicit surfaces: what lies where, in scaled body coordinates.

The body's frame is x to the left, y to the back, z to the head, mm, with the carina near z = 40. A ``Body`` holds the
numbers of one patient; its methods give signed distances (negative inside) at any points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .sdf import FAR, Point, blend, capsule, carve, ellipsoid, tube
from .space import Box, Space

Points = Sequence[np.ndarray]
Shape = np.ndarray

_LOW, _STEP, _COUNT = -420.0, 0.5, 1600
# z, then half width, half depth of the thoracic cage's inside and of the muscle's outside, mm, of an average adult.
_PROFILE = np.array([
    (-420, 112, 78, 128, 92), (-260, 120, 84, 134, 96), (-150, 129, 89, 144, 103), (-90, 132, 90, 148, 105),
    (-30, 129, 87, 150, 104), (20, 120, 80, 152, 99), (55, 106, 72, 157, 96), (80, 91, 64, 162, 92),
    (102, 74, 54, 152, 86), (120, 58, 46, 124, 76), (140, 48, 38, 82, 66), (165, 42, 30, 60, 57), (380, 42, 30, 58, 62),
])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Body:
    """One patient's shapes.

    Attributes
    ----------
    traits
        Numbers by the names of ``styles.RANGES``, mm, HU and factors.
    """

    traits: Mapping[str, float]

    @cached_property
    def tables(self) -> tuple[np.ndarray, ...]:
        """Half width and depth of the cage, of the muscle, y of the cage's middle and x of the spine, over z."""
        t = self.traits
        z = _LOW + _STEP * np.arange(_COUNT)
        columns = [np.interp(z, _PROFILE[:, 0], column) for column in _PROFILE[:, 1:].T]
        smooth = np.hanning(49) / np.hanning(49).sum()
        cage_a, cage_b, core_a, core_b = (np.convolve(np.pad(c, 24, mode="edge"), smooth, "valid") for c in columns)
        shoulders = np.exp(-(((z - 85) / 35) ** 2))
        bent = 11 - t["kyphosis"] * 17 * np.minimum(np.abs(z - 5) / 140, 1.3) ** 2
        spine_x = t["scoliosis_mm"] * np.sin(z / 75)
        core_a = core_a + t["muscle_mm"] + t["shoulder_mm"] * shoulders
        return tuple(c.astype(np.float32) for c in (cage_a, cage_b, core_a, core_b + t["muscle_mm"], bent, spine_x))

    def at(self, z: np.ndarray) -> list[np.ndarray]:
        """Rows of ``tables`` at heights ``z``, each of its shape."""
        index = ((z - np.float32(_LOW)) * np.float32(1 / _STEP)).astype(np.int32)
        np.clip(index, 0, _COUNT - 1, out=index)
        return [table.take(index) for table in self.tables]

    def level(self, z: float) -> list[float]:
        """Rows of ``tables`` at one height."""
        return [float(v[0]) for v in self.at(np.array([z], np.float32))]

    def cage(self, p: Points, rows: Sequence[np.ndarray]) -> tuple[Shape, np.ndarray, np.ndarray]:
        """Distance to the inside of the rib cage, and x and y as fractions of its half axes."""
        a, b, _, _, middle, _ = rows
        return _squircle(p[0], p[1] - middle, (a, b), self.traits["roundness"])

    def core(self, space: Space, rows: Sequence[np.ndarray]) -> Shape:
        """Distance to the muscle's outside: trunk, neck, shoulders and arms."""
        _, _, a, b, middle, _ = rows
        d, _, _ = _squircle(space.p[0], space.p[1] - middle - np.float32(6), (a, b), 0.3)
        for side in (-1, 1):
            for limb, width in self.limbs(side):
                d = blend(d, space.tube(limb, reach=110), width)
        return d

    def limbs(self, side: int) -> list[tuple[list[tuple[float, float, float, float]], float]]:
        """Paths (x, y, z, radius) of one side's shoulder and arm, and the fillet to the trunk."""
        t = self.traits
        middle, out = self.level(85)[4], 150 + t["shoulder_mm"]
        if t["arms_up"]:
            lift = t["arm_turn"]
            return [([(side * 112, middle + 8, 82, 54), (side * out, middle + 6, 116, 49),
                      (side * (out + 8 + 30 * lift), middle - 35 * lift, 205, 38),
                      (side * (out - 20 + 50 * lift), middle - 60 * lift, 400, 34)], 25.0)]  # fmt: skip
        shoulder = [(side * 100, middle + 4, 86, 40), (side * (out + 15), middle + 6, 84, 44)]
        if not t["arms_beside"]:
            return [(shoulder, 25.0)]
        gap = 40 + t["fat_mm"] + 12 * t["arm_turn"]
        arm = [(side * (out + 18), middle + 8, 80, 42), (side * (self.level(-60)[2] + gap + 8), middle + 22, -60, 39),
               (side * (self.level(-220)[2] + gap), middle - 5, -260, 36)]  # fmt: skip
        return [(shoulder, 25.0), (arm, 6.0)]

    def skin(self, space: Space, rows: Sequence[np.ndarray], core: Shape) -> Shape:
        """Distance to the skin: fat over the muscle, belly and breasts."""
        t, p, b, middle = self.traits, space.p, rows[3], rows[4]
        front = np.clip((middle - p[1]) / b, -1, 1)
        below = 1 / (1 + np.exp((p[2] + np.float32(130)) * np.float32(0.03)))
        above = 1 / (1 + np.exp((np.float32(95) - p[2]) * np.float32(0.08)))
        fat = t["fat_mm"] * (0.85 + 0.3 * front * below - 0.5 * above) + t["belly_mm"] * below * np.maximum(front, 0)
        d = core - np.maximum(fat, np.float32(2))
        if t["breast"] > 0.15:
            for side in (-1, 1):
                d = blend(d, self.breast(space, side, 1.0), 14)
        return d

    def breast(self, space: Space, side: int, part: float) -> Shape:
        """Distance to one breast; ``part`` below 1 is the gland in it."""
        t = self.traits
        size = 0.55 + 0.45 * t["breast"] + 0.06 * side * t["lean"]
        _, _, _, b, middle, _ = self.level(-15)
        centre = (side * (74 + 14 * t["breast"]), middle - b - 0.35 * t["fat_mm"] + 4, -12 - 8 * t["breast"])
        return space.ball(centre, [r * size * part for r in (60, 46, 60)], reach=30)

    def diaphragm(self, p: Points, xy: Points) -> Shape:
        """Distance to the diaphragm's upper side, positive above it."""
        t, (x, y) = self.traits, xy
        depth = t["dome_mm"] * t["recess"]
        left = 1 / (1 + np.exp(-8 * x))
        back, front = np.maximum(y + np.float32(0.3), 0), np.maximum(-y - np.float32(0.3), 0)
        square = x * x
        height = (np.float32(self.dome) + t["left_dome_mm"] * left - 9 * np.exp(-square / 0.06)
                  - depth * (0.5 * square * square + 0.72 * back * back + 0.28 * front * front))  # fmt: skip
        steep = np.square(depth * 2 * square * x / 130) + np.square(depth * (1.44 * back + 0.56 * front) / 88)
        return (p[2] - height) / np.sqrt(1 + steep)

    @property
    def dome(self) -> float:
        """Z of the right dome of the diaphragm, mm."""
        return -72 - self.traits["inspiration_mm"]

    @property
    def heart_centre(self) -> Point:
        """Middle of the left ventricle, mm; the heart rides on the diaphragm."""
        t = self.traits
        return (27 + t["heart_x"], self.level(-30)[4] - 20, min(self.dome + 12 + 14 * t["heart"], -20))

    @property
    def bounds(self) -> tuple[Point, Point]:
        """Corners of a box that holds the body, mm."""
        t = self.traits
        front = 160 + 1.4 * t["fat_mm"] + max(t["belly_mm"], 60 * t["breast"])
        return (-400, -front, -2000), (400, 165 + 1.2 * t["fat_mm"], 2000)

    def spine(self, z: float) -> Point:
        """Middle of the vertebral body at height ``z``."""
        _, b, _, _, middle, x = self.level(z)
        return (x, middle + max(b, 52) - 27, z)

    def spine_y(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """Y of the middle of the vertebral bodies at the rows' heights."""
        return rows[4] + np.maximum(rows[1], 52) - np.float32(27)

    @cached_property
    def hilum(self) -> dict[int, Point]:
        """Where vessels and bronchi enter each lung."""
        y = self.level(15)[4]
        return {-1: (-36 * self.traits["mediastinum"], y + 6, 14), 1: (38 * self.traits["mediastinum"], y + 10, 20)}

    @cached_property
    def aorta(self) -> list[tuple[float, float, float, float]]:
        """Path of the aorta from the root to the abdomen: (x, y, z, radius)."""
        t = self.traits
        wide, high = 13.5 * t["chamber"], 72 + t["arch_mm"]
        down = [(self.spine(z)[0] + x, self.spine(z)[1] - 19, z, wide * 0.85)
                for x, z in ((25, high - 18), (24, 20), (20, -50), (13, -130), (5, -400))]  # fmt: skip
        y = self.level(40)[4]
        x, _, z = self.heart_centre
        return [(x - 22, y - 22, z + 10, wide * 1.1), (x - 38, y - 26, z + 34, wide), (-18, y - 26, 34, wide), (-12, y - 20, high - 12, wide),
                (6, y - 4, high, wide * 0.95), (20, y + 14, high - 4, wide * 0.92), *down]  # fmt: skip

    @cached_property
    def airways(self) -> dict[str, list[tuple[float, float, float, float]]]:
        """Paths (x, y, z, radius) of trachea, main and lobar bronchi."""
        wide, y = 8.6 * self.traits["airway"], self.level(40)[4]
        neck = self.level(150)[4]
        fork = (2.0, y + 8, 42.0, wide)
        paths = {"trachea": [(0, neck - 14, 400, wide), (0, neck - 12, 130, wide), (2, y, 80, wide), fork]}
        for side in (-1, 1):
            x, hy, hz = self.hilum[side]
            paths[f"main{side}"] = [(*fork[:3], wide * 0.8), (x * 0.85, hy + 3, hz + (4 if side < 0 else 0), wide * 0.62)]
            start = paths[f"main{side}"][-1]
            for name, (dx, dy, dz) in {"up": (22, -4, 26), "front": (20, -32, -20), "down": (18, 22, -48)}.items():
                paths[f"{name}{side}"] = [start, (x + side * dx, hy + dy, hz + dz, wide * 0.26)]
        return paths

    def mediastinum(self, space: Space, rows: Sequence[np.ndarray], heart: Shape) -> Shape:
        """Distance to what lies between the lungs; ``heart`` is the distance to the pericardium."""
        t = self.traits
        p, m, y = space.p, t["mediastinum"], self.level(50)[4]
        flat = (p[0], (p[1] - rows[4]) * np.float32(0.62), p[2])
        column = tube(flat, [(0, -4, 0, 22 * m), (0, -2, 50, 29 * m), (0, 0, 85, 27 * m), (0, 4, 130, 29 * m),
                             (0, 6, 300, 34)])  # fmt: skip
        spine = np.hypot(p[0] - rows[5], p[1] - self.spine_y(rows) - np.float32(6)) - np.float32(25)
        x, hy, hz = self.heart_centre
        pad = space.ball((x - 10, hy - 10, self.dome - 6), (56 * t["heart"], 40 * t["heart"], 24), reach=50)
        d = blend(blend(column, blend(heart, pad, 10), 12), spine, 10)
        d = blend(d, space.tube(self.aorta, reach=40) - np.float32(2), 5)
        for side in (-1, 1):
            x, hy, hz = self.hilum[side]
            d = blend(d, space.ball((x * 0.82, hy, hz), (17, 19, 26), reach=40), 8)
        line = p[0] - np.float32(t["lean"] * 4) - rows[5] * np.float32(0.5)
        open_ = np.clip((p[1] - np.float32(y - 20)) * np.float32(0.35), -12, 14)
        widen = np.clip((np.abs(p[2] - np.float32(30)) - 25) * np.float32(0.18), 0, 6)
        sheet = np.abs(line) - (np.float32(t["junction_mm"]) + np.maximum(open_, 0) * np.float32(0.55) + widen)
        return blend(d, sheet, 5)

    def apex(self, p: Points) -> Shape:
        """Distance to the domes over the two lungs."""
        t = self.traits
        side = np.where(p[0] < 0, np.float32(1 + 0.02 * t["lean"]), np.float32(1 - 0.02 * t["lean"]))
        x, y = (np.abs(p[0]) - np.float32(47)) / np.float32(62), (p[1] - np.float32(self.level(100)[4] + 4)) / np.float32(50)
        bowl = np.minimum(x * x + y * y, np.float32(9))
        return (p[2] - np.float32(118) * side + np.float32(38) * bowl) / np.sqrt(1 + np.float32(1.9) * bowl)

    def lungs(self, p: Points, cage: tuple[Shape, np.ndarray, np.ndarray], walls: tuple[Shape, Shape]) -> Shape:
        """Distance to both lungs from the cage, the mediastinum and the diaphragm (``walls``)."""
        mediastinum, diaphragm = walls
        top = carve(cage[0] + np.float32(1.2), self.apex(p), 14)
        return carve(carve(top, -mediastinum, 4), -diaphragm, 3)

    def ribs(self, p: Points, cage: Shape, y: np.ndarray) -> tuple[Shape, Shape]:
        """Distances to the ribs and to their cartilage."""
        t = self.traits
        along = p[2] + np.float32(t["rib_slope"]) * (np.float32(0.5) - 0.5 * y) * np.clip(1.25 - p[2] / 160, 0.3, 1.2)
        turn = along * np.float32(1 / t["rib_pitch"]) + np.float32(0.03) * np.sign(p[0])
        off = (turn - np.round(turn)) * np.float32(t["rib_pitch"] * 0.8)
        shell = cage - np.float32(6.5)
        bar = np.sqrt(np.square(shell * np.float32(1.35)) + np.square(off)) - np.float32(5.4)
        bar = np.maximum(bar, p[2] - np.float32(112))
        edge = (y + np.float32(0.72)) * 60
        return np.maximum(bar, -edge), np.maximum(bar, edge)


@dataclass(frozen=True, eq=False)
class Heart:
    """The heart in its own frame: u from base to apex, v to the right ventricle, w the third."""

    body: Body

    @cached_property
    def centre(self) -> np.ndarray:
        """Middle of the left ventricle, body frame, mm; it rides on the diaphragm."""
        return np.array(self.body.heart_centre, np.float32)

    @cached_property
    def axes(self) -> np.ndarray:
        """Rows u, v, w as unit vectors in the body frame."""
        t = self.body.traits
        u = np.array([t["heart_left"], t["heart_front"], t["heart_down"]])
        u /= np.linalg.norm(u)
        v = np.array([-0.62, -0.66, 0.1]) - u * np.dot([-0.62, -0.66, 0.1], u)
        v /= np.linalg.norm(v)
        return np.array([u, v, np.cross(u, v)], np.float32)

    def local(self, p: Points) -> list[np.ndarray]:
        """Points in the heart's frame, scaled to an average heart."""
        scale = 1 / self.body.traits["heart"]
        q = [a - c for a, c in zip(p, self.centre, strict=True)]
        return [(q[0] * row[0] + q[1] * row[1] + q[2] * row[2]) * np.float32(scale) for row in self.axes]

    def chambers(self, q: Points) -> dict[str, Shape]:
        """Distances to cavity, wall, right ventricle and both atria, at points in the heart's frame."""
        t = self.body.traits
        size, wall = t["chamber"], t["wall_mm"] / t["heart"]
        inner, radius = 47 * size, 23.5 * size
        base = -np.float32(20) - q[0]
        cavity = np.maximum(ellipsoid(q, (0, 0, 0), (inner, radius, radius * 1.04)), base)
        outer = ellipsoid(q, (0, 0, 0), (inner + wall * t["apex_thin"], radius + wall, radius * 1.04 + wall))
        left = np.maximum(outer, base)
        right = carve(ellipsoid(q, (-8, 30, 4), (49 * size, 33 * size, 38 * size)), -left + np.float32(1), 3)
        right = np.maximum(right, -np.float32(32) - q[0])
        return {
            "wall": np.maximum(left, -cavity), "cavity": cavity, "left": left, "right": right,
            "left-atrium": ellipsoid(q, (-43, -4, -3), (23 * size, 31 * size, 27 * size)),
            "right-atrium": ellipsoid(q, (-44, 49, 4), (27 * size, 27 * size, 33 * size)),
        }  # fmt: skip

    def place(self, space: Space) -> tuple[Box | None, dict[str, Shape], Shape]:
        """Box around the heart, its chambers and ``outside`` in that box, and ``outside`` everywhere."""
        t = self.body.traits
        reach = 120 * t["heart"] * max(t["chamber"], 1) + t["epicardial_mm"] + 30
        far = np.full(space.p[0].shape, FAR)
        box = space.box(self.centre - reach, self.centre + reach)
        if box is None:
            return None, {}, far
        chambers = self.chambers(self.local(space.within(box)))
        far[box] = chambers["outside"] = self.outside(chambers)
        return box, chambers, far

    def outside(self, chambers: Mapping[str, Shape]) -> Shape:
        """Distance to the whole heart without its fat."""
        d = blend(chambers["left"], chambers["right"] - np.float32(3), 10)
        return blend(blend(d, chambers["left-atrium"] - np.float32(2), 10), chambers["right-atrium"] - np.float32(2), 10)


def _squircle(x: np.ndarray, y: np.ndarray, half: Points, square: float) -> tuple[Shape, np.ndarray, np.ndarray]:
    """Distance to a column whose section is between an ellipse (0) and a rectangle (1); x and y over half axes."""
    u, v = x / half[0], y / half[1]
    uu, vv = u * u, v * v
    value = uu + vv - np.float32(square) * uu * vv / np.maximum(np.maximum(uu, vv), 1)
    root = np.sqrt(np.maximum(value, 1e-6))
    steep = np.sqrt(np.square(u / half[0]) + np.square(v / half[1])) / np.maximum(root, 1e-3)
    return (root - 1) / np.maximum(steep, np.float32(1e-3)), u, v


def flat_bone(p: Points, ends: tuple[Point, Point], radius: float, *, flat: tuple[float, float]) -> Shape:
    """Distance to a bar whose width and depth are stretched by ``flat``."""
    q = (p[0] / np.float32(flat[0]), p[1] / np.float32(flat[1]), p[2])
    ends = [(e[0] / flat[0], e[1] / flat[1], e[2]) for e in ends]
    return capsule(q, ends, (radius, radius)) * np.float32(min(flat))
