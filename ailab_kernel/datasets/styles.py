"""Site styles: what a hospital's scanner, protocol and patients look like, as tables of ranges.

The styles were fixed before any model was trained on them. ``university`` trains the base heart-wall model,
``general-hospital`` is the other site, ``mixed`` is as wide as we can draw and trains the base lung model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Range = tuple[float, float]


@dataclass(frozen=True)
class Scanner:
    """Manufacturer (0008,0070), model (0008,1090), software (0018,1020) and how it stores samples."""

    vendor: str
    model: str
    software: str
    signed: bool = True
    padding_hu: int = -1024


@dataclass(frozen=True)
class Kernel:
    """Convolution Kernel (0018,1210), its blur and what it does to edges and noise.

    ``blur_mm`` is the standard deviation of the in-plane point spread, ``grain_mm`` that of the noise's
    correlation, ``sharpen`` the share of unsharp masking.
    """

    name: str
    blur_mm: float
    grain_mm: float
    sharpen: float = 0.0


@dataclass(frozen=True)
class Phase:
    """Attenuation (low, high) in HU of each pool that contrast medium reaches."""

    left: Range
    right: Range
    muscle: Range
    liver: Range
    spleen: Range
    kidney: Range


PHASES: Mapping[str, Phase] = MappingProxyType({
    "none": Phase((32, 50), (32, 50), (38, 54), (45, 66), (42, 54), (28, 38)),
    "pulmonary": Phase((130, 260), (330, 620), (55, 95), (50, 75), (50, 75), (40, 90)),
    "angiography": Phase((300, 470), (120, 400), (85, 125), (55, 85), (80, 140), (110, 190)),
    "venous": Phase((135, 185), (130, 180), (95, 125), (95, 125), (105, 135), (150, 210)),
    "late": Phase((85, 115), (85, 115), (78, 104), (75, 95), (80, 100), (120, 190)),
})

# Everything about a patient, an exam or a scanner that is one number: drawn uniformly, one draw a name.
RANGES: Mapping[str, Range] = MappingProxyType({
    "width": (0.86, 1.14), "depth": (0.86, 1.16), "height": (0.88, 1.14), "turn_deg": (-6, 6), "tilt_deg": (-4, 4),
    "roundness": (0.15, 0.65), "fat_mm": (4, 40), "muscle_mm": (-3, 6), "breast": (0, 1.25), "belly_mm": (-8, 28),
    "inspiration_mm": (-35, 28), "left_dome_mm": (-18, 4), "dome_mm": (48, 92), "recess": (0.6, 1.35),
    "arch_mm": (-8, 10), "kyphosis": (0.4, 1.7), "scoliosis_mm": (-9, 9), "mediastinum": (0.8, 1.3),
    "junction_mm": (1.2, 5), "lung_hu": (-920, -740), "gravity_hu": (5, 80), "texture_hu": (6, 34),
    "emphysema": (0, 1), "vessel_mm": (5.0, 8.0), "vessels": (240, 520), "airway": (0.85, 1.2),
    "heart": (0.86, 1.2), "heart_left": (0.58, 0.78), "heart_front": (-0.62, -0.42), "heart_down": (-0.56, -0.3),
    "heart_x": (-8, 8), "wall_mm": (8, 12), "apex_thin": (0.6, 0.9), "wall_texture_hu": (2, 8), "chamber": (0.88, 1.15),
    "epicardial_mm": (2, 9), "rib_pitch": (24, 30), "rib_slope": (42, 84), "bone_hu": (380, 900),
    "marrow_hu": (60, 280), "fat_hu": (-118, -88), "muscle_hu": (38, 66), "stomach": (0.65, 1.25),
    "gas": (0.1, 0.95), "fluid_mm": (15, 60), "warp_mm": (2, 7), "streak_hu": (0, 10), "fov_mm": (300, 460),
    "shift_x_mm": (-14, 14), "shift_y_mm": (-22, 22), "table_mm": (6, 40), "noise_hu": (6, 34), "slice_blur": (0.2, 0.55),
})
CHANCES: Mapping[str, float] = MappingProxyType({
    "arms_up": 0.7, "arms_beside": 0.5, "table": 0.8, "effusion": 0.08, "effusion_left": 0.5, "consolidation": 0.06,
    "atelectasis": 0.3, "round_field": 0.4, "oesophagus_air": 0.4, "calcified": 0.4, "emphysema": 0.2,
    "interposed_gas": 0.15, "blanket": 0.2,
})
# Where a scan begins and ends: mm below the lung bases and above the apices, then how often.
COVERAGE: Mapping[str, tuple[float, float, float]] = MappingProxyType({
    "chest": (20, 20, 0.55), "neck-to-abdomen": (75, 60, 0.2), "chest-and-abdomen": (110, 15, 0.1),
    "upper": (-95, 40, 0.05), "lower": (45, -75, 0.05), "heart": (-20, -95, 0.05),
})


@dataclass(frozen=True)
class Style:
    """One site: its scanners, kernels, contrast phases (name, weight) and what differs from ``RANGES``."""

    name: str
    scanners: tuple[Scanner, ...]
    kernels: tuple[Kernel, ...]
    phases: tuple[tuple[str, float], ...]
    ranges: Mapping[str, Range] = field(default_factory=dict)
    chances: Mapping[str, float] = field(default_factory=dict)
    coverage: tuple[str, ...] = tuple(COVERAGE)
    slice_mm: Range = (0.8, 8.0)

    def range(self, name: str) -> Range:
        """The (low, high) that this site draws ``name`` from."""
        return self.ranges.get(name, RANGES[name])

    def chance(self, name: str) -> float:
        """How often ``name`` is so at this site, 0 to 1."""
        return self.chances.get(name, CHANCES[name])


@dataclass(frozen=True)
class Exam:
    """What is asked of an exam; whatever is None is drawn from the site's tables.

    Attributes
    ----------
    obliquity_deg
        Turn of the grid about the patient's x, y and z axis.
    noise_hu
        Standard deviation of the noise at dose 1.
    dose
        Relative; noise goes with its inverse square root.
    contrast
        Name of a contrast phase in ``PHASES``.
    lesions
        Number of round nodules that may lie anywhere.
    coverage
        Name of a coverage in ``COVERAGE``.
    scanner, kernel
        Instead of the site's.
    nodules
        Number of rough nodules that lie wholly in the lungs (`nodules`).
    """

    obliquity_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise_hu: float | None = None
    dose: float = 1.0
    contrast: str | None = None
    lesions: int | None = None
    coverage: str | None = None
    scanner: Scanner | None = None
    kernel: Kernel | None = None
    # Not in the text that UIDs are made of: exams without it keep theirs (`Phantom.identity` adds it).
    nodules: int | None = field(default=None, repr=False)


_SOMATOM = Scanner("PHANTOM SOMA", "Definition 64", "VA48A", signed=False)
_REVO = Scanner("PHANTOM GE-LIKE", "Revo 128", "19HW12.5", padding_hu=-2000)
_AQUI = Scanner("PHANTOM AQUI", "One 320", "V8.8", padding_hu=-2048)
_BRILL = Scanner("PHANTOM BRILL", "Iq 64", "4.1.6", padding_hu=-3024)
_SOFT, _STANDARD, _LUNG = Kernel("SOFT", 0.75, 0.8), Kernel("STANDARD", 0.55, 0.55), Kernel("LUNG", 0.3, 0.25, 0.7)

STYLES: Mapping[str, Style] = MappingProxyType({style.name: style for style in (
    Style("university", (_SOMATOM,), (_STANDARD,), (("angiography", 1.0),), slice_mm=(1, 5), coverage=("chest",),
          ranges={"wall_mm": (8, 10.5), "heart_left": (0.64, 0.76), "heart_down": (-0.46, -0.34), "noise_hu": (8, 16),
                  "wall_texture_hu": (1, 3), "fov_mm": (320, 400), "lung_hu": (-890, -790), "fat_mm": (5, 25)},
          chances={"effusion": 0.03, "consolidation": 0.03}),
    Style("general-hospital", (_REVO,), (_SOFT,), (("venous", 1.0),), slice_mm=(2, 6), coverage=("chest",),
          ranges={"wall_mm": (11, 14.5), "heart_left": (0.5, 0.62), "heart_down": (-0.66, -0.52), "noise_hu": (16, 28),
                  "wall_texture_hu": (4, 9), "fov_mm": (350, 440), "fat_mm": (10, 40), "heart": (0.95, 1.2)},
          chances={"effusion": 0.1, "consolidation": 0.06}),
    Style("mixed", (_SOMATOM, _REVO, _AQUI, _BRILL), (_SOFT, _STANDARD, _LUNG),
          (("none", 0.5), ("venous", 0.2), ("angiography", 0.15), ("pulmonary", 0.1), ("late", 0.05)),
          ranges={"width": (0.78, 1.22), "depth": (0.78, 1.24), "height": (0.8, 1.2), "fov_mm": (255, 500),
                  "lung_hu": (-960, -700), "fat_mm": (2, 55), "noise_hu": (2, 45), "wall_mm": (7, 15),
                  "heart": (0.8, 1.3), "warp_mm": (2, 10), "turn_deg": (-10, 10)}),
)})
