"""Structured report (TID 1500, PS3.16) out, by highdicom: the volume of each label, bound to the SEG and its series."""

import warnings
from typing import TYPE_CHECKING

from pydicom import Dataset

from ailab_kernel.dicom.codes import MILLILITER, VOLUME, Code
from ailab_kernel.dicom.parsing import guarded
from ailab_kernel.ground.errors import ObjectError
from ailab_kernel.volumes.masks import Label, Mask
from ailab_kernel.volumes.volume import Volume

from .provenance import MANUFACTURER, Provenance, settle
from .source import need_images, source_images

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept, VolumetricROIMeasurementsAndQualitativeEvaluations

_SERIES_NUMBER = 9001
_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")


def write_sr(mask: Mask, vol: Volume, provenance: Provenance, *, seg: Dataset) -> Dataset:
    """Write the volumes of a mask as a TID 1500 measurement report.

    Parameters
    ----------
    mask
        The mask that ``seg`` holds.
    vol
        The source series, with its headers.
    provenance
        The same as the SEG's.
    seg
        What `write_seg` gave.

    Raises
    ------
    ObjectError
        The volume did not come from DICOM.
    DicomError
        Source headers that cannot be carried over.
    """
    from highdicom.sr import Comprehensive3DSR, MeasurementReport

    need_images(vol, "a structured report")
    with guarded(f"headers of series {vol.series_uid}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom comments on headers of other makers; they are kept as they are
        report = MeasurementReport(
            observation_context=_context(provenance), procedure_reported=coded(_PROCEDURE),
            imaging_measurements=[_group(n, label, mask, vol, seg, provenance)
                                  for n, label in enumerate(mask.labels, 1)],
        )  # fmt: skip
        sr = Comprehensive3DSR(
            evidence=[*source_images(vol), seg], content=report[0], series_number=_SERIES_NUMBER,
            series_instance_uid=provenance.uid("sr series"), sop_instance_uid=provenance.uid("sr"), instance_number=1,
            manufacturer=MANUFACTURER, is_complete=True, is_final=False, is_verified=False,
        )  # fmt: skip
    sr.ManufacturerModelName, sr.SoftwareVersions = provenance.model, provenance.release
    return settle(sr, provenance, sop_uid=provenance.uid("sr"))


def _context(provenance: Provenance):  # noqa: ANN202 - highdicom is imported late
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes

    device = DeviceObserverIdentifyingAttributes(
        uid=provenance.uid("device"), name=provenance.algorithm, manufacturer_name=MANUFACTURER,
        model_name=f"{provenance.algorithm} {provenance.version}".strip(),
    )  # fmt: skip
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return ObservationContext(observer_device_context=observer)


def _group(
    number: int, label: Label, mask: Mask, vol: Volume, seg: Dataset, provenance: Provenance
) -> "VolumetricROIMeasurementsAndQualitativeEvaluations":
    from highdicom.sr import (
        Measurement,
        ReferencedSegment,
        SourceSeriesForSegmentation,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    segment = ReferencedSegment(
        seg.SOPClassUID, seg.SOPInstanceUID, segment_number=number,
        source_series=SourceSeriesForSegmentation(vol.series_uid),
    )  # fmt: skip
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=provenance.uid(f"tracking {label.name}"), identifier=label.name),
        referenced_segment=segment, finding_type=coded(label.code), finding_category=coded(label.category),
        measurements=[Measurement(coded(VOLUME), round(mask.volumes_ml()[label.name], 3), coded(MILLILITER))],
    )  # fmt: skip


def coded(code: Code) -> "CodedConcept":
    """Return the code as highdicom's coded concept."""
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def read_sr_volumes(ds: Dataset) -> dict[str, float]:
    """Return the volume in ml of each measurement group of a TID 1500 report, by tracking identifier.

    Raises
    ------
    ObjectError
        Not a structured report.
    """
    if ds.get("Modality") != "SR" or "ContentSequence" not in ds:
        msg = "not a structured report; give an SR object"
        raise ObjectError(msg)
    return {name: ml for group in _containers(ds, "125007") for name, ml in [_measured(group)] if name}


def _containers(item: Dataset, code: str) -> list[Dataset]:
    """Every content item below ``item`` whose concept has this DCM code (125007: Measurement Group)."""
    found: list[Dataset] = []
    for child in item.get("ContentSequence", ()):
        name = child.get("ConceptNameCodeSequence")
        found += [child] if name and name[0].get("CodeValue") == code else _containers(child, code)
    return found


def _measured(group: Dataset) -> tuple[str, float]:
    by_code = {str(child.ConceptNameCodeSequence[0].CodeValue): child for child in group.ContentSequence}
    tracking, volume = by_code.get("112039"), by_code.get(VOLUME.value)
    if tracking is None or volume is None:
        return "", 0.0
    return str(tracking.TextValue), float(volume.MeasuredValueSequence[0].NumericValue)
