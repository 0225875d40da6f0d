"""What is known of a patient, read from a real FHIR server over TLS: several pages, a token, and every kind of no."""

import json
import subprocess
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from ailab_kernel.context import KINDS, FhirServer, Known, met
from ailab_kernel.ground.errors import ContextError, SettingsError
from hub_config import proxy
from tests.hub.hubs import free_ports
from tests.hub.providers import PLACE
from tests.services import http_server, need_service
from tests.tls import certificate

SYSTEM, NUMBER = "urn:oid:1.2.3.4", "MRN-77-4711"


def concept(code, text, system="http://snomed.info/sct"):
    return {"coding": [{"system": system, "code": code, "display": text}]}


def about(number, **more):
    return {"id": f"r{number}", "subject": {"reference": "Patient/p1"}, **more}


RESOURCES = {
    "Patient": [
        {"resourceType": "Patient", "id": "p1", "identifier": [{"system": SYSTEM, "value": NUMBER}], "name": [{"family": "Quillfeather"}]},
        {"resourceType": "Patient", "id": "p2", "identifier": [{"system": "urn:oid:9.9", "value": NUMBER}]},
        {"resourceType": "Patient", "id": "p3", "identifier": [{"system": SYSTEM, "value": "twice"}]},
        {"resourceType": "Patient", "id": "p4", "identifier": [{"system": SYSTEM, "value": "twice"}]},
    ],
    "Condition": [
        *(about(n, code=concept(f"90{n}", f"finding {n}")) for n in range(7)),
        about(8, code=concept("254637007", "Non-small cell lung cancer"), verificationStatus={"coding": [{"code": "refuted"}]}),
        {"id": "r9", "subject": {"reference": "Patient/p2"}, "code": concept("1", "somebody else's")},
    ],
    "Procedure": [
        about(1, status="completed", code=concept("173171007", "Lobectomy of lung")),
        about(2, status="not-done", code=concept("232717009", "Coronary artery bypass")),
    ],
    "Device": [{"id": "d1", "patient": {"reference": "Patient/p1"}, "status": "active", "type": {"text": "Cardiac pacemaker"}}],
    "MedicationStatement": [about(1, status="active", medicationReference={"reference": "Medication/1", "display": "Amiodarone 200 mg"})],
    "MedicationRequest": [about(1, status="active", intent="order", medicationCodeableConcept=concept("11289", "warfarin"))],
}


@contextmanager
def fhir(folder: Path, *, resources=None, token="for-tests-only", page=3):
    """The server as it is reached, with its token in a file."""
    need_service(str(PLACE / "node_modules" / "@asymmetrik"), package="none: make .venv/provider-ready")
    cert, key = certificate(folder, "fhir")
    settings, (port, secret) = folder / "fhir.json", (free_ports(), folder / "token")
    settings.write_text(json.dumps({"port": port, "cert": str(cert), "key": str(key), "token": token, "page": page,
                                    "resources": RESOURCES if resources is None else resources}))
    secret.write_text(token + "\n")
    secret.chmod(0o600)
    with (folder / "fhir.log").open("wb") as log:
        running = subprocess.Popen([proxy.node(), str(Path(__file__).parent / "fhir.cjs"), str(settings), str(PLACE)],
                                   stdout=subprocess.PIPE, stderr=log)
        try:
            assert running.stdout.readline() == b"ready\n", (folder / "fhir.log").read_text()
            yield FhirServer(f"https://127.0.0.1:{port}/4_0_1", SYSTEM, token=f"file:{secret}", ca=str(cert))
        finally:
            running.terminate()
            running.communicate(timeout=30)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with fhir(tmp_path_factory.mktemp("fhir")) as there:
        yield there


def test_every_kind_is_read_through_all_pages_and_what_is_not_so_is_left_out(server):
    known = server.known(NUMBER)
    assert {kind: sum(one.kind == kind for one in known) for kind in KINDS} == {
        "condition": 7, "procedure": 1, "implant": 1, "medication": 2}
    for pattern, kind in (("173171007", "procedure"), ("*LOBECTOMY*", "procedure"), ("*pacemaker*", "implant"),
                          ("amiodarone*", "medication"), ("11289", "medication"), ("906", "condition")):
        assert met(known, {kind: [pattern]}) == kind
    for kind, pattern in (("condition", "*cancer*"), ("procedure", "232717009"), ("condition", "*somebody*"), ("procedure", "1731710")):
        assert met(known, {kind: [pattern]}) is None


def test_only_what_is_asked_for_is_read(server):
    assert {one.kind for one in server.known(NUMBER, ("implant",))} == {"implant"}


@pytest.mark.parametrize(("number", "said"), [("nobody", "knows no patient"), ("twice", "knows several patients")])
def test_a_patient_who_is_not_one_patient_is_an_error_and_not_nothing(server, number, said):
    with pytest.raises(ContextError, match=said) as caught:
        server.known(number)
    assert number not in str(caught.value)


def test_a_wrong_token_a_wrong_authority_and_an_open_token_file_are_refused(server, tmp_path):
    other, _ = certificate(tmp_path, "other")
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    for told, said in (({"token": f"file:{wrong}"}, "refuses Patient with status 401"), ({"token": ""}, "status 401"),
                       ({"ca": str(other)}, r"does not answer \(SSLError\)"), ({"url": "https://127.0.0.1:1/4_0_1"}, "does not answer")):
        with pytest.raises(ContextError, match=said) as caught:
            FhirServer(**(vars(server) | told)).known(NUMBER)
        assert NUMBER not in str(caught.value)
    wrong.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        FhirServer(**(vars(server) | {"token": f"file:{wrong}"})).known(NUMBER)


@pytest.mark.parametrize(("answer", "said"), [
    ("<html>", "no JSON"), ("[]", "no FHIR R4"), ('{"entry": [{}]}', "no FHIR R4"),
    ('{"link": [{"relation": "next", "url": "http://elsewhere.example/r4/Patient?page=1"}]}', "another address"),
    ('{"link": [{"relation": "next", "url": "%s/Patient?again=%d"}]}', "never ends its pages"),
])
def test_what_is_no_fhir_is_named_and_no_page_leads_elsewhere(answer, said):
    class Handler(BaseHTTPRequestHandler):
        count = 0

        def do_GET(self):
            Handler.count += 1
            body = (answer % (base, Handler.count) if "%" in answer else answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http_server(Handler) as base:
        with pytest.raises(ContextError, match=said) as caught:
            FhirServer(base, SYSTEM).known(NUMBER)
        assert NUMBER not in str(caught.value)


def test_what_is_known_does_not_show_itself():
    assert repr(Known("procedure", ("173171007",), ("Lobectomy",))) == "Known(kind='procedure')"
