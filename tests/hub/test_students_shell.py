"""A student's kernel with a shell against the hub, the trusted process and a neighbour: refused, counted, audited.

The hub runs as root and isolates by system user; the trusted process has one of its own.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import requests

from ailab_kernel.datasets.phantom_dicom import to_dicom
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.fleet.visit import Visit
from ailab_kernel.models.registry import base_names
from tests.service.serving import MANIFEST
from tests.services import need_root

from .hubs import Hub
from .hubs import hub as started

pytestmark = pytest.mark.slow
REFUSED = ("Permission denied", "PermissionError", "Operation not permitted", "No such file", "FileNotFoundError")
ASK = "import os, requests; token = os.environ['JUPYTERHUB_API_TOKEN']; service = os.environ['AILAB_SERVICE']"
SEND = "requests.{method}(service + '{path}', headers={{'Authorization': 'token ' + token, **{headers!r}}}, **{what!r}).status_code"
RECORD = {"kind": "model", "name": "lungs", "alias": "champion", "digest": "0" * 64}


@pytest.fixture(scope="module")
def hub(hub_needs):
    need_root("to give people and the trusted process system users of their own")
    with started(service="on", passable=True) as running:
        lee = running.person("lee", "data-scientist")
        ask(running, lee, "POST", "catalog/sign", data=MANIFEST)
        ask(running, lee, "POST", "catalog/pseudonyms", json={"domain": "patient", "value": "P1"})
        yield running


def ask(hub: Hub, visit: Visit, method: str, path: str, **what) -> requests.Response:
    """The trusted process, as somebody else."""
    answer = requests.request(method, f"{hub.url}/services/ailab/{path}", timeout=30, **what,
                              headers={"Authorization": f"token {visit._token}"})
    answer.raise_for_status()
    return answer


@pytest.fixture(scope="module")
def student(hub) -> Visit:
    for name in ("anna", "sam"):
        visit = hub.person(name, "student")
        visit.choose("pilot")
        visit.wait()
        if name == "anna":
            ask(hub, visit, "GET", "catalog/whoami")   # has a ledger of her own now
            visit.run("open('secret.txt', 'w').write('mine')", kernel=visit.kernel())
    return visit


@pytest.fixture(scope="module")
def kernel(student) -> str:
    found = student.kernel()
    student.run(ASK, kernel=found)
    return found


@pytest.fixture(scope="module")
def patient_file(hub, student) -> str:
    """An instance in the lab's archive, as the trusted process keeps it."""
    folder = hub.home / "archive" / "patients"
    folder.mkdir(parents=True, exist_ok=True)
    instances, _ = to_dicom(make(random_phantom(5, size=(4, 40, 48))))
    instances[0].save_as(folder / "one.dcm", enforce_file_format=True)
    for path in (folder.parent, folder, folder / "one.dcm"):
        os.chown(path, *owner(hub))
        path.chmod(0o700)
    return str(folder / "one.dcm")


def owner(hub: Hub) -> tuple[int, int]:
    told = (hub.home / "catalog.sqlite").stat()
    return told.st_uid, told.st_gid


def pid_of(words: str, *, uid: int) -> str:
    """A process of this system user with these words in its command."""
    for entry in Path("/proc").iterdir():
        mine = entry.name.isdecimal() and entry.exists() and entry.stat().st_uid == uid
        if mine and words in (entry / "cmdline").read_text().replace("\0", " "):
            return entry.name
    raise LookupError(words)


def shell(hub: Hub, file: str) -> dict[str, str]:
    """What a shell tries on the machine itself."""
    lab = hub.home
    service = pid_of("-m ailab_kernel.service", uid=owner(hub)[0])
    neighbour = pid_of("singleuser", uid=json.loads((hub.private / "uids.json").read_text())["anna"])
    front = pid_of("jupyterhub -f", uid=os.getuid())
    return {
        "read the catalog": f"cat {lab}/catalog.sqlite",
        "write the catalog": f"echo >> {lab}/catalog.sqlite",
        "read the signing key": f"cat {lab}/keys/signing.key",
        "read the pseudonym key": f"cat {lab}/keys/pseudonym.key",
        "list the lab": f"ls {lab}",
        "read a patient's image": f"cat {file}",
        "list the objects": f"ls {lab}/objects",
        "another student's ledger": f"ls {lab}/students",
        "another's file": f"cat {lab}/hub/rooms/anna/secret.txt",
        "another's room": f"ls {lab}/hub/rooms/anna",
        "who is here": f"ls {lab}/hub/rooms",
        "the hub's database": f"cat {lab}/hub/private/jupyterhub.sqlite",
        "the hub's cookie secret": f"cat {lab}/hub/private/cookie_secret",
        "the hub's log": f"cat {lab}/hub/private/hub.log",
        "the service's environment": f"cat /proc/{service}/environ",
        "the service's memory": f"dd if=/proc/{service}/mem of=/dev/null count=1",
        "the hub's environment": f"cat /proc/{front}/environ",
        "another's environment": f"cat /proc/{neighbour}/environ",
        "end the service": f"kill -9 {service}",
        "end another's server": f"kill -9 {neighbour}",
        "take the hub's folder away": f"mv {lab}/hub {lab}/gone",
        "a file in the lab": f"touch {lab}/mine",
        "become root": "su -c id </dev/null",
    }


