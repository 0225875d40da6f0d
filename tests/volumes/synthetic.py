"""Small series that no symmetry can hide in: oblique, anisotropic, off centre, every voxel different."""

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.volumes.geometry import Grid

SHAPE = (5, 6, 7)
SPACING = (3.7, 1.3, 0.9)


def rotation(*degrees: float) -> np.ndarray:
    """Rotation about x, then y, then z."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        c, s = np.cos(angle), np.sin(angle)
        one = np.eye(3)
        i, j = [n for n in range(3) if n != axis]
        one[i, i], one[i, j], one[j, i], one[j, j] = c, -s, s, c
        turned = one @ turned
    return turned


def grid(shape=SHAPE, spacing=SPACING, turn=(12.0, -7.0, 23.0), origin=(-31.0, 17.0, 211.0)) -> Grid:
    """An oblique grid: slices towards the head, rows to the back, columns to the left, then turned."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(*turn) @ np.array([[0, 0, 1.0], [0, 1, 0], [1, 0, 0]]) @ np.diag(spacing)
    affine[:3, 3] = origin
    return Grid(tuple(shape), affine)


def series(place: Grid | None = None, *, array: np.ndarray | None = None, signed: bool = True) -> list[Dataset]:
    """CT instances of a grid, shuffled, so that nothing depends on their order."""
    place = place or grid()
    if array is None:
        array = np.arange(np.prod(place.shape)).reshape(place.shape) - (50 if signed else 0)
    slices = [_instance(place, number, plane, signed=signed) for number, plane in enumerate(array)]
    order = np.random.default_rng(0).permutation(len(slices))
    return [slices[n] for n in order]


def _instance(place: Grid, number: int, plane: np.ndarray, *, signed: bool) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, UID(derived_uid("synthetic", str(number)))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = derived_uid("study"), derived_uid("series")
    ds.FrameOfReferenceUID, ds.Modality, ds.PatientID = derived_uid("frame"), "CT", "S1"
    ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "Synthetic^One", "", "O"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20260102", "030405", "", "1"
    ds.ReferringPhysicianName, ds.Manufacturer, ds.InstanceNumber = "", "AI-LAB", 100 - number
    step = place.affine
    ds.ImagePositionPatient = [float(v) for v in (step @ [number, 0, 0, 1])[:3]]
    ds.ImageOrientationPatient = [float(v) for axis in (2, 1) for v in step[:3, axis] / np.linalg.norm(step[:3, axis])]
    ds.PixelSpacing = [float(place.spacing_mm[1]), float(place.spacing_mm[2])]
    ds.SliceThickness = float(place.spacing_mm[0])
    ds.Rows, ds.Columns = plane.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, int(signed)
    ds.RescaleSlope, ds.RescaleIntercept = 2, -10
    ds.PixelData = plane.astype("<i2" if signed else "<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds
