import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_VR

from ailab_kernel.volumes.bids import ASKED, TERMS, sidecar
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.series import volume_from_datasets, volumes_from_folder
from ailab_kernel.volumes.volume import Volume

from .synthetic import grid, series

# What the references of dcm2niix's suites say otherwise, and why.
DIFFERENT = {
    "ImageType": "dcm2niix adds MAGNITUDE, PHASE, FIELDMAPHZ by its own judgement and splits words at _",
    "AcquisitionTime": "dcm2niix does not pad seconds to two digits",
    "AcquisitionNumber": "of the first volume of a four-dimensional file",
    "EchoNumber": "counted by dcm2niix across the series",
    "ScanningSequence": "research mode (RM) of the private part",
    "PixelBandwidth": "from Philips' private water-fat shift",
    "SliceTiming": "dcm2niix takes the times of another repetition",
    "ParallelReductionFactorInPlane": "from Siemens' private protocol",
    "ConversionSoftware": "", "ConversionSoftwareVersion": "",
}  # fmt: skip


def told(*, identifying=False, **elements) -> dict:
    slices = series()
    for ds in slices:
        for keyword, value in elements.items():
            ds.add_new(keyword, dictionary_VR(keyword), value)
    return sidecar(volume_from_datasets(slices), identifying=identifying)


def test_units_are_bids_units():
    found = told(EchoTime=30, RepetitionTime="2200.0", InversionTime=900.5, ExposureTime=500, FlipAngle=8)
    assert (found["EchoTime"], found["RepetitionTime"], found["InversionTime"]) == (0.03, 2.2, 0.9005)
    assert (found["ExposureTime"], found["FlipAngle"], found["SliceThickness"]) == (0.5, 8, pytest.approx(3.7))
    assert len(found["ImageOrientationPatientDICOM"]) == 6
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(("maker", "name"), [("SIEMENS", "Siemens"), ("GE MEDICAL SYSTEMS", "GE"), ("Own", "Own"),
                                             ("Philips Medical Systems", "Philips"), ("Siemens Healthineers", "Siemens")])  # fmt: skip
def test_makers_have_one_name(maker, name):
    assert told(Manufacturer=maker)["Manufacturer"] == name


def test_nothing_that_tells_a_person_unless_asked():
    secrets = {"PatientName": "Doe^Jane", "PatientID": "ID-4711", "PatientBirthDate": "19500102", "StudyDate": "20260102",
               "AccessionNumber": "ACC-1", "StudyDescription": "for Dr. Who", "SeriesDescription": "chest of Jane",
               "ProtocolName": "janes protocol", "InstitutionName": "St. Elsewhere", "DeviceSerialNumber": "SN-99",
               "ReferringPhysicianName": "Who^Dr", "StationName": "ROOM7", "AcquisitionTime": "030405.25"}  # fmt: skip
    text = json.dumps(told(**secrets))
    for value in (*secrets.values(), "study", "2.25."):
        assert value not in text
    asked = told(identifying=True, **secrets)
    assert asked["SeriesDescription"] == "chest of Jane"
    assert asked["AcquisitionTime"] == "03:04:05.250000"
    assert asked["SeriesInstanceUID"].startswith("2.25.")
    text = json.dumps(asked)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "ReferringPhysicianName"):
        assert secrets[keyword] not in text


def test_the_tables_know_their_keywords():
    assert not set(TERMS) & set(ASKED)
    for keywords, _ in [*TERMS.values(), *ASKED.values()]:
        assert all(dictionary_VR(keyword) for keyword in keywords.split())
    assert not any("Patient" in word and word not in ("PatientPosition", "ImageOrientationPatient")
                   for keywords, _ in [*TERMS.values(), *ASKED.values()] for word in keywords.split())  # fmt: skip


@pytest.mark.parametrize("value", ["", None, "thirty"])
def test_a_value_of_no_kind_is_left_out(value):
    ds = Dataset()
    ds.Modality = "MR"
    if value == "thirty":
        ds.add_new("BodyPartExamined", "CS", "HEAD")
        ds.add_new("FlipAngle", "LO", value)  # another VR than the dictionary's, as foreign files have
    else:
        ds.FlipAngle = value
    vol = Volume(np.zeros((5, 6, 7), np.int16), grid(), headers=(ds,))
    assert "FlipAngle" not in sidecar(vol)


