"""Chest CT studies of nobody: deterministic, asymmetric, with the truth at every voxel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ailab_kernel.dicom.codes import (
    ABNORMAL_STRUCTURE,
    CARDIAC_CHAMBER,
    MYOCARDIUM,
)
from ailab_kernel.dicom.codes import (
    LESION as LESION_CODE,
)
from ailab_kernel.dicom.codes import (
    LUNG as LUNG_CODE,
)
from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.volume import Volume

from .anatomy import Body
from .drawing import draw_patient, draw_traits
from .painting import AIR_HU, CAVITY, LESION, LUNG, WALL, Canvas, paint
from .phantom_dicom import to_dicom, write_series
from .space import Box, Space
from .styles import COVERAGE, STYLES, Exam, Kernel, Scanner, Style

if TYPE_CHECKING:
    from pydicom import Dataset

TRUTH_LABELS = (
    Label(LUNG, "lung", LUNG_CODE, color=(90, 160, 220)),
    Label(WALL, "heart-wall", MYOCARDIUM, color=(200, 70, 60)),
    Label(CAVITY, "heart-cavity", CARDIAC_CHAMBER, color=(240, 190, 90)),
    Label(LESION, "lesion", LESION_CODE, ABNORMAL_STRUCTURE, color=(250, 230, 60)),
)
_BLOCK_VOXELS = 300_000


@dataclass(frozen=True, eq=False)
class Phantom:
    """One patient in one scanner.

    Attributes
    ----------
    seed
        What everything is drawn from.
    style
        The site.
    grid
        Where the voxels are, LPS mm.
    traits
        The patient's and the exam's numbers by name (``styles.RANGES``).
    scanner, kernel, phase
        What the site drew for this exam, or what was asked for.
    exam
        What was asked for.
    """

    seed: int
    style: Style
    grid: Grid
    traits: Mapping[str, float] = field(repr=False)
    scanner: Scanner
    kernel: Kernel
    phase: str
    exam: Exam = field(default_factory=Exam)

    @cached_property
    def identity(self) -> tuple[str, ...]:
        """What makes this phantom itself, as text: everything else follows from it."""
        numbers = ",".join(f"{v:.6f}" for v in self.grid.affine.ravel())
        asked = () if self.exam == Exam() else (repr(self.exam),)
        asked = asked if self.exam.nodules is None else (*asked, f"nodules={self.exam.nodules}")
        return ("phantom", "1", self.style.name, str(self.seed), ",".join(map(str, self.grid.shape)), numbers, *asked)


@dataclass(frozen=True, eq=False)
class PhantomStudy:
    """A phantom's image and its truth, on one grid."""

    volume: Volume
    truth: Mask
    phantom: Phantom


def random_phantom(
    seed: int,
    *,
    style: Style | str = "mixed",
    size: tuple[int, int, int] = (60, 128, 128),
    spacing_mm: tuple[float, float, float] | None = None,
    exam: Exam = Exam(),  # noqa: B008 - an immutable value
) -> Phantom:
    """Draw one phantom; equal arguments give equal bytes, in every process.

    Parameters
    ----------
    seed
        Which patient.
    style
        The site, or its name in ``STYLES``.
    size
        (slices, rows, columns).
    spacing_mm
        (slice, row, column); None: what covers the drawn field of view and part of the body.
    exam
        What is asked of the exam instead of being drawn; the rest of the patient stays as it was drawn.
    """
    site = STYLES[style] if isinstance(style, str) else style
    rng = np.random.default_rng([seed, *site.name.encode()])
    scanner = site.scanners[rng.integers(len(site.scanners))]
    kernel = site.kernels[rng.integers(len(site.kernels))]
    names, weights = zip(*site.phases, strict=True)
    phase = names[rng.choice(len(names), p=np.divide(weights, sum(weights)))]
    shares = np.array([COVERAGE[name][2] for name in site.coverage])
    coverage = site.coverage[rng.choice(len(shares), p=shares / shares.sum())]
    traits = draw_traits(site, rng)
    traits["noise_hu"] = (exam.noise_hu or traits["noise_hu"]) / exam.dose**0.5
    if exam.lesions is not None:
        traits["lesions"] = float(exam.lesions)
    if exam.nodules is not None:
        traits["nodules"] = float(exam.nodules)
    grid = _turned(_grid(traits, exam.coverage or coverage, size, spacing_mm), exam.obliquity_deg)
    return Phantom(seed, site, grid, MappingProxyType(traits), exam.scanner or scanner, exam.kernel or kernel,
                   exam.contrast or phase, exam)  # fmt: skip


