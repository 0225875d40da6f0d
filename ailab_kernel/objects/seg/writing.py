"""A segmentation out: module by module (PS3.3 A.51), its frames and their groups built at memory speed."""

from typing import Literal, NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, SegmentationStorage

from ailab_kernel.dicom.codes import Code
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.objects.provenance import LONG_STRING, Provenance, settle
from ailab_kernel.objects.source import (
    code_item,
    frame_of_reference,
    need_images,
    referenced_series,
    references,
    started,
)
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.volume import Volume

from .colors import lab_of
from .drawn import ByLabel, Drawn, drawn, drawn_map
from .groups import PER_FRAME, decimals, write_groups
from .pixels import COMPRESSIONS, encapsulated, even, packed

Kind = Literal["BINARY", "LABELMAP", "FRACTIONAL"]
Compression = Literal["RLE", "JPEG-LS"]
FractionalType = Literal["PROBABILITY", "OCCUPANCY"]

_SERIES_NUMBER = 9000
_WHOLE = 255
_INFERENCE = Code("123109", "DCM", "Artificial Intelligence")
_BACKGROUND = Code("125040", "DCM", "Background")
# Role of the UID and dimensions of each type: attribute, its macro, description (PS3.3 C.7.6.17).
_SEGMENT = (0x0062000B, 0x0062000A, "Referenced Segment Number")
_PLANE = (0x00200032, 0x00209113, "Image Position Patient")
_ROLES = {"BINARY": "seg", "LABELMAP": "labelmap", "FRACTIONAL": "fractional"}
# Label Map Segmentation Storage.
_CLASSES = {"LABELMAP": UID("1.2.840.10008.5.1.4.1.1.66.7")}


class _Pixels(NamedTuple):
    data: bytes
    bits: int
    syntax: UID


def write_seg(
    mask: Mask | ByLabel, vol: Volume, provenance: Provenance, *, kind: Kind = "BINARY",
    compression: Compression | None = None, fractional: FractionalType = "PROBABILITY",
) -> Dataset:  # fmt: skip
    """Write a mask as a SEG that refers to every source image.

    Frames without a voxel are left out. A label that is nowhere in the mask is a segment without a frame; a mask
    without any voxel keeps its empty frames, so that "nothing found" is a result. Segments are numbered 1, 2, ... in
    the order of the labels.

    Parameters
    ----------
    mask
        On the grid of ``vol``: a label map, or for each label an array of shape (slices, rows, columns). Such segments
        may overlap; they are boolean or, for FRACTIONAL, from 0 to 1.
    vol
        The source series, with its headers.
    provenance
        Algorithm, origin and time; equal provenance and mask give equal bytes.
    kind
        Segmentation Type (0062,0001). LABELMAP is smaller, for receivers that know it, and holds no overlap; it has
        16 bits where there are more than 255 segments.
    compression
        Lossless, for LABELMAP only.
    fractional
        Segmentation Fractional Type (0062,0010).

    Raises
    ------
    ObjectError
        The volume did not come from DICOM, or the mask lies on another grid, holds values without a label, or
        overlaps where it must not.
    DicomError
        Source headers that cannot be carried over.
    """
    need_images(vol, "a SEG")
    _check(kind, compression)
    place = vol.grid
    parts = drawn_map(mask, place) if kind == "LABELMAP" else drawn(mask, place, fractional=kind == "FRACTIONAL")
    pixels = _pixels(parts, kind, compression)
    with guarded(f"headers of series {vol.series_uid}"):
        ds = started(vol, provenance, sop_class=_CLASSES.get(kind, SegmentationStorage), modality="SEG",
                     series="seg series", number=_SERIES_NUMBER)  # fmt: skip
        _describe_image(ds, vol, parts, provenance)
        _describe_segmentation(ds, parts, provenance, kind)
        _describe_frames(ds, vol, parts)
        _put_pixels(ds, vol.grid, pixels)
    if kind == "FRACTIONAL":
        ds.SegmentationFractionalType, ds.MaximumFractionalValue = fractional, _WHOLE
    # The groups are bytes already: pydicom writes them as they are where nothing is to be encoded anew.
    ds.set_original_encoding(is_implicit_vr=False, is_little_endian=True,
                             character_encoding=convert_encodings("ISO_IR 192"))  # fmt: skip
    return settle(ds, provenance, sop_uid=provenance.uid(_ROLES[kind]), syntax=pixels.syntax)


def _check(kind: Kind, compression: Compression | None) -> None:
    if kind not in _ROLES or (compression and (kind != "LABELMAP" or compression not in COMPRESSIONS)):
        msg = (f"kind {kind} with compression {compression or 'none'} is not written; "
               f"{', '.join(_ROLES)} are, and LABELMAP may be compressed ({', '.join(COMPRESSIONS)})")  # fmt: skip
        raise ObjectError(msg)