def test_without_headers_the_facts_are_told():
    vol = Volume(np.zeros((5, 6, 7), np.int16), grid(), facts={"Modality": "CT", "KVP": "120", "ConvolutionKernel": "B30f",
                                                               "PatientSex": "F"})  # fmt: skip
    found = sidecar(vol)
    assert (found["Modality"], found["KVP"], found["ConvolutionKernel"]) == ("CT", 120, "B30f")
    assert "F" not in found.values()


def siemens(along: str, positive: bytes) -> Volume:
    ds = Dataset()
    ds.Modality, ds.InPlanePhaseEncodingDirection = "MR", along
    name = b"PhaseEncodingDirectionPositive".ljust(64, b"\0")
    csa = b"SV10" + bytes(12) + name + bytes(20) + bytes(16) + positive.ljust(8, b"\0")
    ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa)
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x29, "FD", [0.0, 1450.0, 482.5])
    return Volume(np.zeros((3, 2, 2), np.int16), Grid((3, 2, 2), np.eye(4)), headers=(ds,))


@pytest.mark.parametrize(("along", "positive", "expected"), [
    ("COL", b"1", "j-"), ("COL", b"0", "j"), ("ROW", b"1", "i"), ("ROW", b"0", "i-"), ("COL", b"", None), ("OTHER", b"1", None),
])  # fmt: skip
def test_the_phase_direction_only_where_it_is_certain(along, positive, expected):
    assert sidecar(siemens(along, positive)).get("PhaseEncodingDirection") == expected


def test_slice_times_are_those_of_a_mosaic():
    vol = siemens("COL", b"1")
    assert sidecar(vol)["SliceTiming"] == [0.0, 1.45, 0.4825]
    other = Volume(np.zeros((4, 2, 2), np.int16), Grid((4, 2, 2), np.eye(4)), headers=vol.headers)
    assert "SliceTiming" not in sidecar(other), "as many times as slices, or none"


def same(ours, theirs) -> bool:
    if isinstance(ours, list):
        return isinstance(theirs, list) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return abs(ours - theirs) <= 1e-5 * max(1, abs(theirs))  # six digits are printed there
    return ours == theirs


@pytest.mark.parametrize(("folder", "at_least"), [("dcm_qa_nih", 5), ("dcm_qa_enh", 2)])
def test_terms_equal_those_of_dcm2niixs_references(shared_data, folder, at_least):
    references = [json.loads(path.read_text()) for path in sorted((shared_data / folder / "Ref").glob("*.json"))]
    compared = set()
    for vol in volumes_from_folder(shared_data / folder / "In").volumes:
        ours = sidecar(vol, identifying=True)
        theirs = next((one for one in references if one["SeriesNumber"] == ours["SeriesNumber"]
                       and one["Manufacturer"] == ours["Manufacturer"]
                       and one["SeriesDescription"] in ours["SeriesDescription"]), None)  # fmt: skip
        if theirs:
            compared.add((ours["SeriesNumber"], ours["Manufacturer"]))
            wrong = {term: (ours[term], theirs[term]) for term in set(ours) & set(theirs) - set(DIFFERENT)
                     if not same(ours[term], theirs[term])}  # fmt: skip
            assert not wrong
    assert len(compared) >= at_least


def test_terms_equal_those_that_dcm2niix_writes(tmp_path):
    (tmp_path / "in").mkdir()
    for number, ds in enumerate(series()):
        ds.EchoTime, ds.RepetitionTime, ds.FlipAngle, ds.MagneticFieldStrength, ds.Modality = 4.6, 8.03, 8, 1.5, "MR"
        ds.Manufacturer, ds.ManufacturerModelName, ds.ImagingFrequency = "SIEMENS", "Aera", 63.67
        ds.ScanningSequence, ds.SequenceVariant, ds.MRAcquisitionType, ds.PixelBandwidth = "GR", ["SP", "MP"], "2D", 217
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        ds.save_as(tmp_path / "in" / f"{number}.dcm", enforce_file_format=True)
    tool = Path(sys.executable).with_name("dcm2niix")
    subprocess.run([tool, "-b", "o", "-o", tmp_path, "-f", "x", tmp_path / "in"], check=True, capture_output=True)
    theirs = json.loads((tmp_path / "x.json").read_text())
    ours = sidecar(volumes_from_folder(tmp_path / "in").volumes[0])
    shared = set(ours) & set(theirs) - set(DIFFERENT)
    assert {"EchoTime", "RepetitionTime", "FlipAngle", "MagneticFieldStrength", "Manufacturer", "SliceThickness"} <= shared
    for term in shared:
        assert same(ours[term], theirs[term]), (term, ours[term], theirs[term])