def _turned(grid: Grid, degrees: tuple[float, float, float]) -> Grid:
    """The grid turned about its middle, about x, then y, then z."""
    if not any(degrees):
        return grid
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    affine, middle = grid.affine.copy(), (np.array(grid.shape) - 1) / 2
    centre = (grid.affine @ [*middle, 1])[:3]
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = centre - affine[:3, :3] @ middle
    return Grid(grid.shape, affine)


def study_uid(phantom: Phantom) -> str:
    """Return the phantom's Study Instance UID, without making it."""
    return derived_uid("study", *phantom.identity)


def make(phantom: Phantom) -> PhantomStudy:
    """Scan the phantom.

    Returns
    -------
    PhantomStudy
        Volume of int16 HU and a truth of ``TRUTH_LABELS`` on its grid.
    """
    patient = draw_patient(phantom.traits, phantom.phase, seed=phantom.seed)
    hu = np.full(phantom.grid.shape, AIR_HU, np.float32)
    labels = np.zeros(phantom.grid.shape, np.uint8)
    for where in _blocks(phantom):
        canvas = _canvas(phantom, where)
        paint(canvas, patient)
        hu[where], labels[where] = canvas.hu, canvas.labels
    _add_surroundings(phantom, hu)
    _scan(phantom, hu, labels)
    series_uid, frame_uid = (derived_uid(part, *phantom.identity) for part in ("series", "frame"))
    images = tuple(derived_uid("image", str(n), *phantom.identity) for n in range(hu.shape[0]))
    facts = {"Modality": "CT", "BodyPartExamined": "CHEST", "Manufacturer": phantom.scanner.vendor,
             "ManufacturerModelName": phantom.scanner.model, "SoftwareVersions": phantom.scanner.software,
             "ConvolutionKernel": phantom.kernel.name, "PatientIdentityRemoved": "YES", "phantom": "yes"}  # fmt: skip
    volume = Volume(np.rint(hu).astype(np.int16), phantom.grid, study_uid=study_uid(phantom), series_uid=series_uid,
                    frame_of_reference_uid=frame_uid, instance_uids=images, facts=facts)  # fmt: skip
    return PhantomStudy(volume, Mask(labels, phantom.grid, TRUTH_LABELS), phantom)


def make_objects(
    seed: int,
    *,
    style: str,
    size: tuple[int, int, int],
    spacing_mm: tuple[float, float, float] | None = None,
    truth: bool = True,
) -> "list[Dataset]":
    """Draw and scan a phantom (`random_phantom`): its CT instances and, when ``truth`` is set, its SEG."""
    study = make(random_phantom(seed, style=style, size=size, spacing_mm=spacing_mm))
    if not truth:
        return write_series(study)
    instances, seg = to_dicom(study)
    return [*instances, *([seg] if seg is not None else [])]


def _grid(t: Mapping[str, float], coverage: str, size: tuple[int, int, int],
          spacing_mm: tuple[float, float, float] | None) -> Grid:  # fmt: skip
    """Grid around the part of the body that the exam covers, table down, head last."""
    below, above, _ = COVERAGE[coverage]
    scale = t["height"]
    body = Body(t)
    low, high = (body.dome - t["dome_mm"] * 0.75) * scale - below, 118 * scale + above
    if spacing_mm is None:
        plane = t["fov_mm"] / max(size[1:])
        spacing_mm = (max((high - low) / size[0], 0.5), plane, plane)
    elif size[0] * spacing_mm[0] < 0.6 * (high - low):
        low = high = (body.dome + 40) * scale
    middle = np.array([t["shift_x_mm"], t["shift_y_mm"] - 5, (low + high) / 2])
    steps = np.array([(0, 0, spacing_mm[0]), (0, spacing_mm[1], 0), (spacing_mm[2], 0, 0)]).T
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = middle - steps @ ((np.array(size) - 1) / 2)
    return Grid((int(size[0]), int(size[1]), int(size[2])), affine)


