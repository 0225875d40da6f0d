"""From slices to a volume: grouped, sorted and checked by geometry; what does not fit is refused by name.

Positions and orientations are those of PS3.3 C.7.6.2: ImagePositionPatient (0020,0032) is the centre of the first
pixel, ImageOrientationPatient (0020,0037) gives the direction in which the column index grows, then the row index.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset

from ailab_kernel.dicom.codecs import decode_into, stored_dtype
from ailab_kernel.dicom.parsing import guarded, read_dataset
from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.ground.errors import AilabError, DicomError, IrregularSlices, MixedSeries, VolumeError
from ailab_kernel.ground.ids import sha256, sha256_file

from .geometry import Grid
from .volume import Volume

_FACTS = ("Modality", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "SliceThickness", "KVP",
          "ConvolutionKernel", "PatientSex", "PatientAge", "BodyPartExamined")  # fmt: skip
_NEEDED = ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "BitsAllocated",
           "PixelRepresentation")
_SAME = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Rows", "Columns", "BitsAllocated",
         "PixelRepresentation")  # fmt: skip
_NOT_IMAGES = frozenset({"SEG", "SR", "PR", "KO", "DOC", "REG", "FID", "ANN", "PLAN", "M3D",
                         "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD"})  # fmt: skip
_DICOMDIR = "1.2.840.10008.1.3.10"
_PLACES = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")
# A slice may lie this far from its regular place: rounding of positions in the header, not a gap.
_TOLERANCE = 0.02
_TOLERANCE_MM = 0.05
_ANGLE = 1e-3
_DRIFT_PIXELS = 0.5
_RESCALE_LIMIT = 1e9


@dataclass(frozen=True)
class Refused:
    """What was set aside, by UID or number and never by name, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Found:
    """Volumes of a folder, and what was set aside."""

    volumes: tuple[Volume, ...]
    refused: tuple[Refused, ...]


def volume_from_datasets(datasets: Iterable[Dataset]) -> Volume:
    """Return the volume of one series of single-frame images.

    Parameters
    ----------
    datasets
        Instances in any order, with pixel data.

    Raises
    ------
    MixedSeries
        More than one series, orientation, size, spacing or frame of reference.
    IrregularSlices
        Duplicate positions, gaps, uneven spacing or gantry tilt.
    VolumeError
        No instances, or one without the attributes that place it.
    DicomError
        Attributes or pixel data that cannot be read.
    """
    slices = list(datasets)
    with guarded(f"series {_uid(slices[0])}" if slices else "series"):
        return _volume(slices)


def _volume(slices: list[Dataset]) -> Volume:
    _check_needed(slices)
    _check_uniform(slices)
    axes = _axes(slices[0])
    slices.sort(key=lambda ds: float(axes[2] @ _position(ds)))
    step = _step(slices, axes)
    grid = _grid(slices, axes, step)
    array = np.empty(grid.shape, stored_dtype(slices[0]))
    for ds, plane in zip(slices, array, strict=True):
        decode_into(ds, plane)
    first = slices[0]
    return Volume(
        array, grid, slope=_rescale(slices, "RescaleSlope", 1.0), intercept=_rescale(slices, "RescaleIntercept", 0.0),
        study_uid=str(first.get("StudyInstanceUID", "")), series_uid=str(first.get("SeriesInstanceUID", "")),
        frame_of_reference_uid=str(first.get("FrameOfReferenceUID", "")),
        instance_uids=tuple(str(ds.get("SOPInstanceUID", "")) for ds in slices),
        headers=tuple(_header(ds) for ds in slices), facts=_facts(first),
    )  # fmt: skip


