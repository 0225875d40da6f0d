"""The orientation canary: a small phantom sent through any destination and back tells whether places survive.

Its slices are oblique, its voxels and matrix have three different sizes, it lies off the centre, and its label looks
like nothing else when it is turned. What comes back is placed by its own headers only, and the SEG without the reader
that the rest of the house uses, so that a fault there shows too. A tilted gantry is no part of it: a series with one is
refused on reading.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from ailab_kernel.dicom.codes import Code
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.ground.errors import AilabError, ArchiveRefused
from ailab_kernel.objects.provenance import Provenance
from ailab_kernel.objects.seg import write_seg
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.series import volume_from_datasets
from ailab_kernel.volumes.volume import Volume

from .canary_verdict import Cloud, Verdict, judge
from .phantom_dicom import METHOD, PATIENT_PREFIX, STUDY_DESCRIPTION

if TYPE_CHECKING:
    from ailab_kernel.archives.archive import Archive

_SHAPE = (10, 26, 36)          # slices, rows, columns
_SPACING = (3.1, 1.3, 0.8)     # mm, in that order
_ANGLES = (20.0, -13.0, 35.0)  # degrees about the patient's x, y and z
_CORNER = (-63.5, 41.25, -187.0)
_AIR = -1000
# Boxes of (slices, rows, columns), first and behind the last: a letter on three levels is the label; the blocks lie
# beside it in the image.
_LETTER = (((2, 7), (5, 9), (8, 13)), ((2, 4), (5, 20), (8, 11)), ((5, 7), (6, 9), (8, 28)),
           ((3, 4), (16, 20), (8, 20)))  # fmt: skip
_BLOCKS = (((2, 7), (12, 14), (24, 31)), ((6, 7), (19, 22), (5, 16)))
_LABEL = Label(1, "canary", Code("49062001", "SCT", "Device"), Code("260787004", "SCT", "Physical object"),
               color=(250, 200, 0))  # fmt: skip
_WHEN = datetime(2024, 1, 2, 8, 0, tzinfo=UTC)
_ON_VOXEL = 1e-2


@dataclass(frozen=True, eq=False)
class Canary:
    """What is sent: CT instances, and the SEG of their label; the same bytes and UIDs each time."""

    image: tuple[Dataset, ...]
    seg: Dataset
    volume: Volume
    mask: Mask

    @property
    def instances(self) -> tuple[Dataset, ...]:
        """Everything, images first."""
        return (*self.image, self.seg)


@dataclass(frozen=True)
class Report:
    """What became of a canary.

    Attributes
    ----------
    image, seg
        The verdict on each.
    notes
        What else is to be known: what was refused, what was left behind.
    """

    image: Verdict
    seg: Verdict
    notes: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether image and SEG are both."""
        return self.image.identical and self.seg.identical

    def __str__(self) -> str:
        return "\n".join((f"image: {self.image}", f"SEG: {self.seg}", *self.notes))

    def _repr_html_(self) -> str:
        return "<p>" + "<br>".join(str(self).splitlines()) + "</p>"


def make_canary() -> Canary:
    """Return the canary; deterministic, an object of a phantom's, no patient."""
    image = tuple(_slice(number) for number in range(_SHAPE[0]))
    volume = volume_from_datasets(image)
    mask = Mask(_boxes(_LETTER).astype(np.uint8), volume.grid, (_LABEL,))
    provenance = Provenance("orientation canary", "1", made_from=(volume.series_uid,), when=_WHEN, kind="MANUAL",
                            series_description="Orientation canary", reader="phantom")  # fmt: skip
    return Canary(image, write_seg(mask, volume, provenance), volume, mask)


def compare(sent: Canary, back: Iterable[Dataset]) -> Report:
    """Say how the canary came back: image and SEG for themselves, each by its own headers.

    Parameters
    ----------
    back
        The instances that came back, in any order.
    """
    datasets = list(back)
    segs = [ds for ds in datasets if ds.get("Modality") == "SEG"]
    return Report(_image(sent, [ds for ds in datasets if ds.get("Modality") != "SEG"]), _seg(sent, segs))


