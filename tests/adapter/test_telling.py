"""A reporting system is told of findings: a real HL7 listener and a real FHIR server, and what they may answer."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from ailab_kernel.adapter.telling import Finding, Report, report_of, tell
from ailab_kernel.adapter.telling.diagnostic_report import resource
from ailab_kernel.adapter.telling.oru import control_id, message
from ailab_kernel.dicom.codes import CARDIAC_CHAMBER, MYOCARDIUM
from ailab_kernel.ground.errors import ArchiveRefused, ArchiveUnreachable, SettingsError
from tests.adapter.listening import hl7
from tests.context.test_fhir import fhir

WHEN = datetime(2026, 11, 30, 9, 30, 15, tzinfo=UTC)
FINDINGS = (Finding("heart-wall", MYOCARDIUM, 90.31), Finding("heart-cavity", CARDIAC_CHAMBER, 313.96))


def header(**more) -> Dataset:
    ds = Dataset()
    told = {"PatientName": "Quill&feather^Zoë|Ann^^Dr^MD", "PatientID": "MRN^77~4711", "IssuerOfPatientID": "GENERAL", "PatientSex": "F",
            "PatientBirthDate": "19610203", "AccessionNumber": "A|17", "StudyInstanceUID": "1.2.3.4", "StudyDate": "20261130",
            "StudyTime": "081500.25"}
    for keyword, value in (told | more).items():
        setattr(ds, keyword, value)
    return ds


@pytest.fixture
def report() -> Report:
    return report_of("w-1", header(), model="heart-wall@3", when=WHEN, findings=FINDINGS, objects=("2.25.1", "2.25.2"))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_listener_that_is_not_ours_reads_whose_it_is_and_what_was_found(report, tmp_path, tls):
    with hl7(tmp_path, tls=tls) as there:
        tell(there.url, report)
        tell(there.url, report)
    first, again = there.came
    assert first["read"] == again["read"]
    assert first["read"] | {} == {
        "MSH.9.1": "ORU", "MSH.10": control_id(report), "MSH.12": "2.5.1", "PID.3.1": "MRN^77~4711", "PID.5.1": "Quill&feather",
        "PID.5.2": "Zoë|Ann", "PID.8": "F", "OBR.2": "A|17", "OBR.25": "P"}
    rows = [line.split("|") for line in message(report).decode().split("\r") if line.startswith("OBX")]
    assert [(row[4], row[5]) for row in rows if row[2] == "NM"] == [("heart-wall", "90.3"), ("heart-cavity", "314.0")]
    assert [row[5] for row in rows if row[2] == "CWE"] == ["74281007^Myocardium^SCT", "276456003^Cardiac chamber^SCT"]
    assert {row[11] for row in rows} == {"P"}
    assert first["text"].encode().replace(b"\n", b"\r").rstrip(b"\r") == message(report, receiver="RIS").rstrip(b"\r")


@given(st.text(max_size=30), st.text(max_size=16))
def test_no_value_makes_a_field_or_a_segment_of_its_own(name, accession):
    plain = report_of("w", header(), model="m@1", when=WHEN, findings=FINDINGS, objects=())
    told = message(replace(plain, header=plain.header | {"PatientName": name, "AccessionNumber": accession})).decode()
    lines = told.split("\r")
    assert [line[:3] for line in lines] == ["MSH", "PID", "OBR", *["OBX"] * 6, ""]
    assert len(lines[1].split("|")) == 9
    assert len(lines[2].split("|")) == 26
    assert "\n" not in told


def test_what_a_listener_does_not_take_is_refused_and_what_does_not_answer_is_tried_again(report, tmp_path):
    with hl7(tmp_path, "AE", "AR", "AA") as there:
        for _ in range(2):
            with pytest.raises(ArchiveRefused, match="its own log tells why") as caught:
                tell(there.url, report)
            assert "4711" not in str(caught.value)
        tell(there.url, report)
    with pytest.raises(ArchiveUnreachable, match="no acknowledgement"):
        tell(there.url, report)


def test_another_authority_is_not_believed(report, tmp_path):
    with hl7(tmp_path / "one", tls=True) as there, hl7(tmp_path / "two", tls=True) as other:
        wrong = there.url.split("?")[0] + "?" + other.url.split("?")[1]
        with pytest.raises(ArchiveUnreachable, match="SSL"):
            tell(wrong, report)
    assert not there.came


def test_a_fhir_server_that_is_not_ours_takes_the_report(report, tmp_path):
    with fhir(tmp_path) as server:
        url = f"fhir+{server.url}?token={server.token}&ca={server.ca}&patient_system=urn:oid:1.2.3.4"
        tell(url, report)
        (told,) = [json.loads(line) for line in (tmp_path / "created.jsonl").read_text().splitlines()]
        wrong = url.replace("token=file:", "token=env:NOBODY_SET_THIS&x=")
        with pytest.raises(SettingsError, match="is no reporting system"):
            tell(wrong, report)
        with pytest.raises(ArchiveRefused, match="status 401"):
            tell(f"fhir+{server.url}?ca={server.ca}", report)
    assert told["status"] == "preliminary"
    assert told["subject"]["identifier"] == {"system": "urn:oid:1.2.3.4", "value": "MRN^77~4711"}
    volumes = {one["bodySite"]["text"]: one["valueQuantity"]["value"] for one in told["contained"]}
    assert volumes == {"heart-wall": 90.3, "heart-cavity": 314.0}
    assert {one["reference"] for one in told["result"]} == {f"#{one['id']}" for one in told["contained"]}
    assert told["imagingStudy"][0]["identifier"]["value"] == "urn:oid:1.2.3.4"
    with pytest.raises(ArchiveUnreachable):
        tell(url, report)


def test_a_report_is_the_same_after_it_was_written_and_shows_nobody(report, tmp_path):
    report.save(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json") == report
    assert "4711" not in repr(report)
    assert resource(report)["identifier"][0]["value"] == f"urn:oid:{report.uid}"


@pytest.mark.parametrize("url", ["mllp://ris", "https://ris.example", "mllp://ris:1?ca=x", "fhir+http://x/r4?ca=y"])
def test_a_url_that_is_no_reporting_system_is_said(report, url):
    with pytest.raises(SettingsError):
        tell(url, report)