def volumes_from_folder(folder: Path) -> Found:
    """Return every volume below a folder; files and series that do not make one are set aside with the reason.

    Data whose UIDs were emptied by a de-identifier get UIDs derived from their content (``facts["uids"]``).
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    series: dict[tuple[str, ...], list[Dataset]] = {}
    refused: list[Refused] = []
    for number, path in enumerate(files, 1):
        try:
            ds = _image(path)
        except DicomError as error:
            refused.append(Refused(f"file {number} of {len(files)}{_digest(path)}", str(error)))
            continue
        if ds is not None:
            series.setdefault(_series_key(ds, path.parent), []).append(ds)
    volumes: list[Volume] = []
    for members in series.values():
        named = _named(members)
        try:
            volumes.append(volume_from_datasets(named))
        except AilabError as error:
            refused.append(Refused(f"series {named[0].SeriesInstanceUID}", str(error)))
    return Found(tuple(volumes), tuple(refused))


def _image(path: Path) -> Dataset | None:
    """The image in a file, or None for what is written about images (SEG, SR, plans, a DICOMDIR)."""
    ds = read_dataset(path)
    kind = str(ds.file_meta.get("MediaStorageSOPClassUID", ""))
    if kind == _DICOMDIR or str(ds.get("Modality", "")) in _NOT_IMAGES:
        return None
    if "PixelData" not in ds:  # cut off, maybe: the series would silently be shorter
        msg = f"no pixel data in an object of class {ds.get('SOPClassUID', 'unknown')}; send it again from its source"
        raise DicomError(msg)
    return ds


def _digest(path: Path) -> str:
    """The file's digest, since its name may be a patient's."""
    try:
        return f" (sha256 {sha256_file(path)[:8]})"
    except OSError:
        return ""


def _series_key(ds: Dataset, folder: Path) -> tuple[str, ...]:
    uid = str(ds.get("SeriesInstanceUID", "") or "")
    return (uid,) if uid else ("", str(folder), str(ds.get("FrameOfReferenceUID", "")), str(ds.get("SeriesNumber", "")))


def _named(members: Sequence[Dataset]) -> list[Dataset]:
    """Give instances without UIDs ones that follow from their pixels and positions."""
    if all(ds.get(keyword) for ds in members for keyword in _UIDS):
        return list(members)
    content = [sha256(bytes(ds.PixelData) + str(ds.get("ImagePositionPatient")).encode()) for ds in members]
    whole = sha256("".join(sorted(content)).encode())
    for ds, own in zip(members, content, strict=True):
        ds.SOPInstanceUID = ds.get("SOPInstanceUID") or derived_uid(own, "instance")
        ds.SeriesInstanceUID = ds.get("SeriesInstanceUID") or derived_uid(whole, "series")
        ds.StudyInstanceUID = ds.get("StudyInstanceUID") or derived_uid(whole, "study")
        ds.FrameOfReferenceUID = ds.get("FrameOfReferenceUID") or derived_uid(whole, "frame")
        ds.ailab_derived = True
    return list(members)


def _check_needed(slices: Sequence[Dataset]) -> None:
    if not slices:
        msg = "no instances: a series of at least one image is expected"
        raise VolumeError(msg)
    for ds in slices:
        if fault := _fault(ds):
            msg = f"series {_uid(ds)}: {fault}"
            raise VolumeError(msg)


def _fault(ds: Dataset) -> str:
    """Why an instance is no slice of a volume; empty when it is one."""
    missing = [keyword for keyword in _NEEDED if ds.get(keyword) in (None, "")]
    if int(ds.get("NumberOfFrames", 1) or 1) > 1:
        return "an instance is multi-frame; single-frame images are read today, export it as such"
    if "MOSAIC" in (ds.get("ImageType") or ()):
        return "an instance is a mosaic of slices; single-frame images are read today, export it as such"
    if missing:
        return f"an instance lacks {', '.join(missing)}, without which it has no place"
    if int(ds.get("SamplesPerPixel", 1) or 1) != 1:
        return "an instance is in color; a volume has one value a voxel, choose the original series"
    placed = [float(v) for keyword in _PLACES for v in ds.get(keyword)]
    if len(placed) != 11 or not np.isfinite(placed).all() or min(placed[:2]) <= 0:
        return "the spacing, position or orientation of an instance is no place in a patient; send it again"
    return ""


def _check_uniform(slices: Sequence[Dataset]) -> None:
    first = slices[0]
    for keyword in _SAME:
        if len({str(ds.get(keyword, "")) for ds in slices}) > 1:
            msg = f"series {_uid(first)}: instances differ in {keyword}; split them into series that agree"
            raise MixedSeries(msg)
    uids = [ds.SOPInstanceUID for ds in slices if ds.get("SOPInstanceUID")]
    if len(set(uids)) < len(uids):
        msg = f"series {_uid(first)}: instances share a SOPInstanceUID (duplicates); keep one of each"
        raise IrregularSlices(msg)
    for keyword, tolerance in (("PixelSpacing", 1e-4), ("ImageOrientationPatient", _ANGLE)):
        values = np.array([[float(v) for v in ds.get(keyword)] for ds in slices])
        if np.ptp(values, axis=0).max() > tolerance:
            msg = f"series {_uid(first)}: instances differ in {keyword} (a localizer among them?); split them"
            raise MixedSeries(msg)


def _axes(ds: Dataset) -> np.ndarray:
    """(3, 3): direction of growing column index, of growing row index, and their normal, LPS unit vectors."""
    along = np.array([float(v) for v in ds.ImageOrientationPatient]).reshape(2, 3)
    lengths = np.linalg.norm(along, axis=1)
    if np.abs(lengths - 1).max() > _ANGLE or abs(along[0] @ along[1]) > _ANGLE:
        msg = f"series {_uid(ds)}: ImageOrientationPatient is no pair of perpendicular unit vectors"
        raise VolumeError(msg)
    along = along / lengths[:, None]
    return np.vstack([along, np.cross(along[0], along[1])])


def _step(slices: Sequence[Dataset], axes: np.ndarray) -> np.ndarray:
    """Vector from one slice to the next, LPS mm; checked to be the same all along."""
    first = slices[0]
    if len(slices) == 1:
        thickness = float(first.get("SpacingBetweenSlices", 0) or first.get("SliceThickness", 0) or 1.0)
        return axes[2] * abs(thickness)
    positions = np.array([_position(ds) for ds in slices])
    along = positions @ axes[2]
    steps = np.diff(along)
    usual = float(np.median(steps))
    if steps.min() < _TOLERANCE_MM:
        count = int((steps < _TOLERANCE_MM).sum())
        msg = f"series {_uid(first)}: {count} slices lie where another one is; remove duplicates or split phases"
        raise IrregularSlices(msg)
    if np.abs(steps - usual).max() > max(_TOLERANCE_MM, _TOLERANCE * usual):
        msg = (f"series {_uid(first)}: slice spacing varies from {steps.min():.3f} to {steps.max():.3f} mm "
               "(missing slices?); ask the archive for all of them")  # fmt: skip
        raise IrregularSlices(msg)
    return _straight(positions, axes, first)


def _straight(positions: np.ndarray, axes: np.ndarray, first: Dataset) -> np.ndarray:
    """Vector between neighbours when all positions lie on one line along the normal."""
    vector = (positions[-1] - positions[0]) / (len(positions) - 1)
    aside = float(np.linalg.norm(vector - (vector @ axes[2]) * axes[2]))
    # Over the whole stack: a little at each slice is much at the last.
    if aside * (len(positions) - 1) > _DRIFT_PIXELS * min(float(v) for v in first.PixelSpacing):
        angle = np.degrees(np.arctan2(aside, vector @ axes[2]))
        msg = f"series {_uid(first)}: the gantry was tilted by {angle:.1f} degrees; have it corrected first"
        raise IrregularSlices(msg)
    astray = np.linalg.norm(positions - positions[0] - np.arange(len(positions))[:, None] * vector, axis=1)
    if astray.max() > max(_TOLERANCE_MM, _TOLERANCE * float(np.linalg.norm(vector))):
        msg = (f"series {_uid(first)}: slice {int(astray.argmax()) + 1} lies {astray.max():.3f} mm beside the line of "
               "the others (the table moved?); ask the archive for the original series")  # fmt: skip
        raise IrregularSlices(msg)
    return vector


def _grid(slices: Sequence[Dataset], axes: np.ndarray, step: np.ndarray) -> Grid:
    first = slices[0]
    between_rows, between_columns = (float(v) for v in first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = step, axes[1] * between_rows, axes[0] * between_columns
    affine[:3, 3] = _position(first)
    return Grid((len(slices), int(first.Rows), int(first.Columns)), affine)


def _rescale(slices: Sequence[Dataset], keyword: str, default: float) -> float | np.ndarray:
    values = [float(ds.get(keyword, default) if ds.get(keyword) is not None else default) for ds in slices]
    if not all(abs(value) < _RESCALE_LIMIT for value in values) or (keyword == "RescaleSlope" and 0.0 in values):
        msg = f"series {_uid(slices[0])}: a {keyword} of {min(values):g} to {max(values):g} gives no usable values"
        raise VolumeError(msg)
    return values[0] if len(set(values)) == 1 else np.array(values).reshape(-1, 1, 1)


def _header(ds: Dataset) -> Dataset:
    """The instance without its pixels, sharing its elements."""
    header = Dataset({tag: element for tag, element in ds.items() if tag < 0x7FE00000})
    if hasattr(ds, "file_meta"):
        header.file_meta = ds.file_meta
    return header


def _facts(ds: Dataset) -> dict[str, str]:
    facts = {keyword: str(ds.get(keyword)) for keyword in _FACTS if ds.get(keyword) not in (None, "")}
    facts["contrast"] = "yes" if ds.get("ContrastBolusAgent") else "no"
    if str(ds.get("PatientID", "")).startswith("PHANTOM-") and ds.get("PatientIdentityRemoved") == "YES":
        facts["phantom"] = "yes"
    if getattr(ds, "ailab_derived", False):
        facts["uids"] = "derived"
    return facts


def _position(ds: Dataset) -> np.ndarray:
    return np.array([float(v) for v in ds.ImagePositionPatient])


def _uid(ds: Dataset) -> str:
    return str(ds.get("SeriesInstanceUID", "") or "without a UID")