def requests_of(forged: str) -> dict[str, tuple[str, str, dict, dict]]:
    """What it tries at the trusted process: method, path, headers, the rest."""
    manifest = {"id": "validate-00000000", "template": "validate", "template_digest": "0" * 64, "state": "done",
                "resolved": {"model": "0" * 64}, "files": {}}  # fmt: skip
    as_admin = {"X-Role": "admin", "X-JupyterHub-Groups": "admin", "X-Forwarded-User": "admin"}
    return {
        "move an alias": ("post", "/catalog/aliases", {}, {"json": RECORD}),
        "sign": ("post", "/catalog/sign", {}, {"json": manifest}),
        "sign as an admin": ("post", "/catalog/sign?role=admin", as_admin, {"json": manifest}),
        "move an alias as an admin": ("post", "/catalog/aliases?user=admin", as_admin, {"json": RECORD}),
        "a pseudonym": ("post", "/catalog/pseudonyms", {}, {"json": {"domain": "patient", "value": "P1"}}),
        "search the archive": ("get", "/dicom-web/studies", {}, {}),
        "search it as an admin": ("get", "/dicom-web/studies?role=admin", as_admin, {}),
        "the audit trail": ("get", "/catalog/audit", {}, {}),
        "delete a study": ("delete", "/dicom-web/studies/1.2.3", {}, {}),
        "write in another's name": ("post", "/catalog/records", {}, {"json": {"kind": "note", "body": {}, "made_by": "anna"}}),
        "write the service's own line": ("post", "/catalog/audit", {}, {"json": {"event": "service.signed", "detail": {}}}),
        "with a forged token": ("get", "/catalog/audit", {"Authorization": forged}, {}),
    }  # fmt: skip


def trail(hub: Hub) -> list[tuple[str, str]]:
    import sqlite3

    with sqlite3.connect(f"file:{hub.home}/catalog.sqlite?mode=ro", uri=True) as db:
        return list(db.execute("SELECT by, event FROM audit ORDER BY seq"))


def test_the_trusted_process_has_a_system_user_of_its_own(hub, student, kernel):
    assert owner(hub) == (199_999, 199_999)
    assert owner(hub)[0] not in {os.getuid(), int(student.run("os.getuid()", kernel=kernel))}
    assert (hub.home / "keys").stat().st_mode & 0o777 == 0o700
    assert (hub.home / "hub").stat().st_uid == os.getuid()


def test_a_shell_reaches_nothing(hub, student, kernel, patient_file):
    tries = shell(hub, patient_file)
    targets = [path for words in tries.values() for path in words.split() if path.startswith(str(hub.home))]
    assert [path for path in targets if not Path(path).exists()] == [str(hub.home / "gone"), str(hub.home / "mine")]
    outcomes = {}
    for what, words in tries.items():
        code = f"p = __import__('subprocess').run({words!r}, shell=True, capture_output=True, text=True); (p.returncode, p.stderr[-300:], p.stdout[:40])"
        outcomes[what] = student.run(code, kernel=kernel)
    reached = {what: said for what, said in outcomes.items() if said.startswith("(0,")}
    assert reached == {}
    assert len(outcomes) == 23


def test_every_request_is_refused_counted_and_audited(hub, student, kernel):
    tries, before = requests_of("token " + "0" * 32), Counter(trail(hub))
    said = {what: student.run(SEND.format(method=method, path=path, headers=headers, what=rest), kernel=kernel)
            for what, (method, path, headers, rest) in tries.items()}
    assert set(said.values()) <= {"403", "400", "401"}, said
    after = Counter(trail(hub)) - before
    assert after["sam", "service.refused"] == len(tries) - 1
    assert after["(unknown token)", "service.refused"] == 1
    rows = ask(hub, hub.person("olga", "auditor"), "GET", "catalog/refusals").json()
    assert sum(row["times"] for row in rows if row["user"] == "sam") == len(tries) - 1


def test_the_student_works_all_the_same(student, kernel):
    said = student.run("import ailab_kernel as ailab; print(*[one.ref for one in ailab.open_lab().models.all()])",
                       kernel=kernel, seconds=100)
    assert said.endswith(" ".join(f"{name}@1" for name in base_names()) + "\n"), said
