"""Every role at every route: what the table allows happens, all else is refused, counted and written down."""

import json
from collections import Counter
from io import BytesIO

import pytest
from pydicom import dcmwrite

from ailab_kernel.ground.ids import sha256
from ailab_kernel.service import archive_routes, catalog_routes
from ailab_kernel.service.guard import May
from ailab_kernel.service.identity import Caller
from ailab_kernel.service.roles import MAY, Act, acts_of, roles_of
from tests.archives.samples import HOSPITAL, Sample, hospital, make
from tests.service.serving import MANIFEST, NO_ROLE, ROLES, serving, token

A, B, C = HOSPITAL[0], HOSPITAL[2], HOSPITAL[3]
OBJECT = b"an object"
DIGEST = sha256(OBJECT)
UNKNOWN = "somebody-else"


def stow(sample: Sample) -> dict:
    parts = []
    for ds in make(sample):
        file = BytesIO()
        dcmwrite(file, ds, enforce_file_format=True)
        parts.append(b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + file.getvalue() + b"\r\n")
    return {"data": b"".join(parts) + b"--edge--\r\n",
            "headers": {"Content-Type": 'multipart/related; type="application/dicom"; boundary=edge'}}  # fmt: skip


def examples(record: str, pseudonym: str = "0" * 16) -> dict[tuple[str, str], tuple[str, dict]]:
    """A good request for every route: path and what goes with it."""
    named = {"kind": "note", "name": "one"}
    study, series, instance = A.study_uid, A.series_uid, make(A)[0].SOPInstanceUID
    return {
        ("GET", "/catalog/whoami"): ("catalog/whoami", {}),
        ("GET", "/catalog/objects/{digest}"): (f"catalog/objects/{DIGEST}", {}),
        ("GET", "/catalog/objects/{digest}/check"): (f"catalog/objects/{DIGEST}/check", {}),
        ("GET", "/catalog/objects/{digest}/wanted"): (f"catalog/objects/{DIGEST}/wanted", {}),
        ("PUT", "/catalog/objects/{digest}"): (f"catalog/objects/{DIGEST}", {"data": OBJECT}),
        ("POST", "/catalog/records"): ("catalog/records", {"json": {**named, "body": {"n": 1}, "parents": []}}),
        ("GET", "/catalog/records"): ("catalog/records", {"params": {"kind": "note"}}),
        ("POST", "/catalog/aliases"): ("catalog/aliases", {"json": {**named, "alias": "best", "digest": record}}),
        ("GET", "/catalog/aliases"): ("catalog/aliases", {"params": named}),
        ("GET", "/catalog/aliases/now"): ("catalog/aliases/now", {"params": {**named, "alias": "best"}}),
        ("GET", "/catalog/key"): ("catalog/key", {}),
        ("POST", "/catalog/sign"): ("catalog/sign", {"data": MANIFEST}),
        ("POST", "/catalog/verify"): ("catalog/verify", {"data": b"report", "params": {"signature": "00"}}),
        ("POST", "/catalog/pseudonyms"): ("catalog/pseudonyms", {"json": {"domain": "patient", "value": "P1"}}),
        ("POST", "/catalog/reidentifications"):
            ("catalog/reidentifications", {"json": {"pseudonym": pseudonym, "reason": "finding to be told"}}),
        ("POST", "/catalog/visits"): ("catalog/visits", {"json": {
            "event": "hub-login", "user": "anna", "address": "127.0.0.1", "at": "2026-01-10T10:15:00+00:00"}}),
        ("POST", "/catalog/audit"): ("catalog/audit", {"json": {"event": "import", "detail": {"model": "x"}}}),
        ("POST", "/catalog/identifiers"): ("catalog/identifiers", {"json": {"known": {"PatientID": ["MRN-0815"]}}}),
        ("POST", "/catalog/identifiers/found"): ("catalog/identifiers/found", {"json": {"texts": ["nobody"]}}),
        ("POST", "/catalog/releases"): ("catalog/releases", {"json": {"places": ["page 1"], "reason": "consent"}}),
        ("GET", "/catalog/audit"): ("catalog/audit", {}),
        ("GET", "/catalog/audit/findings"): ("catalog/audit/findings", {}),
        ("GET", "/catalog/audit/anchor"): ("catalog/audit/anchor", {}),
        ("GET", "/catalog/refusals"): ("catalog/refusals", {}),
        ("GET", "/dicom-web/studies"): ("dicom-web/studies", {}),
        ("GET", "/dicom-web/series"): ("dicom-web/series", {"params": {"Modality": "CT"}}),
        ("GET", "/dicom-web/studies/{study}/series"): (f"dicom-web/studies/{study}/series", {}),
        ("GET", "/dicom-web/instances"): ("dicom-web/instances", {"params": {"SOPInstanceUID": instance}}),
        ("GET", "/dicom-web/studies/{study}/series/{series}"): (f"dicom-web/studies/{study}/series/{series}", {}),
        ("GET", "/dicom-web/studies/{study}/series/{series}/instances/{instance}"):
            (f"dicom-web/studies/{study}/series/{series}/instances/{instance}", {}),
        ("POST", "/dicom-web/studies"): ("dicom-web/studies", stow(A)),
        ("DELETE", "/dicom-web/studies/{study}"): (f"dicom-web/studies/{B.study_uid}", {}),
        ("DELETE", "/dicom-web/studies/{study}/series/{series}"):
            (f"dicom-web/studies/{C.study_uid}/series/{C.series_uid}", {}),
    }  # fmt: skip


