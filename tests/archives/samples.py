"""A small hospital: three people, four studies, CT, MR and PT series of a few 16 x 16 slices, made here."""

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, PositronEmissionTomographyImageStorage

from ailab_kernel.dicom.uids import derived_uid

CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}


@dataclass(frozen=True)
class Sample:
    """One series to make; ``study`` and ``series`` are names that UIDs are derived from."""

    study: str
    series: str
    patient: tuple[str, str] = ("P1", "Adler^Anna")
    date: str = "20260110"
    modality: str = "CT"
    study_description: str = "CT chest"
    series_description: str = "lung"
    number: int = 1
    body_part: str = "CHEST"
    slices: int = 3
    size: int = 16

    @property
    def study_uid(self) -> str:
        return derived_uid("sample", self.study)

    @property
    def series_uid(self) -> str:
        return derived_uid("sample", self.study, self.series)


HOSPITAL = (
    Sample("a", "lung"),
    Sample("a", "soft", series_description="soft tissue", number=2, slices=2),
    Sample("b", "head", patient=("P2", "Brandt^Bert"), date="20260215", study_description="CT head",
           series_description="brain", body_part="HEAD", slices=2),
    Sample("c", "heart", patient=("P3", "Clausen^Clara"), date="20260301", modality="MR",
           study_description="MR heart", series_description="cine", body_part="HEART", slices=2),
    Sample("d", "ct", patient=("P1", "Adler^Anna"), date="20260401", study_description="PET-CT chest",
           series_description="low dose", slices=2),
    Sample("d", "pet", patient=("P1", "Adler^Anna"), date="20260401", modality="PT",
           study_description="PET-CT chest", series_description="FDG", number=2, slices=2),
)


def hospital() -> list[Dataset]:
    """Every instance of :data:`HOSPITAL`."""
    return [ds for sample in HOSPITAL for ds in make(sample)]


def make(sample: Sample) -> list[Dataset]:
    """Instances of one series, Instance Number 1 first."""
    return [_slice(sample, number) for number in range(1, sample.slices + 1)]


def _slice(sample: Sample, number: int) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.Modality = CLASSES[sample.modality], sample.modality
    ds.SOPInstanceUID = derived_uid("sample", sample.study, sample.series, str(number))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = sample.study_uid, sample.series_uid
    ds.FrameOfReferenceUID = derived_uid("sample", sample.study)
    ds.PatientID, ds.PatientName = sample.patient
    ds.PatientBirthDate, ds.PatientSex, ds.StudyTime, ds.StudyID = "", "", "101500", "1"
    ds.ReferringPhysicianName, ds.AccessionNumber = "", f"ACC-{sample.study}"
    ds.StudyDate = ds.SeriesDate = sample.date
    ds.StudyDescription, ds.SeriesDescription = sample.study_description, sample.series_description
    ds.SeriesNumber, ds.InstanceNumber, ds.BodyPartExamined = sample.number, number, sample.body_part
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 2.5 * number], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [0.8, 0.7], 2.5
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    ds.Rows = ds.Columns = sample.size
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    random = np.random.default_rng(number)
    ds.PixelData = random.integers(0, 4000, (sample.size, sample.size), dtype=np.int16).tobytes()
    ds["PixelData"].VR = "OW"
    return ds
