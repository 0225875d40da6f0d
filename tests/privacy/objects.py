"""Objects with planted identities, as a PACS may hold them."""

from io import BytesIO

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ailab_kernel.privacy.rules.profile import profile_of
from ailab_kernel.privacy.rules.standins import StandIns, keyed
from ailab_kernel.privacy.scrub import Scrubber

KEY = bytes(range(32))
PERSON = {
    "PatientName": "Quixano^Alonso", "PatientID": "MRN-4711-77", "PatientBirthDate": "19280923", "PatientSex": "M",
    "PatientAge": "094Y", "AccessionNumber": "ACC778899", "ReferringPhysicianName": "Carrasco^Sanson",
    "InstitutionName": "Hospital of Argamasilla", "StationName": "CTSCAN7", "StudyID": "ST-2201",
    "StudyDate": "20240229", "SeriesDate": "20240301", "StudyTime": "101500", "AcquisitionDateTime": "20240229101732.5",
    "StudyDescription": "CT chest for Quixano, ordered by Dr. Carrasco on 02/29/2024",
    "SeriesDescription": "Chest 1.5 mm lung kernel", "Manufacturer": "ACME", "KVP": "120",
}  # fmt: skip


def ct(uid: str = "1.2.276.0.77.77.1", **more: object) -> Dataset:
    """A small CT slice of the person; ``None`` leaves an attribute out."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.276.0.77.1", "1.2.276.0.77.2", "1.2.276.0.77.3"
    ds.Modality, ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = "CT", 4, 5, 16, 12, 11
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    for keyword, value in (PERSON | more).items():
        if value is not None:
            setattr(ds, keyword, value)
    ds.PixelData = bytes(range(40))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, uid
    ds.file_meta.SourceApplicationEntityTitle = "QUIXANO"
    return ds


def file_of(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.preamble = b"Quixano".ljust(128, b"\0")
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def scrubber(profile: str = "research", **more: object) -> Scrubber:
    return Scrubber(profile_of(profile), StandIns(keyed(KEY)), **more)


def scrubbed(ds: Dataset, profile: str = "research", **more: object) -> Dataset:
    """The object as a reader of the written file sees it."""
    return dcmread(BytesIO(scrubber(profile, **more).scrub(file_of(ds)).file()))
