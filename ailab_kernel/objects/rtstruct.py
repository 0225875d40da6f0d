"""RT Structure Set (PS3.3 A.19) in: contours of a planning system become masks on the source's grid.

A voxel belongs to a structure when its centre lies inside an odd number of the structure's contours on that slice
(even-odd rule): a contour within a contour is a hole, a keyhole is one too, as CLOSEDPLANAR_XOR demands and planning
systems mean by CLOSED_PLANAR (PS3.3 C.8.8.6.3). A centre exactly on an edge belongs to the side of growing row or
column index, so that two structures with a common edge share no voxel and leave none out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydicom import Dataset

from ailab_kernel.dicom.codes import ANATOMICAL_STRUCTURE, Code
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label
from ailab_kernel.volumes.volume import Volume

Between = Literal["refuse", "nearest"]
Beyond = Literal["refuse", "cut"]

_AREAS = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
# Contour points may lie this far from their slice, in slices: rounding of coordinates.
_OFF_SLICE = 0.1
# Indices are rounded to this many digits, so that a contour through voxel centres runs through them exactly.
_DIGITS = 6
_FARTHEST = 1e9
_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Structures(Mapping[Label, np.ndarray]):
    """The structures of an RT Structure Set by label, each drawn when it is asked for; `write_seg` takes them so.

    Errors call a structure by its number in the set: its name is free text, and may be a patient's.

    Attributes
    ----------
    grid
        Where they are drawn: boolean arrays of its shape (slices, rows, columns).
    without_area
        Structures of points and open lines, which no mask holds.
    """

    grid: Grid
    without_area: tuple[Label, ...]
    contours: Mapping[Label, tuple[np.ndarray, ...]] = field(repr=False)
    between: Between = "refuse"
    beyond: Beyond = "refuse"

    def __len__(self) -> int:
        return len(self.contours)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.contours)

    def __getitem__(self, label: Label) -> np.ndarray:
        array = np.zeros(self.grid.shape, bool)
        for k, polygons in self._slices(label, self.contours[label]).items():
            array[k] = inside(polygons, self.grid.shape[1:])
        return array

    def _slices(self, label: Label, contours: tuple[np.ndarray, ...]) -> dict[int, list[np.ndarray]]:
        """The polygons, shape (points, 2) of row and column index, of each slice."""
        planes: dict[float, list[np.ndarray]] = {}
        plane = -np.inf
        for contour in sorted(contours, key=lambda contour: float(contour[:, 0].mean())):
            along = contour[:, 0]
            if np.ptp(along) > 2 * _OFF_SLICE:
                msg = (f"structure {label.index}: a contour is not parallel to the slices (it spans "
                       f"{np.ptp(along):.1f} of them); give the volume that it was drawn on")  # fmt: skip
                raise ObjectError(msg)
            plane = plane if along.mean() - plane < _OFF_SLICE else float(along.mean())
            planes.setdefault(plane, []).append(contour[:, 1:])
        self._check_beyond(label, planes)
        return self._nearest(planes) if self.between == "nearest" else self._exact(label, planes)

    def _check_beyond(self, label: Label, planes: dict[float, list[np.ndarray]]) -> None:
        if self.beyond == "refuse" and any(self._leaves(plane, polygons) for plane, polygons in planes.items()):
            msg = (f"structure {label.index} reaches beyond this volume; give the whole series that it was drawn on, "
                   "or beyond='cut'")  # fmt: skip
            raise ObjectError(msg)

    def _leaves(self, plane: float, polygons: list[np.ndarray]) -> bool:
        points = np.concatenate(polygons)
        index = np.column_stack([np.full(len(points), plane), points])
        middle = (np.array(self.grid.shape) - 1) / 2
        return bool((np.abs(index - middle) > middle + 0.5 + _OFF_SLICE).any())

    def _exact(self, label: Label, planes: dict[float, list[np.ndarray]]) -> dict[int, list[np.ndarray]]:
        if off := sorted(plane for plane in planes if abs(plane - round(plane)) > _OFF_SLICE):
            msg = (f"structure {label.index}: {len(off)} contour planes lie between the slices, the first at slice "
                   f"{off[0]:.1f}; give the volume they were drawn on, or between='nearest'")  # fmt: skip
            raise ObjectError(msg)
        found: dict[int, list[np.ndarray]] = {}
        for plane, polygons in planes.items():
            found.setdefault(round(plane), []).extend(polygons)
        return {k: polygons for k, polygons in found.items() if 0 <= k < self.grid.shape[0]}

    def _nearest(self, planes: dict[float, list[np.ndarray]]) -> dict[int, list[np.ndarray]]:
        """Each slice takes the plane nearest to it, from as far as the planes' own thickness reaches."""
        at = np.array(sorted(planes))
        reach = max(0.5, float(np.diff(at).min(initial=np.inf)) / 2 if len(at) > 1 else 0.5)
        near = [(k, int(np.abs(at - k).argmin())) for k in range(self.grid.shape[0])]
        return {k: planes[float(at[n])] for k, n in near if abs(float(at[n]) - k) <= reach}


