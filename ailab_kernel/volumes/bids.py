"""What a NIfTI file cannot say, in BIDS terms (bids-specification.readthedocs.io), for the JSON file beside it.

A table: the term, the DICOM keywords it may come from, and how the value is told. Only technical terms are written;
names, numbers and free text that may tell a person, a place or a day are a table of their own, written when asked.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ailab_kernel import __version__

from .volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

Told = Callable[[Any], Any]


def _number(value: Any) -> float | int:
    number = float(value[0] if _many(value) else value)
    return int(number) if number.is_integer() else number


def _seconds(value: Any) -> float | int:
    """From milliseconds; 15 digits, so that 2.3 ms do not become 0.0022999999999999997 s."""
    return _number(float(f"{_number(value) / 1000:.15g}"))


def _numbers(value: Any) -> list[float | int]:
    return [_number(one) for one in (value if _many(value) else [value])]


def _text(value: Any) -> str:
    return "\\".join(str(one) for one in value) if _many(value) else str(value)


def _texts(value: Any) -> list[str]:
    return [str(one) for one in (value if _many(value) else [value])]


def _clock(value: Any) -> str:
    """DICOM's HHMMSS.FFFFFF as BIDS' HH:MM:SS.FFFFFF."""
    time = _text(value)
    return f"{time[:2]}:{time[2:4]}:{float(time[4:]):09.6f}"


def _maker(value: Any) -> str:
    """The maker's name as BIDS data has it, whatever the company was called at the time."""
    lower = _text(value).lower()
    return next((name for start, name in _MAKERS.items() if lower.startswith(start)), _text(value))