def routes(app) -> dict[tuple[str, str], Act]:
    """Every route of the application and the one act that it needs; the health route needs none."""
    found = {}
    for route in (*catalog_routes.router.routes, *archive_routes.router.routes):
        act, = [one.call.act for one in route.dependant.dependencies if isinstance(one.call, May)]
        found |= {(method, route.path): act for method in route.methods}
    told = {(method.upper(), path.removeprefix("/services/ailab"))
            for path, methods in app.openapi()["paths"].items() for method in methods}  # fmt: skip
    assert told == {*found, ("GET", "/health")}, "a route without an act"
    return found


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("roles")) as running:
        running.desk.archive.store(hospital())
        yield running


@pytest.fixture(scope="module")
def record(house) -> str:
    """The same small content in the lab and in the student's sandbox."""
    for person in ("admin", "student"):
        catalog = house.desk.realms.of(house.desk.callers.identify(token(person)))
        catalog.put(OBJECT)
        made = catalog.append("note", {"n": 0}, name="one")
        catalog.point("note", "one", "best", digest=made.digest)
    return made.digest


def test_no_route_is_forgotten(house, record):
    assert set(routes(house.app)) == set(examples(record))
    assert set(routes(house.app).values()) | {Act.CRITERIA} == set(Act), "criteria come as a record"


def test_every_role_at_every_route(house, record):
    asked = examples(record, house.desk.realms.lab.pseudonym("patient", "P1"))
    outcomes: Counter = Counter()
    unexpected = []
    for (method, path), act in routes(house.app).items():
        for person in (UNKNOWN, NO_ROLE, *reversed(ROLES)):     # the administrator last: what they delete is gone
            where, what = asked[method, path]
            answer = house.ask(person, method, where, **what)
            allowed = act in MAY.get(person, ())
            expected = {True} if allowed else {401} if person == UNKNOWN else {403}
            outcome = answer.ok or answer.status_code
            outcomes[person, outcome] += 1
            if outcome not in expected:
                unexpected.append((person, method, path, answer.status_code, answer.text[:200]))
    assert unexpected == []
    assert sum(outcomes.values()) == 7 * len(asked) == 231
    assert outcomes[UNKNOWN, 401] == outcomes[NO_ROLE, 403] == 33
    assert outcomes["admin", True] == 32, "who logged in is for the hub alone to say"
    refused = sum(times for (_, outcome), times in outcomes.items() if outcome is not True)
    assert sum(row["times"] for row in house.desk.refusals.counts()) == refused
    lines = [row for row in house.desk.realms.lab.audit_trail() if row["event"] == "service.refused"]
    known = Counter(row["by"] for row in lines if row["by"] != "(unknown token)")
    assert known == {person: outcomes[person, 403] for person in (NO_ROLE, *ROLES) if outcomes[person, 403]}


def test_only_some_speak_for_the_lab():
    assert {role for role in MAY if Act.SIGN in MAY[role]} == {"admin", "data-scientist", "radiologist"}
    assert {role for role in MAY if Act.POINT in MAY[role]} == {"admin", "data-scientist"}
    changing = {Act.KEEP, Act.SIGN, Act.POINT, Act.PSEUDONYM, Act.STORE, Act.DELETE}
    assert not changing & MAY["auditor"], "an auditor changes nothing"
    assert MAY["student"] == {Act.READ, Act.KEEP}


def test_only_an_administrator_finds_a_patient_and_not_by_what_a_kernel_holds():
    assert {role for role in MAY if Act.REIDENTIFY in MAY[role]} == {"admin"}
    assert Act.REIDENTIFY not in Caller("chief", frozenset({"admin"}), server=True).acts
    assert Caller("chief", frozenset({"admin"})).acts - Caller("chief", frozenset({"admin"}), server=True).acts == {
        Act.REIDENTIFY}  # fmt: skip


