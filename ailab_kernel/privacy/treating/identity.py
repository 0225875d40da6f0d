"""The values of an object by which its patient is known."""

from collections.abc import Iterator
from functools import lru_cache

from pydicom import Dataset

from ailab_kernel.privacy.elements import elements_of, texts_of, vr_of
from ailab_kernel.privacy.rules.profile import Action, Profile
from ailab_kernel.privacy.rules.text import Cleaner

from .actions import actions_of

# Attributes whose values are looked for in every text that stays, at any depth, beside all names of people.
IDENTIFYING = (
    "PatientID", "OtherPatientIDs", "PatientBirthDate", "PatientBirthName", "PatientMotherBirthName", "PatientAddress",
    "PatientTelephoneNumbers", "MilitaryRank", "AccessionNumber", "StudyID", "AdmissionID", "MedicalRecordLocator",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "ReferringPhysicianAddress",
    "ReferringPhysicianTelephoneNumbers", "RequestedProcedureID", "ScheduledProcedureStepID",
    "FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest", "StationName",
    "DeviceSerialNumber", "ServiceEpisodeID", "PatientInsurancePlanCodeSequence", "ResponsibleOrganization",
)  # fmt: skip


def identifying(ds: Dataset, profile: Profile) -> Iterator[str]:
    """Yield the values of an object that identify and that the profile takes out, at any depth."""
    named, actions = _identifying_tags(), actions_of(profile)
    for element in elements_of(ds):
        vr, tag = vr_of(ds, element), int(element.tag)
        if vr == "SQ":
            for item in ds[tag].value or ():
                yield from identifying(item, profile)
        elif (vr == "PN" or tag in named) and actions[tag, vr] is not Action.KEEP:
            yield from texts_of(ds, element, vr)


@lru_cache(maxsize=64)
def cleaner_of(values: frozenset[str]) -> Cleaner:
    """Return the cleaner for a set of identifying values; slices of a series share it."""
    return Cleaner.of(values)


@lru_cache(maxsize=1)
def _identifying_tags() -> frozenset[int]:
    from pydicom.datadict import tag_for_keyword

    return frozenset(tag for keyword in IDENTIFYING if (tag := tag_for_keyword(keyword)) is not None)