def _pixels(parts: Drawn, kind: Kind, compression: Compression | None) -> _Pixels:
    planes = (parts.plane(*frame) for frame in parts.frames)
    if kind == "BINARY":
        return _Pixels(packed(planes), 1, ExplicitVRLittleEndian)
    if kind == "FRACTIONAL":
        return _Pixels(even(b"".join(_levels(plane).tobytes() for plane in planes)), 8, ExplicitVRLittleEndian)
    bits = parts.plane(*parts.frames[0]).itemsize * 8
    if compression:
        data, syntax = encapsulated(planes, compression)
        return _Pixels(data, bits, syntax)
    return _Pixels(even(b"".join(np.ascontiguousarray(plane).data for plane in planes)), bits, ExplicitVRLittleEndian)


def _levels(plane: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(plane.astype(np.float32), 0, 1) * _WHOLE).astype(np.uint8)


def _put_pixels(ds: Dataset, grid: Grid, pixels: _Pixels) -> None:
    """Image Pixel module (PS3.3 C.7.6.3); a label map's background is its value 0."""
    _, ds.Rows, ds.Columns = grid.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated = ds.BitsStored = pixels.bits
    ds.HighBit = pixels.bits - 1
    ds.LossyImageCompression = "00"
    ds.add_new("PixelData", "OW" if pixels.bits == 16 and not pixels.syntax.is_encapsulated else "OB", pixels.data)
    ds["PixelData"].is_undefined_length = pixels.syntax.is_encapsulated


def _describe_image(ds: Dataset, vol: Volume, parts: Drawn, provenance: Provenance) -> None:
    """General Image, Frame of Reference, Common Instance Reference and Multi-frame Dimension modules."""
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.ContentLabel, ds.ContentCreatorName = "AILAB", provenance.reader or None
    ds.ContentDescription = provenance.series_description[:LONG_STRING] or None
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = frame_of_reference(vol), None
    ds.ReferencedSeriesSequence = referenced_series(vol)
    organization = Dataset()
    organization.DimensionOrganizationUID = provenance.uid("dimensions")
    ds.DimensionOrganizationSequence = [organization]
    dimensions = (_SEGMENT, _PLANE) if parts.first else (_PLANE,)
    ds.DimensionIndexSequence = [_dimension(organization, *one) for one in dimensions]


def _dimension(organization: Dataset, attribute: int, macro: int, description: str) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = organization.DimensionOrganizationUID
    item.DimensionIndexPointer, item.FunctionalGroupPointer = Tag(attribute), Tag(macro)
    item.DimensionDescriptionLabel = description
    return item


def _describe_segmentation(ds: Dataset, parts: Drawn, provenance: Provenance, kind: Kind) -> None:
    """Segmentation Image module (PS3.3 C.8.20.2); a label map describes its background as segment 0."""
    ds.SegmentationType, ds.SegmentsOverlap = kind, parts.overlap
    segments = [_segment(n, label, provenance) for n, label in enumerate(parts.labels, 1)]
    if kind == "LABELMAP":
        segments.insert(0, _background(provenance))
        ds.add_new("PixelPaddingValue", "US", 0)
        ds.PresentationLUTShape = "IDENTITY"
    ds.SegmentSequence = segments


def _background(provenance: Provenance) -> Dataset:
    background = _segment(0, Label(0, "Background", _BACKGROUND, _BACKGROUND, color=(0, 0, 0)), provenance)
    del background.TrackingID, background.TrackingUID
    return background


def _segment(number: int, label: Label, provenance: Provenance) -> Dataset:
    """One item of Segment Sequence (0062,0002)."""
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = number, label.name[:LONG_STRING]
    item.SegmentedPropertyCategoryCodeSequence = [code_item(label.category)]
    item.SegmentedPropertyTypeCodeSequence = [code_item(label.code)]
    item.SegmentAlgorithmType = provenance.kind
    if provenance.kind != "MANUAL":
        item.SegmentAlgorithmName = provenance.model
        item.SegmentationAlgorithmIdentificationSequence = [_algorithm(provenance)]
    item.RecommendedDisplayCIELabValue = list(lab_of(label.color))
    item.TrackingID, item.TrackingUID = label.name, provenance.uid(f"tracking {label.name}")
    return item


def _algorithm(provenance: Provenance) -> Dataset:
    item = Dataset()
    item.AlgorithmFamilyCodeSequence = [code_item(_INFERENCE)]
    item.AlgorithmName, item.AlgorithmVersion = provenance.model, provenance.release
    return item


def _describe_frames(ds: Dataset, vol: Volume, parts: Drawn) -> None:
    """Multi-frame Functional Groups module (PS3.3 C.7.6.16)."""
    ds.NumberOfFrames = len(parts.frames)
    ds.SharedFunctionalGroupsSequence = [_shared(vol.grid)]
    groups = write_groups(parts.frames, vol.grid, references(vol), frames=vol.frame_numbers)
    ds[PER_FRAME] = RawDataElement(Tag(PER_FRAME), "SQ", len(groups), groups, 0, False, True)


def _shared(grid: Grid) -> Dataset:
    between, *spacing = map(str, decimals(grid.spacing_mm))
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.SliceThickness = measures.SpacingBetweenSlices = between
    measures.PixelSpacing = spacing
    along = grid.affine[:3, :3] / grid.spacing_mm
    orientation.ImageOrientationPatient = list(decimals([*along[:, 2], *along[:, 1]]))
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    return shared
