"""A phantom study as DICOM: CT Image Storage (PS3.3 A.3) and its truth as a segmentation."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from ailab_kernel.dicom.uids import derived_uid

if TYPE_CHECKING:
    from .phantoms import Phantom, PhantomStudy

STUDY_DESCRIPTION = "CHEST CT (PHANTOM)"
PATIENT_PREFIX = "PHANTOM-"
METHOD = "Synthetic: no patient was imaged"
# CT numbers at zero by PixelRepresentation (0028,0103): unsigned samples start at the lowest padding.
_INTERCEPT = {True: 0, False: -1024}


def to_dicom(study: "PhantomStudy") -> "tuple[list[Dataset], Dataset | None]":
    """CT instances from feet to head with file meta, and the truth as SEG (None where no voxel has a label).

    Parameters
    ----------
    study
        From ``phantoms.make``.
    """
    from ailab_kernel.objects.provenance import Provenance
    from ailab_kernel.objects.seg import write_seg
    from ailab_kernel.volumes.series import volume_from_datasets

    instances = write_series(study)
    if not study.truth.array.any():
        return instances, None
    provenance = Provenance("phantom truth", "1", made_from=(study.volume.series_uid,), when=_when(study.phantom),
                            kind="MANUAL", series_description="Phantom truth", reader="phantom")  # fmt: skip
    return instances, write_seg(study.truth, volume_from_datasets(instances), provenance)


def is_phantom(ds: "Dataset | Mapping[str, str]") -> bool:
    """Whether the instance says that it is a phantom's: by its patient and by its study or de-identification method."""
    named = str(ds.get("PatientID", "")).startswith(PATIENT_PREFIX)
    return named and (ds.get("StudyDescription") == STUDY_DESCRIPTION or ds.get("DeidentificationMethod") == METHOD)


def write_series(study: "PhantomStudy", folder: Path | None = None) -> list[Dataset]:
    """CT instances from feet to head; written to ``folder`` as files when it is given."""
    shared = _shared(study)
    instances = [_instance(study, shared, number) for number in range(study.volume.array.shape[0])]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for ds in instances:
            ds.save_as(folder / f"CT{ds.InstanceNumber:04d}.dcm", enforce_file_format=True)
    return instances


def _when(phantom: "Phantom") -> datetime:
    """The study's time: a day within two years, from the phantom itself."""
    number = int(hashlib.sha256("|".join(phantom.identity).encode()).hexdigest()[:8], 16)
    return datetime(2024, 1, 2, 8, 0, tzinfo=UTC) + timedelta(days=number % 700, minutes=number % 540)


def _shared(study: "PhantomStudy") -> Dataset:
    """Patient, study, series, equipment and frame of reference: the same in every instance."""
    phantom, volume = study.phantom, study.volume
    when, token = _when(phantom), hashlib.sha256("|".join(phantom.identity).encode()).hexdigest()
    number = int(token[8:16], 16)
    born = date(when.year - 35 - number % 50, 1 + number % 12, 1 + number % 28)
    years = when.year - born.year - ((when.month, when.day) < (born.month, born.day))
    ds = Dataset()
    ds.update(_tags(
        SpecificCharacterSet="ISO_IR 192", Modality="CT", Manufacturer=phantom.scanner.vendor,
        ManufacturerModelName=phantom.scanner.model, SoftwareVersions=phantom.scanner.software,
        DeviceSerialNumber="PHANTOM", InstitutionName=f"Phantom {phantom.style.name}",
        StudyDescription=STUDY_DESCRIPTION, SeriesDescription=f"CHEST {phantom.kernel.name} {phantom.phase}".upper(),
        PatientName=f"Phantom^{token[:8].upper()}", PatientID=PATIENT_PREFIX + token[:12].upper(),
        PatientBirthDate=f"{born:%Y%m%d}", PatientSex="F" if phantom.traits["breast"] > 0.5 else "M",
        PatientAge=f"{years:03d}Y", PatientIdentityRemoved="YES", DeidentificationMethod=METHOD,
        BodyPartExamined="CHEST", PatientPosition="HFS", KVP=120, ConvolutionKernel=phantom.kernel.name,
        SliceThickness=round(phantom.traits["slice_mm"], 3), ScanOptions="HELICAL",
        XRayTubeCurrent=100 + number % 200, GantryDetectorTilt=0,
        StudyInstanceUID=volume.study_uid, SeriesInstanceUID=volume.series_uid, StudyID=token[:8].upper(),
        SeriesNumber=2, AccessionNumber=token[:16].upper(), FrameOfReferenceUID=volume.frame_of_reference_uid,
        PositionReferenceIndicator="", ReferringPhysicianName="", AcquisitionNumber=1,
    ))  # fmt: skip
    if phantom.phase != "none":
        ds.ContrastBolusAgent = "IODINE"
    for part in ("Study", "Series", "Acquisition", "Content"):
        setattr(ds, f"{part}Date", f"{when:%Y%m%d}")
        setattr(ds, f"{part}Time", f"{when:%H%M%S}")
    return ds


def _tags(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def _instance(study: "PhantomStudy", shared: Dataset, number: int) -> Dataset:
    volume, phantom = study.volume, study.phantom
    affine, spacing = volume.grid.affine, volume.grid.spacing_mm
    signed, padding = phantom.scanner.signed, phantom.scanner.padding_hu
    stored = volume.array[number].astype(np.int32) - _INTERCEPT[signed]
    ds = Dataset()
    ds.update(shared)
    directions = (affine[:3, 2] / spacing[2], affine[:3, 1] / spacing[1])
    place = affine[:3, 3] + affine[:3, 0] * number
    ds.update(_tags(
        SOPClassUID=CTImageStorage, SOPInstanceUID=volume.instance_uids[number],
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], InstanceNumber=number + 1,
        ImagePositionPatient=[round(float(v), 6) for v in place],
        ImageOrientationPatient=[round(float(v), 8) for v in np.concatenate(directions)],
        SliceLocation=round(float(place[2]), 4), PixelSpacing=[round(spacing[1], 8), round(spacing[2], 8)],
        SpacingBetweenSlices=round(spacing[0], 8),
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", Rows=stored.shape[0], Columns=stored.shape[1],
        BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=int(signed),
        RescaleSlope=1, RescaleIntercept=_INTERCEPT[signed], RescaleType="HU",
        WindowCenter=40, WindowWidth=400,
    ))  # fmt: skip
    if phantom.traits["round_field"] and padding < -1024:
        ds.add_new("PixelPaddingValue", "SS" if signed else "US", padding - _INTERCEPT[signed])
    ds.add_new("PixelData", "OW", stored.astype("<i2" if signed else "<u2").tobytes())
    ds.file_meta = _meta(ds.SOPInstanceUID)
    return ds


def _meta(uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(derived_uid("AI-LAB phantoms"))
    meta.ImplementationVersionName = "AILAB"
    return meta
