"""Planes in their order along the normal, and the grid that they make; what does not fit is refused by name.

Corrections happen only on request: uneven spacing is interpolated, a tilted gantry's shear is undone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ailab_kernel.ground.errors import IrregularSlices, MixedSeries
from ailab_kernel.volumes.geometry import Grid

from .plane import Plane

# A slice may lie this far from its regular place: rounding of positions in the header, not a gap.
_TOLERANCE = 0.02
_TOLERANCE_MM = 0.05
_ANGLE = 1e-3
_DRIFT_PIXELS = 0.5


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes in order, and where they are.

    Attributes
    ----------
    planes
        From one end of the normal to the other.
    step
        Vector from one plane to the next, LPS mm; where ``depths`` are uneven, their median along the normal.
    depths
        Place of each plane along the normal, in steps from the first; None when they are 0, 1, 2, ...
    tilted
        Whether ``step`` is oblique to the planes, so that they make no right-angled grid.
    """

    planes: tuple[Plane, ...]
    step: np.ndarray
    depths: np.ndarray | None = None
    tilted: bool = False

    @property
    def grid(self) -> Grid:
        """The grid of the planes as they are."""
        first, affine = self.planes[0], np.eye(4)
        affine[:3, 0], affine[:3, 1], affine[:3, 2] = (
            self.step, first.down * first.spacing_mm[0], first.across * first.spacing_mm[1],
        )  # fmt: skip
        affine[:3, 3] = first.position
        return Grid((len(self.planes), *first.shape), affine)


def stacked(planes: Sequence[Plane], *, resample: bool = False, correct_tilt: bool = False) -> Stack:
    """Sort planes along their normal and check that they make a volume.

    Parameters
    ----------
    planes
        Of one series, in any order.
    resample
        Take uneven spacing, to be interpolated, and the distance of two slices of which no header says the thickness.
    correct_tilt
        Take a tilted gantry, to be sheared upright.

    Raises
    ------
    MixedSeries
        They differ in size, spacing, orientation or data type.
    IrregularSlices
        Two in one place, gaps or uneven spacing, a tilted gantry, a plane beside the others.
    """
    _check_alike(planes)
    normal = planes[0].normal
    where = np.array([plane.position for plane in planes])
    order = np.argsort(where @ normal, kind="stable")
    ordered, positions = tuple(planes[n] for n in order), where[order]
    if len(planes) == 1:
        return Stack(ordered, normal * planes[0].spacing_between())
    depths = positions @ normal
    steps = np.diff(depths)
    if steps.min() < _TOLERANCE_MM:
        msg = (f"{int((steps < _TOLERANCE_MM).sum())} slices lie where another one is; remove duplicates, or read the "
               "phases apart")  # fmt: skip
        raise IrregularSlices(msg)
    if len(planes) == 2 and not planes[0].told_mm and not resample:
        msg = ("2 slices without a thickness: whether slices are missing between them cannot be told; ask the archive "
               "for all of them, or read with resample=True to take their distance as it is")  # fmt: skip
        raise IrregularSlices(msg)
    usual = float(np.median(steps))
    if np.abs(steps - usual).max() > max(_TOLERANCE_MM, _TOLERANCE * usual):
        if not resample:
            msg = (f"slice spacing varies from {steps.min():.3f} to {steps.max():.3f} mm (missing slices?); ask the "
                   "archive for all of them, or read with resample=True")  # fmt: skip
            raise IrregularSlices(msg)
        _straight(positions, depths, ordered[0], tilt=False)
        return Stack(ordered, normal * usual, (depths - depths[0]) / usual)
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    tilted = _straight(positions, np.arange(len(positions)), ordered[0], tilt=correct_tilt)
    return Stack(ordered, step, tilted=tilted)


def _check_alike(planes: Sequence[Plane]) -> None:
    facts: dict[str, list[object]] = {
        "Rows and Columns": [plane.shape for plane in planes],
        "BitsAllocated or PixelRepresentation": [plane.dtype for plane in planes],
    }
    for what, found in facts.items():
        if len(set(found)) > 1:
            msg = f"instances differ in {what}; read its parts apart"
            raise MixedSeries(msg)
    directions = np.array([[*plane.across, *plane.down] for plane in planes])
    for keyword, values, tolerance in (
        ("PixelSpacing", np.array([plane.spacing_mm for plane in planes]), 1e-4),
        ("ImageOrientationPatient", directions, _ANGLE),
    ):
        if np.ptp(values, axis=0).max() > tolerance:
            msg = f"instances differ in {keyword} (a localizer among them?); read its parts apart"
            raise MixedSeries(msg)


def _straight(positions: np.ndarray, depths: np.ndarray, first: Plane, *, tilt: bool) -> bool:
    """Check that positions lie on one line, and say whether that line is tilted against the planes."""
    normal = first.normal
    share = (depths - depths[0]) / (depths[-1] - depths[0])
    line = positions[-1] - positions[0]
    astray = np.linalg.norm(positions - positions[0] - share[:, None] * line, axis=1)
    step_mm = float(np.linalg.norm(line)) / (len(positions) - 1)
    aside = float(np.linalg.norm(line - (line @ normal) * normal))
    # Over the whole stack: a little at each slice is much at the last.
    tilted = aside > _DRIFT_PIXELS * min(first.spacing_mm)
    if tilted and not tilt:
        angle = np.degrees(np.arctan2(aside, line @ normal))
        msg = f"the gantry was tilted by {angle:.1f} degrees; read with correct_tilt=True to have it sheared upright"
        raise IrregularSlices(msg)
    if astray.max() > max(_TOLERANCE_MM, _TOLERANCE * step_mm):
        msg = (f"slice {int(astray.argmax()) + 1} lies {astray.max():.3f} mm beside the line of the others (the table "
               "moved?); ask the archive for the original series")  # fmt: skip
        raise IrregularSlices(msg)
    return tilted