def test_only_the_hub_is_a_witness(house):
    assert not [role for role in MAY if Act.WITNESS in MAY[role]]
    assert roles_of(["hub"]) == frozenset(), "a group of that name gives nothing"
    for event in ("hub-login", "hub-logout", "hub-login-failed"):
        told = {"event": event, "user": "" if "failed" in event else "anna", "address": "::1", "at": "2026-01-10T10:15:00+00:00"}
        assert house.ask("hub", "POST", "catalog/visits", json=told).ok
    assert house.ask("hub", "POST", "catalog/visits", json=told | {"event": "signed"}).status_code == 400
    assert house.ask("hub", "GET", "catalog/audit").status_code == 403
    lines = [(row["by"], row["event"]) for row in house.desk.realms.lab.audit_trail() if "hub-log" in row["event"]]
    assert lines[-3:] == [("anna", "service.hub-login"), ("anna", "service.hub-logout"), ("(unknown)", "service.hub-login-failed")]


def test_groups_give_roles():
    assert roles_of(["radiologist", "staff", "student"]) == {"radiologist"}, "a sandbox's rights stay in the sandbox"
    assert roles_of(["student"]) == {"student"}
    assert roles_of([], admin=True) == {"admin"}
    assert roles_of(["staff"]) == frozenset() == acts_of(())
    assert acts_of({"auditor", "radiologist"}) == MAY["auditor"] | MAY["radiologist"]


@pytest.mark.parametrize("headers", [
    {}, {"Authorization": ""}, {"Authorization": "token "}, {"Authorization": token("admin")},
    {"Authorization": f"Basic {token('admin')}"}, {"Authorization": "token " + "x" * 5000},
    {"X-Role": "admin", "X-Forwarded-User": "admin", "Remote-User": "admin"},
    {"Cookie": f"jupyterhub-services={token('admin')}"},
])  # fmt: skip
def test_without_a_token_nothing_opens(house, headers):
    import requests

    for query in ("", f"?token={token('admin')}&role=admin"):
        answer = requests.get(f"{house.url}/catalog/audit{query}", headers=headers, timeout=10)
        assert answer.status_code == 401
        assert set(answer.json()) == {"error", "message"}


@pytest.mark.parametrize("headers", [
    {"X-Role": "admin"}, {"X-JupyterHub-Groups": "admin"}, {"X-Forwarded-User": "admin"}, {"X-Made-By": "admin"},
])
def test_a_changed_role_changes_nothing(house, headers):
    assert house.ask("student", "POST", "catalog/sign?role=admin", data=b"x", headers=headers).status_code == 403
    made = house.ask("radiologist", "POST", "catalog/records", json={"kind": "note", "body": {"h": sorted(headers)}},
                     headers=headers)  # fmt: skip
    assert made.json()["made_by"] == "radiologist"


@pytest.mark.parametrize("forged", ["made_by", "user", "role", "roles", "version", "digest", "seq", "made_at"])
def test_a_forged_field_is_refused(house, forged):
    told = {"kind": "note", "name": "forged", "body": {}, forged: "admin"}
    answer = house.ask("radiologist", "POST", "catalog/records", json=told)
    assert answer.status_code == 400
    assert answer.json()["error"] == "WrongUse"
    assert forged in answer.json()["message"]
    assert house.desk.realms.lab.query("note", name="forged") == []


@pytest.mark.parametrize("event", ["service.signed", "service.refused", "alias-moved", "exit-released", "trail-accepted"])
def test_the_services_own_lines_cannot_be_forged(house, event):
    before = len(house.desk.realms.lab.audit_trail())
    assert house.ask("admin", "POST", "catalog/audit", json={"event": event, "detail": {}}).status_code == 400
    after = house.desk.realms.lab.audit_trail()[before:]
    assert [row["event"] for row in after if row["event"] != "service.login"] == ["service.refused"]


def test_an_alias_says_who_moved_it(house):
    made = house.ask("data-scientist", "POST", "catalog/records", json={"kind": "note", "name": "who", "body": {}}).json()
    told = {"kind": "note", "name": "who", "alias": "best", "digest": made["digest"]}
    assert house.ask("data-scientist", "POST", "catalog/aliases", json=told).ok
    move, = house.desk.realms.lab.history("note", "who")
    last = house.desk.realms.lab.audit_trail()[-1]
    assert move.moved_by == last["by"] == "data-scientist"
    assert json.loads(last["detail"]) == told


def test_the_pages_of_the_framework_are_not_there(house):
    for page in ("docs", "redoc", "openapi.json", ""):
        for base in (house.url, house.url.removesuffix("/services/ailab")):
            import requests

            assert requests.get(f"{base}/{page}", timeout=10).status_code == 404