def run_canary(archive: "Archive") -> Report:
    """Store the canary, search it, retrieve it, compare it, and remove it where the archive allows.

    Raises
    ------
    ArchiveError
        The archive cannot be reached, or refuses to search or retrieve.
    """
    sent = make_canary()
    stored = archive.store(sent.instances)
    notes = [f"not stored: {one.what}: {one.reason}" for one in stored.refused]
    try:
        found = archive.search_series(sent.volume.study_uid)
        report = compare(sent, (ds for series in found for ds in archive.retrieve(series)))
    finally:
        notes += _remove(archive, sent.volume.study_uid)
    return Report(report.image, report.seg, tuple(notes))


def _remove(archive: "Archive", study_uid: str) -> list[str]:
    """Delete the canary's study; where that is not allowed, say so. It is the same study each time."""
    if not archive.search_studies(study=study_uid):
        return []
    try:
        archive.delete(study_uid)
    except ArchiveRefused as refusal:
        return [f"study {study_uid} stays in the archive: {refusal}"]
    return []


def _image(sent: Canary, back: list[Dataset]) -> Verdict:
    if not back:
        return Verdict(fault="no image came back", same_values=False)
    try:
        volume = volume_from_datasets(back)
    except AilabError as error:
        return Verdict(fault=f"the images that came back make no volume: {error}", same_values=False)
    return judge(sent.volume.grid, _cloud(sent.volume), _cloud(volume), same_values=_same_values(sent.volume, volume))


def _cloud(volume: Volume) -> Cloud:
    """Voxels above air, each as heavy as it is bright: interpolation spreads them and leaves their centroid."""
    brightness = volume.values - _AIR
    index = np.argwhere(brightness > 1.0)
    return Cloud(_places(index, volume.grid.affine), brightness[tuple(index.T)])


def _same_values(sent: Volume, back: Volume) -> bool:
    if sent.array.size != back.array.size:
        return False
    index = np.indices(back.array.shape).reshape(3, -1).T
    where = _on_grid(_places(index, back.grid.affine), sent)
    return where is not None and np.allclose(sent.values[tuple(where.T)], back.values.ravel(), atol=1e-3)


def _seg(sent: Canary, back: list[Dataset]) -> Verdict:
    if len(back) != 1:
        return Verdict(fault=f"{len(back) or 'no'} SEG came back, one was sent", same_values=False)
    try:
        with guarded("the SEG that came back"):
            points = _seg_points(back[0])
    except AilabError as error:
        return Verdict(fault=str(error), same_values=False)
    label = np.argwhere(sent.mask.array)
    where = _on_grid(points, sent.volume)
    same = where is not None and np.array_equal(np.unique(where, axis=0), label) and len(where) == len(label)
    cloud = Cloud(_places(label, sent.volume.grid.affine), np.ones(len(label)))
    return judge(sent.volume.grid, cloud, Cloud(points, np.ones(len(points))), same_values=same)


def _seg_points(ds: Dataset) -> np.ndarray:
    """(n, 3): LPS mm of every marked pixel, by the SEG's functional groups (PS3.3 C.7.6.16) alone."""
    frames = ds.pixel_array.reshape(-1, int(ds.Rows), int(ds.Columns))
    shared = ds.SharedFunctionalGroupsSequence[0]
    found = [np.zeros((0, 3))]
    for frame, item in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        position, orientation, spacing = (
            np.array([float(v) for v in (item if sequence in item else shared)[sequence].value[0][keyword].value])
            for sequence, keyword in (("PlanePositionSequence", "ImagePositionPatient"),
                                      ("PlaneOrientationSequence", "ImageOrientationPatient"),
                                      ("PixelMeasuresSequence", "PixelSpacing")))  # fmt: skip
        rows, columns = np.nonzero(frame)
        found.append(position + columns[:, None] * spacing[1] * orientation[:3]
                     + rows[:, None] * spacing[0] * orientation[3:])  # fmt: skip
    return np.concatenate(found)


