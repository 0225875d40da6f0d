"""Who made an object, from what and when: everything in it that is not image."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from ailab_kernel.dicom.part10 import IMPLEMENTATION
from ailab_kernel.dicom.uids import derived_uid

Kind = Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]
MANUFACTURER = "AI-LAB"
# Characters that a value of LO holds (PS3.5 section 6.2).
LONG_STRING = 64


@dataclass(frozen=True)
class Provenance:
    """What a derived object says about itself.

    Attributes
    ----------
    algorithm, version
        Name and version of the model, or of the tool a person drew with.
    made_from
        UIDs and digests that decide the content: equal ones give equal UIDs.
    when
        The job's recorded time: Content Date (0008,0023) and Time (0008,0033), Instance Creation Date and Time.
    kind
        Segment Algorithm Type (0062,0008).
    series_description
        Series Description (0008,103E).
    reader
        Pseudonym of the person, if any.
    model_digest
        SHA-256 of the model's record.
    """

    algorithm: str
    version: str
    made_from: tuple[str, ...]
    when: datetime
    kind: Kind = "AUTOMATIC"
    series_description: str = ""
    reader: str = ""
    model_digest: str = ""

    @property
    def model(self) -> str:
        """Name of the algorithm, as long as its attribute may be."""
        return self.algorithm[:LONG_STRING]

    @property
    def release(self) -> str:
        """Version of the algorithm, never empty, as long as its attribute may be."""
        return self.version[:LONG_STRING] or "1"

    def uid(self, role: str) -> str:
        """UID of one part (``seg series`` ...), derived from what the object is made from."""
        return derived_uid(*self.made_from, self.kind, self.reader, role)


def settle(ds: Dataset, provenance: Provenance, *, sop_uid: str, syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    """Give an object dates, numbers and file meta information that do not depend on when or where it was written."""
    date, time = f"{provenance.when:%Y%m%d}", f"{provenance.when:%H%M%S}"
    for keyword in ("ContentDate", "SeriesDate", "InstanceCreationDate"):
        setattr(ds, keyword, date)
    for keyword in ("ContentTime", "SeriesTime", "InstanceCreationTime"):
        setattr(ds, keyword, time)
    if "ContributingEquipmentSequence" in ds:  # the library signs last, with the clock's time
        ds.ContributingEquipmentSequence[-1].ContributionDateTime = date + time
    ds.SeriesDescription = (provenance.series_description or provenance.algorithm)[:LONG_STRING]
    ds.SOPInstanceUID = sop_uid
    ds.InstanceCreatorUID = IMPLEMENTATION
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, UID(sop_uid)
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID(IMPLEMENTATION), "AILAB"
    ds.file_meta = meta
    return ds
