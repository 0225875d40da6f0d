"""A report as a FHIR R4 DiagnosticReport that holds its observations, created once however often it is sent."""

from typing import Any

from ailab_kernel.dicom.codes import Code
from ailab_kernel.ground.errors import ArchiveRefused, ArchiveUnreachable
from ailab_kernel.ground.references import secret

from .report import WARNING, Finding, Report

_SYSTEMS = {"SCT": "http://snomed.info/sct", "LN": "http://loinc.org", "DCM": "http://dicom.nema.org/resources/ontology/DCM",
            "UCUM": "http://unitsofmeasure.org"}  # fmt: skip
_UID = "urn:dicom:uid"
_VOLUME, _REPORT = Code("118565006", "SCT", "Volume"), Code("18748-4", "LN", "Diagnostic imaging report")
_TIMEOUT_S = 30.0


def resource(report: Report, *, patient_system: str = "") -> dict[str, Any]:
    """Return the resource as JSON values.

    Parameters
    ----------
    report
        What is told.
    patient_system
        Identifier system of PatientID (0010,0020).
    """
    when, header = report.when.isoformat(timespec="seconds"), report.header
    observations = [_observation(number, one, when) for number, one in enumerate(report.findings, 1)]
    number = {"system": patient_system, "value": header["PatientID"]}
    told = {
        "resourceType": "DiagnosticReport",
        "identifier": [{"system": _UID, "value": f"urn:oid:{report.uid}"}],
        "status": "preliminary",
        "code": _concept(_REPORT),
        "subject": {"identifier": {key: value for key, value in number.items() if value}},
        "issued": when,
        "imagingStudy": [{"identifier": {"system": _UID, "value": f"urn:oid:{header['StudyInstanceUID']}"}}],
        "contained": observations,
        "result": [{"reference": f"#{one['id']}"} for one in observations],
        "conclusion": f"{report.model}. {WARNING}",
    }  # fmt: skip
    return {key: value for key, value in told.items() if value}


def create(base: str, report: Report, *, token: str = "", ca: str = "", patient_system: str = "") -> None:
    """Create it on a server, unless it is there (If-None-Exist, FHIR R4 3.1.0.8.1).

    Parameters
    ----------
    base
        The server's base, ``https://fhir.example/r4``.
    report
        What is told.
    token
        Reference to a bearer token; empty for none.
    ca
        File of the authority that signs the server's certificate; empty for the system's own.
    patient_system
        Identifier system of PatientID (0010,0020).

    Raises
    ------
    ArchiveUnreachable, ArchiveRefused
        Nobody answers, or the server does not take it.
    """
    import requests

    headers = {"Content-Type": "application/fhir+json", "If-None-Exist": f"identifier={_UID}|urn:oid:{report.uid}"}
    if token:
        headers["Authorization"] = f"Bearer {secret(token, what='destination').decode().strip()}"
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = ca or True
            told = resource(report, patient_system=patient_system)
            answer = session.post(f"{base.rstrip('/')}/DiagnosticReport", json=told, headers=headers,
                                  timeout=_TIMEOUT_S, allow_redirects=False)  # fmt: skip
    except (requests.RequestException, OSError) as error:
        msg = f"the FHIR server at {base} does not answer ({type(error).__name__}); check its address and certificate"
        raise ArchiveUnreachable(msg) from None
    if answer.status_code >= 500:
        msg = f"the FHIR server at {base} cannot take it now (status {answer.status_code})"
        raise ArchiveUnreachable(msg)
    if answer.status_code not in (200, 201):
        msg = f"the FHIR server at {base} does not take it (status {answer.status_code}); its own log tells why"
        raise ArchiveRefused(msg)


def _observation(number: int, finding: Finding, when: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation", "id": f"o{number}", "status": "preliminary", "code": _concept(_VOLUME),
        "bodySite": {**_concept(finding.code), "text": finding.label}, "effectiveDateTime": when,
        "valueQuantity": {"value": round(finding.volume_ml, 1), "unit": "ml", "system": _SYSTEMS["UCUM"], "code": "mL"},
    }  # fmt: skip


def _concept(code: Code) -> dict[str, Any]:
    system = _SYSTEMS.get(code.scheme)
    return {"coding": [{**({"system": system} if system else {}), "code": code.value, "display": code.meaning}]}
