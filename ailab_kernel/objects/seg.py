"""DICOM Segmentation (PS3.3 A.51) out, by highdicom, and in, from any tool."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset

from ailab_kernel.dicom.codes import ANATOMICAL_STRUCTURE, Code
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.volume import Volume

from .provenance import LONG_STRING, MANUFACTURER, Provenance, settle
from .source import source_images

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

_SERIES_NUMBER = 9000
_OFF_GRID = 0.1
_LARGEST = 255
_INFERENCE = Code("123109", "DCM", "Artificial Intelligence")


def write_seg(mask: Mask, vol: Volume, provenance: Provenance, *, labelmap: bool = False) -> Dataset:
    """Write a mask as a SEG that refers to every source image.

    A label that is nowhere in the mask is a segment without a frame; a mask without any voxel keeps its empty frames,
    so that "nothing found" is a result.

    Parameters
    ----------
    mask
        On the grid of ``vol``.
    vol
        The source series, with its headers.
    provenance
        Algorithm, origin and time; equal provenance and mask give equal bytes.
    labelmap
        LABELMAP instead of BINARY: smaller, for receivers that know it.

    Raises
    ------
    ObjectError
        The volume did not come from DICOM, or the mask lies on another grid or holds values without a label.
    DicomError
        Source headers that cannot be carried over.
    """
    from highdicom.seg import Segmentation

    _check(mask, vol)
    uid = provenance.uid("labelmap" if labelmap else "seg")
    with guarded(f"headers of series {vol.series_uid}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom comments on headers of other makers; they are kept as they are
        seg = Segmentation(
            source_images=source_images(vol), pixel_array=_values(mask),
            segmentation_type="LABELMAP" if labelmap else "BINARY",
            segment_descriptions=[_description(n, label, provenance) for n, label in enumerate(mask.labels, 1)],
            series_instance_uid=provenance.uid("seg series"), series_number=_SERIES_NUMBER,
            sop_instance_uid=uid, instance_number=1, manufacturer=MANUFACTURER,
            manufacturer_model_name=provenance.model, software_versions=provenance.release,
            device_serial_number=provenance.model_digest[:16] or "none", content_label="AILAB",
            content_description=provenance.series_description[:LONG_STRING] or None,
            omit_empty_frames=bool(mask.counts[1:].any()),
            dimension_organization_type=None,
        )  # fmt: skip
    _fix_uids(seg, provenance)
    return settle(seg, provenance, sop_uid=uid)


def _check(mask: Mask, vol: Volume) -> None:
    if not vol.headers:
        msg = "a SEG refers to DICOM images, and this volume has none (NIfTI input?); write labels.nii.gz instead"
        raise ObjectError(msg)
    if not mask.grid.matches(vol.grid):
        msg = f"the mask's grid {mask.grid.shape} is not its volume's {vol.grid.shape}; resample it first"
        raise ObjectError(msg)
    if unnamed := set(np.flatnonzero(mask.counts)) - {0, *(label.index for label in mask.labels)}:
        msg = f"the mask holds the values {sorted(map(int, unnamed))} without a label; give each value its label"
        raise ObjectError(msg)
    if not mask.labels:
        msg = "a SEG needs a segment, and the mask has no labels; give it those that were looked for"
        raise ObjectError(msg)


def _values(mask: Mask) -> np.ndarray:
    """Segment numbers 1, 2, ... in the order of the labels."""
    numbers = np.zeros(256, np.uint8)
    for number, label in enumerate(mask.labels, 1):
        numbers[label.index] = number
    return numbers[mask.array]


def _description(number: int, label: Label, provenance: Provenance) -> "SegmentDescription":
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    algorithm = None
    if provenance.kind != "MANUAL":
        algorithm = AlgorithmIdentificationSequence(provenance.model, coded(_INFERENCE), provenance.release)
    return SegmentDescription(
        segment_number=number, segment_label=label.name[:LONG_STRING],
        segmented_property_category=coded(label.category), segmented_property_type=coded(label.code),
        algorithm_type=provenance.kind, algorithm_identification=algorithm,
        tracking_uid=provenance.uid(f"tracking {label.name}"), tracking_id=label.name,
        display_color=CIELabColor.from_rgb(*label.color),
    )  # fmt: skip


def coded(code: Code) -> "CodedConcept":
    """Return the code as highdicom's coded concept."""
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def _fix_uids(seg: Dataset, provenance: Provenance) -> None:
    """Dimension organization UIDs are drawn at random by the library; ours follow from the content."""
    uid = provenance.uid("dimensions")
    for item in seg.DimensionOrganizationSequence:
        item.DimensionOrganizationUID = uid
    for item in seg.DimensionIndexSequence:
        item.DimensionOrganizationUID = uid