def _many(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


_MAKERS = {"siemens": "Siemens", "ge ": "GE", "philips": "Philips", "toshiba": "Toshiba", "canon": "Canon",
           "hitachi": "Hitachi", "uih": "UIH", "bruker": "Bruker", "mediso": "Mediso"}  # fmt: skip

TERMS: dict[str, tuple[str, Told]] = {
    "Modality": ("Modality", _text),
    "Manufacturer": ("Manufacturer", _maker),
    "ManufacturersModelName": ("ManufacturerModelName", _text),
    "SoftwareVersions": ("SoftwareVersions", _text),
    "BodyPart": ("BodyPartExamined", _text),
    "PatientPosition": ("PatientPosition", _text),
    "ImageType": ("ImageType", _texts),
    "SeriesNumber": ("SeriesNumber", _number),
    "AcquisitionNumber": ("AcquisitionNumber", _number),
    "SliceThickness": ("SliceThickness", _number),
    "SpacingBetweenSlices": ("SpacingBetweenSlices", _number),
    "ImageOrientationPatientDICOM": ("ImageOrientationPatient", _numbers),
    # MR
    "MagneticFieldStrength": ("MagneticFieldStrength", _number),
    "ImagingFrequency": ("ImagingFrequency TransmitterFrequency", _number),
    "MRAcquisitionType": ("MRAcquisitionType", _text),
    "ScanningSequence": ("ScanningSequence", _text),
    "SequenceVariant": ("SequenceVariant", _text),
    "ScanOptions": ("ScanOptions", _text),
    "SequenceName": ("SequenceName PulseSequenceName", _text),
    "EchoTime": ("EchoTime EffectiveEchoTime", _seconds),
    "EchoNumber": ("EchoNumbers", _number),
    "EchoTrainLength": ("EchoTrainLength", _number),
    "RepetitionTime": ("RepetitionTime", _seconds),
    "InversionTime": ("InversionTime InversionTimes", _seconds),
    "FlipAngle": ("FlipAngle", _number),
    "NumberOfAverages": ("NumberOfAverages", _number),
    "SAR": ("SAR", _number),
    "PixelBandwidth": ("PixelBandwidth", _number),
    "PercentPhaseFOV": ("PercentPhaseFieldOfView", _number),
    "PercentSampling": ("PercentSampling", _number),
    "PhaseEncodingSteps": ("NumberOfPhaseEncodingSteps", _number),
    "ParallelReductionFactorInPlane": ("ParallelReductionFactorInPlane", _number),
    "ParallelReductionFactorOutOfPlane": ("ParallelReductionFactorOutOfPlane", _number),
    "ParallelAcquisitionTechnique": ("ParallelAcquisitionTechnique", _text),
    "MTState": ("MagnetizationTransfer", lambda value: _text(value) not in ("NONE", "NO")),
    "ReceiveCoilName": ("ReceiveCoilName", _text),
    "InPlanePhaseEncodingDirectionDICOM": ("InPlanePhaseEncodingDirection", lambda value: _text(value)[:3]),
    # CT
    "KVP": ("KVP", _number),
    "XRayTubeCurrent": ("XRayTubeCurrent", _number),
    "XRayExposure": ("Exposure", _number),
    "ExposureTime": ("ExposureTime", _seconds),
    "SpiralPitchFactor": ("SpiralPitchFactor", _number),
    "ReconstructionDiameter": ("ReconstructionDiameter", _number),
    "ConvolutionKernel": ("ConvolutionKernel", _text),
    "ContrastBolusIngredient": ("ContrastBolusIngredient", _text),
    # PET
    "Units": ("Units", _text),
    "DecayCorrection": ("DecayCorrection", _text),
    "AttenuationCorrection": ("AttenuationCorrectionMethod", _text),
    "ReconMethodName": ("ReconstructionMethod", _text),
    "TracerName": ("Radiopharmaceutical", _text),
    "InjectedRadioactivity": ("RadionuclideTotalDose", _number),
    "RadionuclideHalfLife": ("RadionuclideHalfLife", _number),
    "RadionuclidePositronFraction": ("RadionuclidePositronFraction", _number),
    "DoseCalibrationFactor": ("DoseCalibrationFactor", _number),
    "FrameDuration": ("ActualFrameDuration", _seconds),
}
# What a person, a place or a day can be told by, or what people type freely.
ASKED: dict[str, tuple[str, Told]] = {
    "StudyInstanceUID": ("StudyInstanceUID", _text),
    "SeriesInstanceUID": ("SeriesInstanceUID", _text),
    "AcquisitionDateTime": ("AcquisitionDateTime AcquisitionDate", _text),
    "AcquisitionTime": ("AcquisitionTime", _clock),
    "InstitutionName": ("InstitutionName", _text),
    "InstitutionAddress": ("InstitutionAddress", _text),
    "InstitutionalDepartmentName": ("InstitutionalDepartmentName", _text),
    "StationName": ("StationName", _text),
    "DeviceSerialNumber": ("DeviceSerialNumber", _text),
    "StudyDescription": ("StudyDescription", _text),
    "ProcedureStepDescription": ("PerformedProcedureStepDescription", _text),
    "SeriesDescription": ("SeriesDescription", _text),
    "ProtocolName": ("ProtocolName", _text),
}
# Siemens counts MosaicRefAcqTimes in ms, in its private block "SIEMENS MR HEADER" (0019,xx29).
_SLICE_TIMES = (0x0019, 0x29, "SIEMENS MR HEADER")
# Siemens XA: PhaseEncodingDirectionPositive, in its private block "SIEMENS MR SDI 02" (0021,xx1C).
_POSITIVE = (0x0021, 0x1C, "SIEMENS MR SDI 02")


def sidecar(vol: Volume, *, identifying: bool = False) -> dict[str, Any]:
    """BIDS terms of a volume: the first slice's header stands for all.

    Parameters
    ----------
    vol
        With its headers, or with the facts alone (then only they are told).
    identifying
        Whether UIDs, dates, places, descriptions and serial numbers are told as well.
    """
    table = {**TERMS, **(ASKED if identifying else {})}
    source: Mapping[str, Any] = vol.facts if not vol.headers else {}
    told: dict[str, Any] = {}
    for term, (keywords, tell) in table.items():
        value = source.get(keywords) if not vol.headers else _first(vol.headers[0], keywords.split())
        if value is not None and (answer := _told(tell, value)) is not None:
            told[term] = answer
    if vol.headers:
        told |= _slice_timing(vol.headers[0], vol.grid.shape[0]) | _phase_encoding(vol.headers[0])
    return {**told, "ConversionSoftware": "AI-LAB", "ConversionSoftwareVersion": __version__}


def _told(tell: Told, value: Any) -> Any:
    """The value as BIDS has it, or None where it is none of its kind: a wrong fact is worse than a missing one."""
    try:
        return tell(value)
    except (ValueError, TypeError, LookupError, OverflowError):
        return None


def _first(header: "Dataset", keywords: Sequence[str]) -> Any:
    """First value that is not empty, of the header or of its functional groups (enhanced objects, PS3.3 C.7.6.16)."""
    for place in _places(header):
        for keyword in keywords:
            value = place.get(keyword)
            if value is not None and value != "" and not (_many(value) and not len(value)):
                return value
    return None


def _places(header: "Dataset") -> "Iterator[Dataset]":
    yield header
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in (header.get(keyword) or ())[:1]:
            for element in group:
                if element.VR == "SQ":
                    yield from element.value[:1]


def _slice_timing(header: "Dataset", slices: int) -> dict[str, list[float]]:
    """Siemens mosaics say when each slice was taken, in ms; from others it is not known for certain."""
    times = _private(header, *_SLICE_TIMES)
    if times is None or not _many(times) or len(times) != slices:
        return {}
    return {"SliceTiming": [round(float(one) / 1000, 6) for one in times]}


def _phase_encoding(header: "Dataset") -> dict[str, str]:
    """Axis and polarity along the axes of our NIfTI files; only Siemens states the polarity.

    j runs against the rows (`volumes.nifti_header.turn`): positive along the columns is j-.
    """
    along = _first(header, ["InPlanePhaseEncodingDirection"])
    positive = _positive(header)
    if along is None or positive is None:
        return {}
    axis = {"ROW": "i", "COL": "j"}.get(_text(along)[:3].upper())
    return {"PhaseEncodingDirection": axis + ("" if positive == (axis == "i") else "-")} if axis else {}


def _positive(header: "Dataset") -> bool | None:
    for place in _places(header):
        value = _private(place, *_POSITIVE)
        if value is not None:
            return _text(value).strip() == "1"
    data = _private(header, 0x0029, 0x10, "SIEMENS CSA HEADER")
    return _csa_positive(data) if isinstance(data, bytes) else None


def _csa_positive(data: bytes) -> bool | None:
    """PhaseEncodingDirectionPositive in Siemens' own header (SV10): a name of 64 bytes, 20 of counts, 16 of lengths."""
    name = b"PhaseEncodingDirectionPositive\0"
    at = data.find(name)
    text = data[at + 100 : at + 108].split(b"\0")[0].strip() if data.startswith(b"SV10") and at >= 0 else b""
    return {b"1": True, b"0": False}.get(text)


def _private(header: "Dataset", group: int, element: int, creator: str) -> Any:
    try:
        return header.private_block(group, creator)[element].value
    except KeyError:
        return None