def _places(index: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return index @ affine[:3, :3].T + affine[:3, 3]


def _on_grid(points: np.ndarray, volume: Volume) -> np.ndarray | None:
    """(n, 3): which voxels of a volume the points are; None where one is beside them or outside."""
    exact = np.linalg.solve(volume.grid.affine, np.c_[points, np.ones(len(points))].T)[:3].T
    index = np.rint(exact).astype(int)
    inside = (index >= 0).all() and (index < volume.array.shape).all()
    return index if inside and np.abs(exact - index).max(initial=0.0) < _ON_VOXEL else None


def _boxes(boxes: Iterable[tuple[tuple[int, int], ...]]) -> np.ndarray:
    """Boolean, shape (slices, rows, columns)."""
    array = np.zeros(_SHAPE, bool)
    for box in boxes:
        array[tuple(slice(*span) for span in box)] = True
    return array


def _slice(number: int) -> Dataset:
    axes = _axes()
    place = np.array(_CORNER) + axes[:, 2] * _SPACING[0] * number
    uid = UID(derived_uid("canary", str(number)))
    ds = Dataset()
    for keyword, value in {
        "SpecificCharacterSet": "ISO_IR 192", "SOPClassUID": CTImageStorage, "SOPInstanceUID": uid, "Modality": "CT",
        "ImageType": ["DERIVED", "PRIMARY", "AXIAL"], "Manufacturer": "AI-LAB", "StudyID": "CANARY",
        "PatientName": "Phantom^Canary", "PatientID": f"{PATIENT_PREFIX}CANARY", "PatientBirthDate": "",
        "PatientSex": "O", "PatientIdentityRemoved": "YES", "DeidentificationMethod": METHOD, "AccessionNumber": "",
        "ReferringPhysicianName": "", "StudyDescription": STUDY_DESCRIPTION, "SeriesDescription": "Orientation canary",
        "StudyInstanceUID": derived_uid("canary", "study"), "SeriesInstanceUID": derived_uid("canary", "series"),
        "FrameOfReferenceUID": derived_uid("canary", "frame"), "PositionReferenceIndicator": "", "KVP": "",
        "StudyDate": f"{_WHEN:%Y%m%d}", "StudyTime": f"{_WHEN:%H%M%S}", "AcquisitionNumber": 1,
        "SeriesNumber": 1, "InstanceNumber": number + 1, "ImagePositionPatient": [round(float(v), 6) for v in place],
        "ImageOrientationPatient": [round(float(v), 8) for v in (*axes[:, 0], *axes[:, 1])],
        "PixelSpacing": list(_SPACING[1:]), "SliceThickness": _SPACING[0], "SpacingBetweenSlices": _SPACING[0],
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": _SHAPE[1], "Columns": _SHAPE[2],
        "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "RescaleIntercept": 0,
        "RescaleSlope": 1, "RescaleType": "HU",
    }.items():  # fmt: skip
        setattr(ds, keyword, value)
    ds.add_new("PixelData", "OW", _values()[number].astype("<i2").tobytes())
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, uid
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _axes() -> np.ndarray:
    """(3, 3): as columns, the directions in which column, row and slice index grow, LPS."""
    turned = np.eye(3)
    for axis, degrees in enumerate(_ANGLES):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        one, other = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[one, one], turn[one, other], turn[other, one], turn[other, other] = cos, -sin, sin, cos
        turned = turn @ turned
    return turned


def _values() -> np.ndarray:
    """Hounsfield units, shape (slices, rows, columns): no two neighbours alike within the shapes, air around them."""
    slices, rows, columns = np.indices(_SHAPE)
    tissue = 20 + 11 * slices + 3 * rows + columns
    return np.where(_boxes(_LETTER), tissue + 300, np.where(_boxes(_BLOCKS), tissue, _AIR))