def read_seg(ds: Dataset, place: Grid | Volume) -> Mask:
    """Return a SEG's segments as one label map on a grid, padded back to it.

    Parameters
    ----------
    ds
        A SEG by any tool.
    place
        The source volume, whose frame of reference is then compared too, or only its grid.

    Raises
    ------
    ObjectError
        Not a SEG, another patient's or scan's, frames that do not lie on the grid, or segments that overlap
        (`read_segments` keeps them apart).
    DicomError
        A malformed SEG.
    """
    grid = place if isinstance(place, Grid) else place.grid
    if isinstance(place, Volume):
        _check_frame(ds, place)
    array, labels = np.zeros(grid.shape, np.uint8), []
    for label, where in read_segments(ds, grid).items():
        if label.index > _LARGEST:
            msg = f"segment number {label.index} does not fit a label map of {_LARGEST}; read the segments apart"
            raise ObjectError(msg)
        if (array[where] > 0).any():
            msg = f"segments overlap ({label.name} and another): one label map cannot hold them; read them apart"
            raise ObjectError(msg)
        array[where] = label.index
        labels.append(label)
    return Mask(array, grid, tuple(labels))


def _check_frame(ds: Dataset, vol: Volume) -> None:
    """Equal grids of two patients must not be taken for one; UIDs that we derived say nothing about it."""
    theirs, ours = str(ds.get("FrameOfReferenceUID", "")), vol.frame_of_reference_uid
    if theirs and ours and theirs != ours and vol.facts.get("uids") != "derived":
        msg = f"the SEG lies in frame of reference {theirs}, its volume in {ours}; pass the volume's grid to overrule"
        raise ObjectError(msg)


def read_segments(ds: Dataset, grid: Grid) -> Mapping[Label, np.ndarray]:
    """Return each segment as a boolean array on a grid, shape (slices, rows, columns); segments may overlap.

    The frames may come in any order and orientation, as long as they lie on the grid's voxels.
    """
    if ds.get("Modality") != "SEG" or "SegmentSequence" not in ds:
        msg = "not a DICOM Segmentation; give a SEG object"
        raise ObjectError(msg)
    with guarded("SEG"):
        return _read_segments(ds, grid)


def _read_segments(ds: Dataset, grid: Grid) -> Mapping[Label, np.ndarray]:
    background = _background(ds)
    labels = {int(item.SegmentNumber): _label(item) for item in ds.SegmentSequence
              if int(item.SegmentNumber) not in background}  # fmt: skip
    found = {label: np.zeros(grid.shape, bool) for label in labels.values()}
    frames = _frames(ds)
    to_grid = np.linalg.inv(grid.affine)
    for number, frame in enumerate(frames):
        if frame.any():
            index = _index(to_grid @ _frame_affine(ds, number), frame, grid)
            for segment, where in _segments(ds, number, frame, background):
                rows = index[:, where[frame > 0] if where is not None else slice(None)]
                found[labels[segment]][tuple(rows)] = True
    return found


def _background(ds: Dataset) -> set[int]:
    """Values that mark nothing: a label map may describe and choose its background (PS3.3 C.8.20.2)."""
    return {0, int(ds.get("PixelPaddingValue") or 0)}


