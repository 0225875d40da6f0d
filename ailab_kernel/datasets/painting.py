"""A body painted into voxels, organ by organ, with partial volume at every edge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .anatomy import Body, Heart, flat_bone
from .nodules import Nodule
from .sdf import capsule, carve, ellipsoid, tube, union
from .space import Box, Space

LUNG, WALL, CAVITY, LESION = 1, 2, 3, 4
AIR_HU = -1000.0
Path = Sequence[Sequence[float]]
_ALL: Box = (slice(None), slice(None), slice(None))


@dataclass(frozen=True, eq=False)
class Patient:
    """What is painted: shapes, branches and spots, and the attenuation of each tissue.

    Attributes
    ----------
    vessels
        Branches in the lungs, shape (n, 2 ends, (x, y, z, radius)), mm.
    spots
        (kind, centre, radii, HU) of nodules, opacities, gas and bowel.
    pools
        HU of left and right blood, muscle (the heart's), liver, spleen, kidney.
    nodules
        Lumps in the lungs, painted last.
    """

    body: Body
    vessels: np.ndarray
    spots: tuple[tuple[str, tuple[float, float, float], tuple[float, float, float], float], ...]
    pools: Mapping[str, float]
    nodules: tuple[Nodule, ...] = ()

    @cached_property
    def heart(self) -> Heart:
        """The heart in the body."""
        return Heart(self.body)


@dataclass(eq=False)
class Canvas(Space):
    """One block of voxels being painted.

    Attributes
    ----------
    voxel
        Width of an edge, mm.
    """

    voxel: float
    hu: np.ndarray = field(init=False)
    labels: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.hu = np.full(self.p[0].shape, AIR_HU, np.float32)
        self.labels = np.zeros(self.p[0].shape, np.uint8)

    def paint(self, d: np.ndarray, hu: float | np.ndarray, *, box: Box = _ALL, label: int | None = None,
              inside: np.ndarray | None = None) -> None:
        """Blend ``hu`` in where the distance ``d`` is negative, and label it.

        Parameters
        ----------
        inside
            Distance to what bounds the shape.
        label
            Value for voxels inside; None leaves labels as they are.
        """
        if inside is not None:
            d = np.maximum(d, inside)
        share = d * np.float32(-1 / self.voxel)
        share += np.float32(0.5)
        np.clip(share, 0, 1, out=share)
        view = self.hu[box]
        share *= hu - view
        view += share
        if label is not None:
            self.labels[box][d < 0] = label

    def paint_path(self, path: Path, hu: float, *, label: int | None = None, grow: float = 0.0) -> None:
        """Paint a tube where its bounding box meets the block."""
        joints = np.asarray(path)
        wide = joints[:, 3:].max() + grow
        box = self.box(joints[:, :3].min(0) - wide, joints[:, :3].max(0) + wide)
        if box is not None:
            self.paint(tube(self.within(box), path) - np.float32(grow), hu, box=box, label=label)

    def paint_branches(self, branches: np.ndarray, hu: float, *, inside: np.ndarray) -> None:
        """Paint straight branches, shape (n, 2 ends, (x, y, z, radius)), as far as they lie ``inside``."""
        wide = branches[:, :, 3:].max(1)
        for i, box in self.boxes(branches[:, :, :3].min(1) - wide, branches[:, :, :3].max(1) + wide):
            ends, radii = branches[i, :, :3], branches[i, :, 3]
            self.paint(capsule(self.within(box), ends, radii), hu, box=box, inside=inside[box])

    def paint_ball(self, centre: Sequence[float], radii: Sequence[float], hu: float, *, label: int | None = None,
                   inside: np.ndarray | None = None) -> None:
        """Paint an ellipsoid where its bounding box meets the slab."""
        box = self.box(np.subtract(centre, radii), np.add(centre, radii))
        if box is not None:
            d = ellipsoid(self.within(box), centre, radii)
            self.paint(d, hu, box=box, label=label, inside=None if inside is None else inside[box])


def paint(canvas: Canvas, patient: Patient) -> None:
    """Paint the whole patient, outside in."""
    body, p = patient.body, canvas.p
    rows = body.at(p[2])
    cage = body.cage(p, rows)
    core = body.core(canvas, rows)
    _soft_parts(canvas, body, (core, body.skin(canvas, rows, core)))
    diaphragm = body.diaphragm(p, cage[1:])
    inner = np.maximum(cage[0], p[2] - np.float32(122))
    canvas.paint(inner, body.traits["fat_hu"] + 4)
    box, chambers, outside = patient.heart.place(canvas)
    pericardium = outside - np.float32(0.25) - np.float32(body.traits["epicardial_mm"])
    lungs = body.lungs(p, cage, (body.mediastinum(canvas, rows, pericardium), diaphragm))
    _abdomen(canvas, patient, (cage[0], diaphragm))
    _bones(canvas, body, rows, cage)
    _great_vessels(canvas, patient)
    if box is not None:
        _heart(canvas, patient, box, chambers)
    _lungs(canvas, patient, cage, lungs)
    _airways(canvas, body, lungs)
    _spots(canvas, patient, lungs)
    for nodule in patient.nodules:
        box = canvas.box(np.subtract(nodule.centre, nodule.reach_mm), np.add(nodule.centre, nodule.reach_mm))
        if box is not None:
            edge, hu = nodule.paint(canvas.within(box))
            canvas.paint(edge, hu, box=box, label=LESION, inside=lungs[box])


def _soft_parts(canvas: Canvas, body: Body, shapes: tuple[np.ndarray, np.ndarray]) -> None:
    core, skin = shapes
    t, p = body.traits, canvas.p
    canvas.paint(skin, 15.0)
    canvas.paint(skin + np.float32(2.2), t["fat_hu"])
    for side in (-1, 1) if t["breast"] > 0.3 else ():
        gland = body.breast(canvas, side, 0.62)
        canvas.paint(gland + 4 * np.sin(p[0] / 5) * np.sin(p[2] / 6), 10.0, inside=skin + np.float32(4))
    canvas.paint(core, t["muscle_hu"])
    streaks = np.sin(p[0] / 7 + p[2] / 23) * np.sin(p[1] / 5 - p[0] / 19) * np.sin(p[2] / 17)
    canvas.paint(0.45 - streaks, t["fat_hu"] + 20, inside=core + np.float32(3))


def _bones(canvas: Canvas, body: Body, rows: Sequence[np.ndarray], cage: Sequence[np.ndarray]) -> None:
    t, p = body.traits, canvas.p
    hard, marrow = t["bone_hu"], t["marrow_hu"]
    ribs, cartilage = body.ribs(p, cage[0], cage[2])
    canvas.paint(cartilage, 95.0)
    canvas.paint(ribs, hard)
    canvas.paint(ribs + np.float32(2.4), marrow)
    _spine(canvas, body, rows)
    _girdle(canvas, body)


def _spine(canvas: Canvas, body: Body, rows: Sequence[np.ndarray]) -> None:
    """Vertebral bodies, discs, arches, spines and the canal."""
    hard, marrow = body.traits["bone_hu"], body.traits["marrow_hu"]
    box = canvas.box((-75, -160, -2000), (75, 200, 2000))
    if box is None:
        return
    x, y, z = canvas.within(box)
    x, middle = x - rows[5][box], body.spine_y([row[box] for row in rows])
    disc = np.abs(np.mod(z * np.float32(1 / 25), 1) - np.float32(0.5)) * 25
    column = np.hypot(x * np.float32(0.86), y - middle) - np.float32(15) - (np.float32(9) - disc) * np.float32(0.12)
    canvas.paint(column, 85.0, box=box)
    block = np.maximum(column, disc - np.float32(10))
    canvas.paint(block, hard * 0.75, box=box)
    canvas.paint(block + np.float32(1.6), marrow, box=box)
    arch = np.hypot(x * np.float32(0.75), y - middle - np.float32(24)) - np.float32(14)
    spur = np.maximum(np.abs(x) - np.float32(3), np.abs(y - middle - np.float32(42)) - np.float32(11))
    across = np.hypot((np.abs(x) - 24) * np.float32(0.45), y - middle - np.float32(20)) - np.float32(6)
    behind = union(np.maximum(arch, disc - np.float32(9)), np.maximum(spur, disc - np.float32(8)),
                   np.maximum(across, disc - 6))  # fmt: skip
    canvas.paint(behind, hard * 0.6, box=box)
    canvas.paint(np.hypot(x, y - middle - np.float32(23)) - np.float32(8.5), 25.0, box=box)


def _girdle(canvas: Canvas, body: Body) -> None:
    """Sternum, clavicles, scapulae and upper arms."""
    t, p = body.traits, canvas.p
    hard, marrow = t["bone_hu"], t["marrow_hu"]
    top, low = body.level(88), body.level(-45)
    front = np.float32(0.5) * (top[4] - top[1] - 4 + low[4] - low[1] - 7)
    sternum = flat_bone(p, ((0, top[4] - top[1] - 1, 84), (0, low[4] - low[1] - 6, -48)), 5.5, flat=(2.6, 1))
    canvas.paint(np.maximum(sternum, np.abs(p[1] - front) - 40), hard * 0.7)
    canvas.paint(sternum + np.float32(2), marrow)
    for side in (-1, 1):
        out = 118 + 0.5 * t["shoulder_mm"]
        raised = 25 * t["arms_up"]
        for grow, hu in ((0.0, hard), (-2.2, marrow + 60)):
            canvas.paint_path([(side * 17, top[4] - top[1] - 4, 90, 8), (side * 70, top[4] - top[1] - 8, 104, 6),
                               (side * out, top[4] + 12, 108 + raised, 6)], hu, grow=grow)  # fmt: skip
        path, _ = body.limbs(side)[-1]
        bone = [(x, y, z, 10.5) for x, y, z, _ in path[1 if t["arms_up"] else 0:]]
        bone[0] = (*bone[0][:3], 21)
        for grow, hu in ((0.0, hard), (-3.5, marrow * 0.5)):
            canvas.paint_path(bone, hu, grow=grow)
        _scapula(canvas, body, side)


def _scapula(canvas: Canvas, body: Body, side: int) -> None:
    t = body.traits
    _, b, _, _, middle, _ = body.level(30)
    centre = np.array([side * (98 + 0.3 * t["shoulder_mm"] + 14 * t["arms_up"]), middle + 0.72 * b + 10, 40 + 8 * t["arms_up"]])
    box = canvas.box(centre - 70, centre + 70)
    if box is None:
        return
    x, y, z = (a - np.float32(c) for a, c in zip(canvas.within(box), centre, strict=True))
    lean = np.float32(side * (0.5 + 0.2 * t["arms_up"]))
    along, out = x * np.float32(0.85) - y * lean, x * lean + y * np.float32(0.85)
    blade = np.maximum(np.abs(out + np.square(along) * np.float32(0.004)) - np.float32(2.6),
                       ellipsoid((along, out, z), (0, 0, 0), (34, 60, 58)))  # fmt: skip
    ridge = capsule((along, out, z), ((-side * 28, 4, 26), (side * 42, 14, 42)), (5, 8))
    canvas.paint(union(blade, ridge), t["bone_hu"] * 0.7, box=box)


def _abdomen(canvas: Canvas, patient: Patient, walls: tuple[np.ndarray, np.ndarray]) -> None:
    """Liver, spleen, stomach, kidneys and the muscle of the diaphragm."""
    body, pools = patient.body, patient.pools
    cage, diaphragm = walls
    low, high = (-150, -130, -400), (150, 130, body.dome + 30)
    box = canvas.box(low, high)
    if box is None:
        return
    x, y, z = canvas.within(box)
    cage, diaphragm = cage[box], diaphragm[box]
    belly = np.maximum(diaphragm, cage)
    canvas.paint(belly, body.traits["muscle_hu"] - 5, box=box)
    canvas.paint(np.maximum(diaphragm + np.float32(2.5), cage + np.float32(4)), body.traits["fat_hu"], box=box)
    room = np.maximum(diaphragm + np.float32(1.5), cage + np.float32(2.5))
    dome, s = body.dome, body.traits["stomach"]
    liver = carve(ellipsoid((x, y, z), (-52, -4, dome - 58), (98, 92, 82)), 0.55 * x + 0.25 * y + 0.8 * (dome - 95 - z) - 8, 10)
    canvas.paint(carve(liver, room, 4), pools["liver"], box=box)
    canvas.paint(carve(ellipsoid((x, y, z), (92, 34, dome - 62), (34, 40, 52)), room, 4), pools["spleen"], box=box)
    stomach = np.maximum(ellipsoid((x, y, z), (58, -20, dome - 55), (44 * s, 46 * s, 52 * s)), room + np.float32(1))
    canvas.paint(stomach, 40.0, box=box)
    air = y + np.float32(20) + np.float32(46 * s * (1 - 1.7 * body.traits["gas"]))
    canvas.paint(np.maximum(stomach + np.float32(3.5), air), AIR_HU, box=box)
    canvas.paint(np.maximum(stomach + np.float32(3.5), -air), 12.0, box=box)
    for side in (-1, 1):
        kidney = ellipsoid((x, y, z), (side * 58, body.spine(-200)[1] - 6, dome - 118 - 12 * (side < 0)), (27, 25, 54))
        canvas.paint(kidney, pools["kidney"], box=box)
        psoas = np.hypot(x - side * 32, y - np.float32(body.spine(-200)[1] + 2)) - np.clip((-170 - z) * np.float32(0.3), 0, 18)
        canvas.paint(np.maximum(psoas, z + 165), body.traits["muscle_hu"], box=box)


def _great_vessels(canvas: Canvas, patient: Patient) -> None:
    """Aorta, caval veins, pulmonary arteries, oesophagus, thyroid and muscles of the neck."""
    body, pools = patient.body, patient.pools
    t, y = body.traits, body.level(50)[4]
    x = t["heart_x"]
    wide = t["chamber"]
    canvas.paint_path([(8, body.level(60)[4] + 24, 140, 7), (8, y + 24, 40, 7), (10, y + 26, -40, 7.5), (20, y + 10, -120, 8)], 32.0)
    canvas.paint_path([(-18, y - 14, 78, 8), (-24, y - 14, 20, 9), (-30 + x, y - 18, -10, 10)], pools["right"])
    canvas.paint_path([(-30 + x, y - 8, -30, 12), (-24, y + 6, body.dome - 10, 12), (-20, y + 18, -300, 11)],
                      pools["right"] * 0.6 + 18)  # fmt: skip
    trunk = (8, y - 16, 26, 11.5 * wide)
    canvas.paint_path([(8 + x, y - 34, -4, 12 * wide), (10, y - 30, 14, 13 * wide), trunk], pools["right"])
    for side in (-1, 1):
        hx, hy, hz = body.hilum[side]
        canvas.paint_path([trunk, (side * 14, y - 6, 24, 9.5 * wide), (hx, hy - 4, hz, 7.5 * wide)], pools["right"])
        canvas.paint_path([(side * 14 + 6, hy + 2, -12, 7), (hx, hy - 6, hz - 22, 5.5)], pools["left"])
        canvas.paint_path([(side * 12, y - 20, 72 + 5 * side, 7), (side * 32, y - 20, 105, 7), (side * 38, y, 170, 6)], pools["right"])
        canvas.paint_path([(side * 9, y - 10, 75, 4.5), (side * 26, y - 4, 120, 4), (side * 27, y + 6, 200, 3.5)], pools["left"])
        canvas.paint_path([(side * 20, body.level(150)[4] - 14, 125, 10), (side * 19, body.level(150)[4] - 13, 150, 6)], 110.0)
    canvas.paint_path(body.aorta, pools["left"] * 0.2 + 30, grow=1.2)
    canvas.paint_path(body.aorta, pools["left"])


def _heart(canvas: Canvas, patient: Patient, box: Box, chambers: Mapping[str, np.ndarray]) -> None:
    pools, t = patient.pools, patient.body.traits
    x, y, z = canvas.within(box)
    grain = np.sin(x / 4.1) * np.sin(y / 5.3) * np.sin(z / 4.7)
    canvas.paint(chambers["outside"], pools["muscle"], box=box)
    for name, pool in (("right-atrium", "right"), ("right", "right"), ("left-atrium", "left")):
        canvas.paint(chambers[name], pools[pool], box=box, label=CAVITY)
    canvas.paint(chambers["wall"], pools["muscle"] + np.float32(t["wall_texture_hu"]) * grain, box=box, label=WALL)
    canvas.paint(chambers["cavity"], pools["left"], box=box, label=CAVITY)


def _lungs(canvas: Canvas, patient: Patient, cage: Sequence[np.ndarray], lungs: np.ndarray) -> None:
    t, p = patient.body.traits, canvas.p
    depth = np.clip(cage[2], -1, 1)
    cloud = np.sin(p[0] / 31 + p[2] / 47) * np.sin(p[1] / 37 - p[2] / 29) + np.sin(p[0] / 13 + p[1] / 17) * np.sin(p[2] / 15)
    basis = np.float32(t["lung_hu"]) + np.float32(t["gravity_hu"]) * (depth + np.abs(depth) * depth) * np.float32(0.5)
    canvas.paint(lungs, np.maximum(basis + np.float32(t["texture_hu"] * 0.5) * cloud, np.float32(-990)), label=LUNG)
    canvas.paint_branches(patient.vessels, patient.pools["lung"], inside=lungs)


def _airways(canvas: Canvas, body: Body, lungs: np.ndarray) -> None:
    for name, path in body.airways.items():
        central = name == "trachea" or name.startswith("main")
        canvas.paint_path(path, 20.0, grow=1.6, label=0 if central else None)
    for name, path in body.airways.items():
        canvas.paint_path(path, AIR_HU, label=0 if name == "trachea" or name.startswith("main") else None)


def _spots(canvas: Canvas, patient: Patient, lungs: np.ndarray) -> None:
    """Nodules, opacities, gas and effusions."""
    for kind, centre, radii, hu in patient.spots:
        if kind == "nodule":
            canvas.paint_ball(centre, radii, hu, label=LESION, inside=lungs)
        elif kind == "opacity":
            _opacity(canvas, centre, radii, hu, lungs)
        elif kind == "effusion":
            _effusion(canvas, centre, radii, hu, lungs)
        else:
            canvas.paint_ball(centre, radii, hu)


def _opacity(canvas: Canvas, centre: Sequence[float], radii: Sequence[float], hu: float, lungs: np.ndarray) -> None:
    """A soft-edged dense patch that stays lung."""
    box = canvas.box(np.subtract(centre, radii), np.add(centre, radii))
    if box is not None:
        q = canvas.within(box)
        d = ellipsoid(q, centre, radii) + 5 * np.sin(q[0] / 6) * np.sin(q[1] / 7) * np.sin(q[2] / 8)
        share = np.clip(-d / 10, 0, 1) * (lungs[box] < 0)
        canvas.hu[box] += share * (hu - canvas.hu[box])


def _effusion(canvas: Canvas, centre: Sequence[float], radii: Sequence[float], hu: float, lungs: np.ndarray) -> None:
    """Fluid behind the lung of the side of ``centre``, up to a level; it is not lung."""
    x, y, z = canvas.p
    side = np.float32(np.sign(centre[0]))
    level = np.float32(centre[1]) + (z - np.float32(centre[2])) * np.float32(0.35) - y
    canvas.paint(np.maximum(np.maximum(level, -side * x), lungs - np.float32(1)), hu, label=0)
