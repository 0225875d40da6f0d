"""The source images as the writing library needs them: whole and in UTF-8, whatever was left out on the way."""

from collections.abc import Callable
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage
from pydicom.valuerep import DA, TM

from ailab_kernel.dicom.uids import derived_uid
from ailab_kernel.volumes.volume import Volume

# Type 2 of the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): there, but may be empty.
_MAY_BE_EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                 "AccessionNumber", "ReferringPhysicianName")  # fmt: skip
_CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}
_SEXES = ("", "M", "F", "O")


def source_images(vol: Volume) -> list[Dataset]:
    """Return the headers of a volume, completed; the volume's own stay as they are.

    Patient and study are taken from the first one: its text becomes UTF-8 (ISO_IR 192), which holds every name, while
    the libraries know only some of the character sets in use. Values that are no value of their kind become empty.
    """
    frame = vol.frame_of_reference_uid or derived_uid(vol.series_uid, "frame")
    images = [_placed(header, frame, vol.spacing_mm[0]) for header in vol.headers]
    return [_named(images[0]), *images[1:]]


def _placed(header: Dataset, frame: str, spacing_mm: float) -> Dataset:
    image = Dataset({element.tag: element for element in header})  # decoded by the header's own character set
    _put(image, "SOPClassUID", image.get("SOPClassUID") or _CLASSES.get(str(image.get("Modality")), CTImageStorage))
    _put(image, "FrameOfReferenceUID", frame)
    _put(image, "SliceThickness", image.get("SliceThickness") or f"{spacing_mm:.6g}")
    return image


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
