"""A made-up archive of CT and MR slices as scanners write them: some hundred attributes, sequences, private blocks."""

from pathlib import Path

import numpy as np
from pydicom import Dataset, Sequence
from pydicom.uid import CTImageStorage, MRImageStorage

from tests.objects.drawings import encoded
from tests.privacy.battery.studies import Person
from tests.volumes.synthetic import grid, series

CT_SIZE, MR_SIZE = 512, 320
_SEED = 77


def write(folder: Path, studies: int, *, slices: int = 2) -> int:
    """Write studies of CT and MR in turn, one file a slice in a folder of their own; return the bytes written."""
    total, planes = 0, {size: _plane(size) for size in (CT_SIZE, MR_SIZE)}
    for number in range(1, studies + 1):
        person = Person(_SEED, number)
        for place in range(slices):
            data = encoded(instance(person, place, planes[CT_SIZE if number % 2 else MR_SIZE]))
            path = folder / f"{number:04d}" / f"IM{place:04d}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            total += len(data)
    return total


def instance(person: Person, place: int, plane: np.ndarray) -> Dataset:
    """One slice of a person; its pixels differ from slice to slice."""
    ds = series(grid(shape=(1, *plane.shape)), array=(plane + place)[None])[0]
    for keyword, value in (person.header | (_CT if len(plane) == CT_SIZE else _MR) | _BOTH).items():
        setattr(ds, keyword, value)
    ds.SOPInstanceUID, ds.SeriesInstanceUID = person.uid(f"image {place}"), person.uid("series")
    ds.file_meta.MediaStorageSOPInstanceUID, ds.file_meta.MediaStorageSOPClassUID = ds.SOPInstanceUID, ds.SOPClassUID
    ds.InstanceNumber, ds.AcquisitionDateTime = str(place + 1), f"{ds.StudyDate}101700.25"
    ds.OperatorsName, ds.PerformingPhysicianName = f"{person.word('operator')}^Bo", f"{person.word('performing')}^Cy"
    ds.RequestAttributesSequence = [_of(RequestedProcedureID=person.word("rp"),
                                        RequestedProcedureDescription="CT chest",
                                        ScheduledProcedureStepID=person.word("sps"),
                                        ScheduledProtocolCodeSequence=[_code()])]  # fmt: skip
    ds.ProcedureCodeSequence, ds.DeviceSerialNumber = [_code()], person.word("serial").upper()
    ds.ReferencedStudySequence = [_reference(person.uid("study"), "1.2.840.10008.3.1.2.3.1")]
    ds.ReferencedImageSequence = [_reference(person.uid(f"scout {n}"), CTImageStorage) for n in range(3)]
    ds.PerformedProcedureStepStartDate, ds.PerformedProcedureStepStartTime = ds.StudyDate, "101512"
    ds.PerformedProcedureStepID, ds.PerformedProcedureStepDescription = person.word("pps").upper(), "CT chest"
    _private(ds, person)
    return ds


_BOTH = {
    "SoftwareVersions": "VB10", "ProtocolName": "5.1 thorax routine", "ImageComments": "", "PatientPosition": "HFS",
    "SliceLocation": "-311.5", "InstitutionalDepartmentName": "Radiology",
    "PixelSpacing": ["0.703125", "0.703125"],
    "ImagePositionPatient": ["-179.648", "-331.648", "-311.5"],
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "SliceThickness": "1.5", "WindowCenter": ["40", "-600"], "WindowWidth": ["400", "1500"],
    "WindowCenterWidthExplanation": ["WINDOW1", "WINDOW2"], "SpecificCharacterSet": "ISO_IR 100",
    "PatientSize": "1.71", "MedicalAlerts": "", "InstanceCreationDate": "20220304",
    "InstanceCreationTime": "101733.125",
}  # fmt: skip
_CT = {
    "SOPClassUID": CTImageStorage, "Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"],
    "KVP": "120", "DataCollectionDiameter": "500", "ReconstructionDiameter": "360", "DistanceSourceToDetector": "1040",
    "DistanceSourceToPatient": "570", "GantryDetectorTilt": "0", "TableHeight": "151", "RotationDirection": "CW",
    "ExposureTime": "500", "XRayTubeCurrent": "211", "Exposure": "105", "FilterType": "WEDGE_3", "GeneratorPower": "26",
    "FocalSpots": "1.2", "ConvolutionKernel": "B30f", "CTDIvol": 7.1, "SpiralPitchFactor": 0.9, "RescaleType": "HU",
    "SingleCollimationWidth": 0.6, "TotalCollimationWidth": 38.4, "TableFeedPerRotation": 34.5, "ScanOptions": "SPIRAL",
}  # fmt: skip
_MR = {
    "SOPClassUID": MRImageStorage, "Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
    "ScanningSequence": "SE", "SequenceVariant": "SK", "MRAcquisitionType": "2D", "SequenceName": "*tse2d1_13",
    "AngioFlag": "N", "RepetitionTime": "4500", "EchoTime": "96", "NumberOfAverages": "2", "ImagingFrequency": "63.6",
    "ImagedNucleus": "1H", "EchoNumbers": "1", "MagneticFieldStrength": "1.5", "SpacingBetweenSlices": "3.6",
    "NumberOfPhaseEncodingSteps": "300", "EchoTrainLength": "13", "PercentSampling": "80", "PixelBandwidth": "190",
    "TransmitCoilName": "Body", "AcquisitionMatrix": [320, 0, 0, 240], "InPlanePhaseEncodingDirection": "ROW",
    "FlipAngle": "150", "VariableFlipAngleFlag": "N", "SAR": "0.6", "dBdt": "0",
}  # fmt: skip


_VALUES = (("DS", "12.5"), ("SS", -3), ("SH", "mode 4"), ("LO", "filter soft"), ("US", 7), ("FL", 0.25))


def _private(ds: Dataset, person: Person) -> None:
    """Blocks as makers write them, some 35 attributes, one of them a header of 12 KiB that also knows the patient."""
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x10, "OB", (b"SV10\4\3\2\1" + person.last.encode()).ljust(12_288, b"\0"))
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    block.add_new(0x0E, "FD", [0.0, 1.0, 0.0])
    for group, creator in ((0x0021, "ACME ACQUISITION"), (0x0043, "ACME PARAMETERS")):
        block = ds.private_block(group, creator, create=True)
        for element in range(14):
            block.add_new(element + 1, *_VALUES[element % len(_VALUES)])


def _plane(size: int) -> np.ndarray:
    noise = np.random.default_rng(size).normal(0, 20, (size, size))
    row, column = np.ogrid[:size, :size]
    body = ((row - size / 2.1) / 170) ** 2 + ((column - size / 2) / 215) ** 2 < 0.4
    return (np.where(body, 40, -1000) + noise).astype("<i2")


def _code() -> Dataset:
    return _of(CodeValue="CTTHOR", CodingSchemeDesignator="99LOCAL", CodeMeaning="CT chest without contrast")


def _reference(uid: str, kind: str) -> Dataset:
    return _of(ReferencedSOPClassUID=kind, ReferencedSOPInstanceUID=uid)


def _of(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, Sequence(value) if keyword.endswith("Sequence") else value)
    return ds
