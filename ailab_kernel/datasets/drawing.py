"""Patients drawn from a site's tables: numbers, vessels of the lungs, nodules, gas."""

from collections.abc import Iterator, Mapping

import numpy as np

from .anatomy import Body
from .nodules import draw_nodules
from .painting import Patient
from .styles import CHANCES, PHASES, RANGES, Style

Spot = tuple[str, tuple[float, float, float], tuple[float, float, float], float]


def draw_traits(style: Style, rng: np.random.Generator) -> dict[str, float]:
    """Draw every number of a patient and an exam, one draw a name, chances as 0 or 1."""
    traits = {name: float(rng.uniform(*style.range(name))) for name in RANGES}
    traits |= {name: float(rng.random() < style.chance(name)) for name in CHANCES}
    low, high = np.log(style.slice_mm)
    traits["slice_mm"] = float(np.exp(rng.uniform(low, high)))
    traits["lean"] = float(rng.choice([-1, 1]) * rng.uniform(0.3, 1))
    traits["shoulder_mm"], traits["arm_turn"] = float(rng.uniform(-14, 16)), float(rng.uniform(0, 1))
    traits["emphysema"] *= float(rng.uniform(0.3, 1))
    return traits


def draw_patient(traits: Mapping[str, float], phase: str, *, seed: int) -> Patient:
    """Draw what the traits leave open: the vessels' tree, spots and the contrast medium's uptake."""
    rng = np.random.default_rng([seed, 3])
    body = Body(traits)
    uptake = PHASES[phase]
    pools = {name: float(rng.uniform(*getattr(uptake, name)))
             for name in ("left", "right", "muscle", "liver", "spleen", "kidney")}  # fmt: skip
    pools["lung"] = 0.5 * (pools["left"] + pools["right"])
    vessels = np.array(list(_vessels(body, rng)))
    nodules = draw_nodules(body, vessels, count=int(traits.get("nodules", 0)), seed=seed)
    return Patient(body, vessels, tuple(_spots(body, rng)), pools, nodules)


def _vessels(body: Body, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Branches from each hilum to points all over the lung, thicker the more they feed."""
    t = body.traits
    for side in (-1, 1):
        root = np.array(body.hilum[side])
        count = int(t["vessels"] / 2)
        ends = _places(body, rng, side, count)
        ends = ends[np.argsort(np.linalg.norm(ends - root, axis=1))]
        nodes, parents = [root], [-1]
        for end in ends:
            gaps = np.linalg.norm(np.array(nodes) - end, axis=1)
            inward = np.linalg.norm(np.array(nodes) - root, axis=1)
            near = int(np.argmin(gaps + 0.25 * inward))
            middle = (nodes[near] + end) / 2 + rng.normal(size=3) * min(gaps[near], 40) * 0.07
            nodes += [middle, end]
            parents += [near, len(nodes) - 2]
        load = np.ones(len(nodes))
        for i in range(len(nodes) - 1, 0, -1):
            load[parents[i]] += load[i]
        radii = np.clip(t["vessel_mm"] * (load / load[0]) ** 0.33, 0.9, None)
        for i in range(1, len(nodes)):
            yield np.array([(*nodes[parents[i]], min(radii[parents[i]], radii[i] * 1.25)), (*nodes[i], radii[i])])


def _places(body: Body, rng: np.random.Generator, side: int, count: int) -> np.ndarray:
    """Points all over one lung's room."""
    z = rng.uniform(body.dome - 55, 108, count)
    angle, out = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    rows = np.array(body.at(z.astype(np.float32)))
    x = side * (0.56 + 0.42 * out * np.cos(angle)) * rows[0]
    y = rows[4] + (0.1 + 0.86 * out * np.sin(angle)) * rows[1]
    return np.column_stack([x, y, z])


def _spots(body: Body, rng: np.random.Generator) -> Iterator[Spot]:
    t = body.traits
    drawn = int(rng.integers(0, 4))
    for _ in range(int(t.get("lesions", drawn))):
        side = int(rng.choice([-1, 1]))
        size = float(rng.uniform(3, 11))
        dense = 300.0 if t["calcified"] and rng.random() < 0.3 else float(rng.uniform(-20, 60))
        centre = _places(body, rng, side, 1)[0]
        yield "nodule", tuple(centre), tuple(size * rng.uniform(0.8, 1.2, 3)), dense
    if t["consolidation"]:
        centre = _places(body, rng, int(rng.choice([-1, 1])), 1)[0]
        yield "opacity", tuple(centre), tuple(rng.uniform(18, 45, 3)), float(rng.uniform(-550, -50))
    if t["atelectasis"]:
        side = int(rng.choice([-1, 1]))
        _, b, _, _, middle, _ = body.level(body.dome)
        yield ("opacity", (side * 70.0, middle + 0.8 * b, body.dome - 20.0), (40.0, 14.0, 30.0),
               float(rng.uniform(-650, -250)))  # fmt: skip
    if t["effusion"]:
        side = 1 if t["effusion_left"] else -1
        _, b, _, _, middle, _ = body.level(body.dome)
        yield "effusion", (float(side), middle + b - t["fluid_mm"], body.dome), (1.0, 1.0, 1.0), float(rng.uniform(2, 22))
    yield from _gas(body, rng)


def _gas(body: Body, rng: np.random.Generator) -> Iterator[Spot]:
    """Air of the gullet and of the bowel, and the bowel that holds it."""
    t = body.traits
    if t["oesophagus_air"]:
        z = float(rng.uniform(-40, 100))
        y = body.level(50)[4]
        yield "gas", (8.5, y + 24, z), (3.0, 2.5, float(rng.uniform(5, 20))), -900.0
    for _ in range(rng.integers(4, 12)):
        centre = (float(rng.uniform(-95, 95)), float(rng.uniform(-60, 10)), body.dome - float(rng.uniform(100, 200)))
        size = rng.uniform(9, 22, 3)
        yield "bowel", centre, tuple(size + 4), 35.0
        if rng.random() < 0.6:
            yield "gas", centre, tuple(size), -980.0
    if t["interposed_gas"]:
        side = float(rng.choice([-70, 75]))
        yield "gas", (side, -58.0, body.dome - 38.0), (24.0, 14.0, 17.0), -985.0