def _segments(
    ds: Dataset, number: int, frame: np.ndarray, background: set[int]
) -> "list[tuple[int, np.ndarray | None]]":
    """Segments in a frame and, for a label map, where each is."""
    if ds.SegmentationType == "LABELMAP":
        return [(int(value), frame == value) for value in np.unique(frame) if value not in background]
    groups = ds.PerFrameFunctionalGroupsSequence[number], ds.SharedFunctionalGroupsSequence[0]
    item = next(group.SegmentIdentificationSequence[0] for group in groups if "SegmentIdentificationSequence" in group)
    return [(int(item.ReferencedSegmentNumber), None)]


def _frames(ds: Dataset) -> np.ndarray:
    from pydicom.pixels import unpack_bits

    shape = int(ds.NumberOfFrames), int(ds.Rows), int(ds.Columns)
    if ds.BitsAllocated == 1 and not ds.file_meta.TransferSyntaxUID.is_compressed:
        return np.asarray(unpack_bits(ds.PixelData))[: int(np.prod(shape))].reshape(shape)
    frames = ds.pixel_array.reshape(shape)
    if ds.SegmentationType == "FRACTIONAL":
        return (2 * frames.astype(np.uint32) >= int(ds.MaximumFractionalValue)).astype(np.uint8)
    return frames


def _frame_affine(ds: Dataset, number: int) -> np.ndarray:
    """(4, 3): row index, column index and 1 to LPS mm of one frame."""
    groups = ds.PerFrameFunctionalGroupsSequence[number], ds.SharedFunctionalGroupsSequence[0]
    position = _macro(groups, "PlanePositionSequence").ImagePositionPatient
    orientation = _macro(groups, "PlaneOrientationSequence").ImageOrientationPatient
    between_rows, between_columns = (float(v) for v in _macro(groups, "PixelMeasuresSequence").PixelSpacing)
    along_row, along_column = np.array([float(v) for v in orientation]).reshape(2, 3)
    affine = np.zeros((4, 3))
    affine[:3, 0], affine[:3, 1] = along_column * between_rows, along_row * between_columns
    affine[:3, 2], affine[3, 2] = [float(v) for v in position], 1.0
    return affine


def _macro(groups: tuple[Dataset, Dataset], keyword: str) -> Dataset:
    found = next((group[keyword].value[0] for group in groups if keyword in group), None)
    if found is None:
        msg = f"the SEG has no {keyword}: its frames have no place; export it again with functional groups"
        raise ObjectError(msg)
    return found


def _index(frame_to_grid: np.ndarray, frame: np.ndarray, grid: Grid) -> np.ndarray:
    """(3, n): grid index of every marked pixel of a frame."""
    rows, columns = np.nonzero(frame)
    exact = (frame_to_grid @ np.vstack([rows, columns, np.ones(len(rows))]))[:3]
    index = np.rint(exact).astype(int)
    if np.abs(exact - index).max() > _OFF_GRID:
        msg = "the SEG's frames lie between the voxels of this grid; it was drawn on another series, resample it"
        raise ObjectError(msg)
    if (index < 0).any() or (index >= np.array(grid.shape)[:, None]).any():
        msg = "the SEG reaches beyond this grid; it was drawn on another series"
        raise ObjectError(msg)
    return index


def _label(item: Dataset) -> Label:
    def _code(sequence: str, default: Code) -> Code:
        found = item.get(sequence)
        if not found:
            return default
        one = found[0]
        value = one.get("CodeValue") or one.get("LongCodeValue") or one.get("URNCodeValue") or ""
        return Code(str(value), str(one.get("CodingSchemeDesignator", "")), str(one.get("CodeMeaning", "")))

    name = "-".join(str(item.get("SegmentLabel", "") or f"segment {item.SegmentNumber}").lower().split())
    unknown = Code("0", "99AILAB", name)
    return Label(int(item.SegmentNumber), name, _code("SegmentedPropertyTypeCodeSequence", unknown),
                 _code("SegmentedPropertyCategoryCodeSequence", ANATOMICAL_STRUCTURE))  # fmt: skip