def read_rtstruct(
    ds: Dataset, place: Grid | Volume, *, between: Between = "refuse", beyond: Beyond = "refuse"
) -> Structures:
    """Return the structures of an RT Structure Set as masks on a grid; they may overlap.

    Contours are matched to slices by geometry, in any orientation of the series.

    Parameters
    ----------
    ds
        An RT Structure Set by any tool.
    place
        The source volume, whose frame of reference is then compared too, or only its grid.
    between
        ``nearest`` draws contours that lie between the slices on the slices nearest to them.
    beyond
        ``cut`` leaves out what lies beyond the grid.

    Raises
    ------
    ObjectError
        Not an RT Structure Set, or another scan's; when a structure is asked for, contours that do not lie on the
        grid's slices or reach beyond them.
    DicomError
        A malformed object.
    """
    grid = place if isinstance(place, Grid) else place.grid
    if ds.get("Modality") != "RTSTRUCT" or "StructureSetROISequence" not in ds:
        msg = "not an RT Structure Set; give an RTSTRUCT object"
        raise ObjectError(msg)
    with guarded("RTSTRUCT"):
        if isinstance(place, Volume):
            _check_frame(ds, place)
        to_grid = np.linalg.inv(grid.affine)
        drawn = {int(item.ReferencedROINumber): item for item in ds.get("ROIContourSequence") or ()}
        observed = {int(item.ReferencedROINumber): item for item in ds.get("RTROIObservationsSequence") or ()}
        contours, empty = {}, []
        for index, roi in enumerate(ds.StructureSetROISequence, 1):
            number = int(roi.ROINumber)
            label = _label(index, roi, drawn.get(number, Dataset()), observed.get(number, Dataset()))
            if found := tuple(_contours(drawn.get(number, Dataset()), to_grid)):
                contours[label] = found
            else:
                empty.append(label)
        return Structures(grid, tuple(empty), contours, between, beyond)


def _check_frame(ds: Dataset, vol: Volume) -> None:
    theirs = {str(roi.get("ReferencedFrameOfReferenceUID", "")) for roi in ds.StructureSetROISequence} - {""}
    ours = vol.frame_of_reference_uid
    if theirs and ours and ours not in theirs and vol.facts.get("uids") != "derived":
        msg = (f"the structures lie in frame of reference {min(theirs)}, their volume in {ours}; "
               "pass the volume's grid to overrule")  # fmt: skip
        raise ObjectError(msg)


def _contours(item: Dataset, to_grid: np.ndarray) -> Iterator[np.ndarray]:
    """Closed contours as grid indices, shape (points, 3) of slice, row and column."""
    for contour in item.get("ContourSequence") or ():
        if contour.get("ContourGeometricType") in _AREAS:
            points = np.array([float(v) for v in contour.ContourData])
            told = int(contour.get("NumberOfContourPoints") or len(points) // 3)
            if len(points) != 3 * told or not np.isfinite(points).all():
                msg = f"a contour says {told} points and holds {len(points)} coordinates; export the structures again"
                raise ObjectError(msg)
            index = points.reshape(-1, 3) @ to_grid[:3, :3].T + to_grid[:3, 3]
            if told and np.abs(index).max() > _FARTHEST:
                msg = "a contour lies outside of everything; export the structures again"
                raise ObjectError(msg)
            if told > 2:
                yield np.round(index, _DIGITS)


def _label(index: int, roi: Dataset, drawn: Dataset, observed: Dataset) -> Label:
    name = "-".join(str(roi.get("ROIName", "") or f"structure {roi.ROINumber}").lower().split())
    identified = observed.get("RTROIIdentificationCodeSequence")
    code = Code("0", "99AILAB", name)
    if identified:
        code = Code(*(str(identified[0].get(k, "")) for k in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")))
    color = [int(v) for v in drawn.get("ROIDisplayColor") or ()]
    if len(color) != 3:
        return Label(index, name, code, ANATOMICAL_STRUCTURE)
    return Label(index, name, code, ANATOMICAL_STRUCTURE, (color[0], color[1], color[2]))


def inside(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Voxel centres inside an odd number of polygons, bool, of ``shape`` (rows, columns).

    Every edge that crosses the line of a row's centres turns over all of the row to its right; what is turned over an
    odd number of times is inside.

    Parameters
    ----------
    polygons
        Row and column index of each corner, shape (points, 2); the last corner joins the first.
    shape
        (rows, columns) of the slice.
    """
    rows, columns = shape
    turns = np.zeros(rows * (columns + 1), np.int64)
    start = np.concatenate(polygons)
    end = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    # From the upper end downwards: an edge drawn back and forth, as in a keyhole, crosses at the same point twice.
    down = (start[:, 0] <= end[:, 0])[:, None]
    upper, lower = np.where(down, start, end), np.where(down, end, start)
    first = np.clip(np.ceil(upper[:, 0]), 0, rows).astype(np.int64)
    count = np.clip(np.ceil(lower[:, 0]), 0, rows).astype(np.int64) - first
    for part in np.array_split(np.arange(len(count)), int(count.sum()) // _AT_ONCE + 1):
        edge = np.repeat(part, count[part])
        row = np.arange(len(edge)) - np.repeat(np.cumsum(count[part]) - count[part], count[part]) + first[edge]
        share = (row - upper[edge, 0]) / (lower[edge, 0] - upper[edge, 0])
        crossing = upper[edge, 1] + share * (lower[edge, 1] - upper[edge, 1])
        column = np.clip(np.ceil(np.round(crossing, _DIGITS)), 0, columns).astype(np.int64)
        turns += np.bincount(row * (columns + 1) + column, minlength=len(turns))
    return (np.cumsum(turns.reshape(rows, columns + 1), axis=1)[:, :columns] % 2).astype(bool)
