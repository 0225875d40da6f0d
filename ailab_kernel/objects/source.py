"""What derived objects take from their source images: patient and study, references, and the refusal without them."""

from collections.abc import Callable, Sequence
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage
from pydicom.valuerep import DA, TM

from ailab_kernel.dicom.codes import Code
from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.volumes.volume import Volume

from .provenance import MANUFACTURER, Provenance

# Type 2 of the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): there, but may be empty.
_MAY_BE_EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                 "AccessionNumber", "ReferringPhysicianName")  # fmt: skip
# What else says whose study this is and whether it was de-identified (PS3.3 C.7.1.1, C.7.1.3, C.7.2.1 to C.7.2.3).
_CARRIED = (
    "IssuerOfPatientID", "TypeOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthTime", "QualityControlSubject", "OtherPatientIDsSequence", "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence", "PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence",
    "ResponsiblePerson", "ResponsiblePersonRole", "ResponsibleOrganization", "PatientComments",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified", "IssuerOfAccessionNumberSequence", "StudyDescription",
    "ProcedureCodeSequence", "PatientAge", "PatientSize", "PatientWeight", "PatientSexNeutered",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID",
    "ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
)  # fmt: skip
_CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}
_SEXES = ("", "M", "F", "O")


def need_images(vol: Volume, what: str) -> None:
    """Refuse a volume without DICOM headers.

    Raises
    ------
    ObjectError
        There is nothing that ``what`` could refer to.
    """
    if not vol.headers:
        msg = (f"{what} refers to DICOM images, and this volume has none (NIfTI input, or corrected slices?); "
               "write NIfTI instead, or begin with the DICOM series as it is")  # fmt: skip
        raise ObjectError(msg)
    if not all(vol.instance_uids) or len(vol.instance_uids) != len(vol.headers):
        msg = f"{what} refers to images by SOPInstanceUID, and some have none; read them with volumes_from_folder"
        raise ObjectError(msg)


def frame_of_reference(vol: Volume) -> str:
    """Frame of Reference UID (0020,0052), derived from the series where the images have none."""
    return vol.frame_of_reference_uid or derived_uid(vol.series_uid, "frame")


def references(vol: Volume) -> list[tuple[str, str]]:
    """Referenced SOP Class UID and SOP Instance UID of each slice's image, in slice order.

    The instances of one volume are of one class: the first header is read, the others may stay unparsed.
    """
    first = vol.headers[0]
    sop_class = str(first.get("SOPClassUID") or _CLASSES.get(str(first.get("Modality")), CTImageStorage))
    return [(sop_class, uid) for uid in vol.instance_uids]


def started(vol: Volume, provenance: Provenance, *, sop_class: str, modality: str, series: str, number: int) -> Dataset:
    """Begin a derived object: patient, study, series and equipment (PS3.3 C.7.1 to C.7.5).

    Parameters
    ----------
    vol
        The source, with its headers: patient and study are taken from the first one.
    provenance
        Who made it.
    sop_class, modality
        SOP Class UID (0008,0016) and Modality (0008,0060).
    series
        Role of the series, from which its UID is derived.
    number
        Series Number (0020,0011).
    """
    ds = _study(vol)
    for keyword, value in {
        "SOPClassUID": sop_class, "Modality": modality, "SeriesInstanceUID": provenance.uid(series),
        "SeriesNumber": str(number), "InstanceNumber": "1", "Manufacturer": MANUFACTURER,
        "ManufacturerModelName": provenance.model, "SoftwareVersions": provenance.release,
        "DeviceSerialNumber": provenance.model_digest[:16] or "none",
    }.items():  # fmt: skip
        _put(ds, keyword, value)
    return ds


def _study(vol: Volume) -> Dataset:
    """Patient and study in UTF-8 (ISO_IR 192), which holds every name; values of another kind become empty."""
    first, ds = vol.headers[0], Dataset()
    for keyword in (*_MAY_BE_EMPTY, *_CARRIED):
        if keyword in first:
            ds[keyword] = first[keyword]  # decoded by the header's own character set
    _put(ds, "StudyInstanceUID", vol.study_uid)
    return _named(ds)


def source_images(vol: Volume) -> list[Dataset]:
    """Return what a writing library needs of each image: patient and study of the first, references of the others."""
    found: list[Dataset] = []
    for sop_class, uid in references(vol):
        image = Dataset() if found else _study(vol)
        image.SOPClassUID, image.SOPInstanceUID = sop_class, uid
        image.StudyInstanceUID, image.SeriesInstanceUID = vol.study_uid, vol.series_uid
        found.append(image)
    return found


def reference_items(pairs: Sequence[tuple[str, str]]) -> list[Dataset]:
    """Items of SOP Instance Reference Macro (PS3.3 table 10-11), each instance once."""
    return [_reference(*pair) for pair in dict.fromkeys(pairs)]


def _reference(sop_class: str, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def referenced_series(vol: Volume) -> list[Dataset]:
    """Referenced Series Sequence (0008,1115) with every image of the source (PS3.3 C.12.2)."""
    item = Dataset()
    item.SeriesInstanceUID, item.ReferencedInstanceSequence = vol.series_uid, reference_items(references(vol))
    return [item]


def code_item(code: Code) -> Dataset:
    """One item of a code sequence (PS3.3 section 8.8)."""
    item = Dataset()
    setattr(item, "CodeValue" if len(code.value) <= 16 else "LongCodeValue", code.value)
    item.CodingSchemeDesignator, item.CodeMeaning = code.scheme, code.meaning
    return item


def _named(image: Dataset) -> Dataset:
    for keyword in _MAY_BE_EMPTY:
        if keyword not in image or not _valid(keyword, image.get(keyword)):
            _put(image, keyword, None)
    _put(image, "SpecificCharacterSet", "ISO_IR 192")
    return image


def _put(image: Dataset, keyword: str, value: Any) -> None:
    """Another element in its place: the one that is there belongs to the volume's header as well."""
    image.add_new(keyword, dictionary_VR(keyword), value)


def _sex(value: str) -> int:
    return _SEXES.index(value)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM, "PatientSex": _sex,
}  # fmt: skip


def _valid(keyword: str, value: Any) -> bool:
    try:
        _CHECKS.get(keyword, str)(value or "")
    except (ValueError, TypeError):
        return False
    return True