def _pose(t: Mapping[str, float]) -> np.ndarray:
    """(3, 3) LPS mm to scaled body mm: the patient lies turned, tilted and is larger or smaller."""
    turn, tilt = np.radians([t["turn_deg"], t["tilt_deg"]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    return np.diag([1 / t["width"], 1 / t["depth"], 1 / t["height"]]) @ about_x @ about_z


def _blocks(phantom: Phantom) -> list[Box]:
    """Index ranges of a few slices each, cropped to the body, so that memory stays small."""
    count, rows, columns = phantom.grid.shape
    whole = Space([np.broadcast_to(np.float32(0), phantom.grid.shape)], np.linalg.inv(_to_body(phantom)), _margin(phantom))
    inside = whole.box(*Body(phantom.traits).bounds)
    step = max(1, _BLOCK_VOXELS // (rows * columns))
    return [(slice(first, min(first + step, count)), *inside[1:]) for first in range(0, count, step)] if inside else []


def _to_body(phantom: Phantom) -> np.ndarray:
    """(4, 4) index to scaled body mm, without the bending."""
    affine = np.eye(4)
    affine[:3] = _pose(phantom.traits) @ phantom.grid.affine[:3]
    return affine


def _margin(phantom: Phantom) -> float:
    return phantom.traits["warp_mm"] * 1.5 + float(np.cbrt(np.prod(phantom.grid.spacing_mm)))


def _canvas(phantom: Phantom, where: Box) -> Canvas:
    """One block of the grid, to be painted."""
    slab = _to_body(phantom)
    slab[:3, 3] += slab[:3, 0] * where[0].start
    index = np.ogrid[0 : where[0].stop - where[0].start, where[1], where[2]]
    p = [sum(np.float32(slab[r, a]) * index[a].astype(np.float32) for a in range(3)) + np.float32(slab[r, 3])
         for r in range(3)]  # fmt: skip
    to_index = np.linalg.inv(slab)
    to_index[1:3, 3] -= where[1].start, where[2].start
    voxel = float(np.cbrt(np.prod(phantom.grid.spacing_mm)))
    return Canvas(_bend(p, phantom.traits, phantom.seed), to_index, _margin(phantom), voxel)


def _bend(p: list[np.ndarray], t: Mapping[str, float], seed: int) -> list[np.ndarray]:
    """Coordinates moved by a smooth field of at most about ``warp_mm`` mm: no two bodies alike, none symmetric."""
    rng = np.random.default_rng([seed, 7])
    bent = [axis.copy() for axis in p]
    for axis in bent:
        for share in (0.6, 0.4):
            waves = rng.normal(size=3)
            waves *= 2 * np.pi / rng.uniform(130, 300) / np.linalg.norm(waves)
            shift = rng.uniform(0, 2 * np.pi)
            phase = sum(np.float32(w) * a for w, a in zip(waves, p, strict=True)) + np.float32(shift)
            axis += np.float32(t["warp_mm"] * share) * np.sin(phase)
    return bent


def _add_surroundings(phantom: Phantom, hu: np.ndarray) -> None:
    """Table and blanket, in the air only, in place."""
    t, grid = phantom.traits, phantom.grid
    body = Body(t)
    level = body.level(-60)
    back = (level[4] + 3 + level[3] + t["fat_mm"] * 0.85) * t["depth"] + 5
    x, y = ((grid.affine[a, 0] * 0 + grid.affine[a, 3] + grid.affine[a, 1] * np.arange(grid.shape[1])[:, None]
             + grid.affine[a, 2] * np.arange(grid.shape[2])) for a in (0, 1))  # fmt: skip
    voxel = max(grid.spacing_mm[1:])
    extra = np.full(x.shape, -1000.0)
    if t["table"]:
        bow = np.hypot(x, y - back + 560) - 560
        for depth, thick, density in ((t["table_mm"] / 2, t["table_mm"] / 2, -930), (0, 1.5, -350), (t["table_mm"], 1.5, -350)):
            edge = np.maximum(np.abs(bow - depth) - thick, np.abs(x) - 215)
            extra = np.maximum(extra, -1000 + (density + 1000) * np.clip(0.5 - edge / voxel, 0, 1))
    if t["blanket"]:
        sheet = np.abs(np.hypot(x / 1.25, y + 15) - 150 - 9 * np.sin(x / 23)) - 1.2
        extra = np.maximum(extra, -1000 + 420 * np.clip(0.5 - sheet / voxel, 0, 1))
    extra = extra.astype(np.float32) + 1000
    for plane in hu if extra.any() else ():
        plane += extra * np.clip((-900 - plane) / 90, 0, 1) * _outside(plane)


def _outside(plane: np.ndarray) -> np.ndarray:
    """True where a slice's air is connected to its edge."""
    regions, _ = ndimage.label(np.pad(plane < -900, 1, constant_values=True))
    return regions[1:-1, 1:-1] == regions[0, 0]


def _scan(phantom: Phantom, hu: np.ndarray, labels: np.ndarray) -> None:
    """Point spread, texture, noise, field of view and the scanner's range, in place."""
    t, kernel = phantom.traits, phantom.kernel
    spacing = phantom.grid.spacing_mm
    rng = np.random.default_rng([phantom.seed, 11])
    blur = (t["slice_blur"] * t["slice_mm"] / spacing[0], kernel.blur_mm / spacing[1], kernel.blur_mm / spacing[2])
    _smooth(hu, blur)
    if kernel.sharpen:
        hu += np.float32(kernel.sharpen) * (hu - ndimage.gaussian_filter(hu, [0, 0.9, 0.9]))
    noise = rng.standard_normal(hu.shape, np.float32)
    _smooth(noise, (0.3, kernel.grain_mm / spacing[1], kernel.grain_mm / spacing[2]))
    coarse = rng.standard_normal(hu.shape, np.float32)
    _smooth(coarse, [1.6 / s for s in spacing])
    lung = (labels == LUNG) & (hu < -600)
    hu += noise * np.float32(t["noise_hu"] / noise.std())
    texture = coarse * np.float32(1 / coarse.std())
    if t["emphysema"]:
        texture -= np.float32(t["emphysema"] * 4) * np.maximum(texture - np.float32(0.6), 0)
    texture *= np.float32(t["texture_hu"])
    np.add(hu, texture, out=hu, where=lung)
    streaks = rng.standard_normal((hu.shape[0], hu.shape[1], 1), np.float32)
    hu += ndimage.gaussian_filter1d(streaks, 1.0, axis=1) * np.float32(t["streak_hu"])
    np.clip(hu, -1024, 3071, out=hu)
    if t["round_field"]:
        r, c = np.ogrid[-1:1:hu.shape[1] * 1j, -1:1:hu.shape[2] * 1j]
        outside = r * r + c * c > 1
        hu[:, outside] = phantom.scanner.padding_hu
        labels[:, outside] = 0


def _smooth(array: np.ndarray, sigmas: tuple[float, ...] | list[float]) -> None:
    """Gaussian of ``sigmas`` voxels, in place; a sigma too small to matter is left out."""
    for axis, sigma in enumerate(sigmas):
        if sigma > 0.2:
            ndimage.gaussian_filter1d(array, sigma, axis=axis, output=array, truncate=3.0, mode="nearest")


__all__ = ["STYLES", "TRUTH_LABELS", "Phantom", "PhantomStudy", "make", "make_objects", "random_phantom",
           "study_uid", "to_dicom"]  # fmt: skip
