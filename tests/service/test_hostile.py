"""What a kernel with a shell and a token may try: paths, SQL, floods, bad JSON, another's files."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import requests

from ailab_kernel.ground.ids import sha256
from ailab_kernel.service import bodies
from tests.archives.samples import HOSPITAL, hospital
from tests.service.serving import MANIFEST, bare, process, serving, token
from tests.service.test_roles import stow

PATHS = ["..", "../keys/signing.key", "..%2fkeys%2fsigning.key", "%2e%2e/%2e%2e/keys/signing.key", "....//keys",
         "%252e%252e%252fkeys", "/etc/passwd", "%00", "keys%00" + "0" * 58, "A" * 64, "g" * 64, "0" * 63, "0" * 65,
         "0" * 64 + "%0a", "..\\keys\\signing.key", "%c0%ae%c0%ae/keys"]  # fmt: skip
SQL = ["x' OR '1'='1", "x'; DROP TABLE records; --", "x\" OR 1=1 --", "%", "_", "x' UNION SELECT * FROM audit --"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("role", ["student", "data-scientist"])
def test_no_path_leads_out(house, role, path):
    keys = house.desk.realms.lab
    keys.sign(b"a key is there now")
    secret = (house.home / "keys" / "signing.key").read_bytes()
    before = sorted(one.name for one in house.home.rglob("*") if one.parent.name != "spool")
    for method, where in (("GET", "catalog/objects/{}"), ("PUT", "catalog/objects/{}"), ("GET", "catalog/objects/{}/check"),
                          ("GET", "dicom-web/studies/{}/series/{}"), ("GET", "dicom-web/studies/{}/series/{}/instances/{}"),
                          ("DELETE", "dicom-web/studies/{}")):  # fmt: skip
        session, url = requests.Session(), f"{house.url}/{where.replace('{}', path)}"
        request = session.prepare_request(requests.Request(method, url, data=b"evil" if method == "PUT" else None,
                                                           headers={"Authorization": f"token {token(role)}"}))  # fmt: skip
        request.url = url                      # as it stands: requests would tidy it up
        with session:
            answer = session.send(request, timeout=10)
        assert answer.status_code in {400, 403, 404, 405, 409}, (method, url)
        assert secret not in answer.content
    new = {one.name for one in house.home.rglob("*") if one.parent.name != "spool"} - set(before)
    assert all("catalog.sqlite" in name or name in {"students", "objects"} or len(name) == 32 or "lock" in name or name == "audit.anchor"
               for name in new), new  # fmt: skip


@pytest.mark.parametrize("text", SQL)
def test_sql_is_but_text(house, text):
    lab = house.desk.realms.lab
    lab.append("model", {"n": 1}, name="heart-wall")
    for params in ({"kind": "model", "name": text}, {"kind": "model", "digest": text[:64]}):
        assert house.ask("auditor", "GET", "catalog/records", params=params).json() == []
    assert house.ask("auditor", "GET", "catalog/records", params={"kind": text}).status_code == 400
    assert house.ask("auditor", "GET", "catalog/records", params={"kind": "model", "version": text}).status_code == 400
    assert house.ask("auditor", "GET", "catalog/aliases", params={"kind": "model", "name": text}).json() == []
    made = house.ask("radiologist", "POST", "catalog/records", json={"kind": "note", "name": text, "body": {text: text}})
    assert made.json()["body"] == {text: text}
    assert house.ask("radiologist", "GET", "catalog/records", params={"kind": "note", "name": text}).json() == [made.json()]
    assert len(lab.query("model")) == 1


BAD_JSON = {
    "nan": b'{"kind": "note", "body": {"n": NaN}}',
    "infinity": b'{"kind": "note", "body": {"n": -Infinity}}',
    "deep": b'{"kind": "note", "body": {"n": ' + b"[" * 200_000 + b"]" * 200_000 + b"}}",
    "half a surrogate": rb'{"kind": "note", "body": {"n": "\ud800"}}',
    "long integer": b'{"kind": "note", "body": {"n": ' + b"9" * 5000 + b"}}",
    "not utf-8": b'{"kind": "note", "body": {"n": "\xff\xfe"}}',
    "control character": rb'{"kind": "note", "name": "a\u0000b", "body": {}}',
    "long name": b'{"kind": "note", "name": "' + b"a" * 201 + b'", "body": {}}',
    "list": b"[]", "number": b"1", "nothing": b"", "cut off": b'{"kind": "note"', "body is a list": b'{"kind": "note", "body": []}',
    "name is a number": b'{"kind": "note", "name": 7, "body": {}}',
    "parent is no digest": b'{"kind": "note", "body": {}, "parents": ["../x"]}',
}  # fmt: skip


@pytest.mark.parametrize("data", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_bad_json_is_a_wrong_use(house, data):
    answer = house.ask("radiologist", "POST", "catalog/records", data=data)
    assert (answer.status_code, answer.json()["error"]) == (400, "WrongUse")
    assert len(answer.text) < 400
    assert house.desk.realms.lab.query("note") == []


def test_a_misfit_never_repeats_the_value(house):
    answer = house.ask("radiologist", "POST", "catalog/pseudonyms", json={"domain": "Muster^Max", "value": 7})
    assert answer.status_code == 400
    assert "Muster" not in answer.text


@pytest.mark.parametrize(("method", "path", "limit"), [
    ("POST", "catalog/records", bodies.JSON_BYTES), ("POST", "catalog/sign", bodies.JSON_BYTES),
    ("PUT", f"catalog/objects/{'0' * 64}", 1 << 20), ("POST", "dicom-web/studies", 1 << 20),
])  # fmt: skip
@pytest.mark.parametrize("says", [True, False], ids=["said", "streamed"])
def test_large_bodies_are_cut_off(house, monkeypatch, method, path, limit, says):
    monkeypatch.setattr(bodies, "OBJECT_BYTES", 1 << 20)
    monkeypatch.setattr(bodies, "STOW_BYTES", 1 << 20)
    data = bytes(limit + 1) if says else (bytes(1 << 16) for _ in range(limit // (1 << 16) + 1))
    try:
        answer = house.ask("admin", method, path, data=data)
    except requests.ConnectionError:           # the answer was given, and the door shut, before all was sent
        pass
    else:
        assert answer.status_code == 413
    assert {row["status"] for row in house.desk.refusals.counts()} == {413}
    assert list((house.home / "spool").iterdir()) == []


def test_a_large_object_goes_through(house, tmp_path):
    block = os.urandom(1 << 20)
    data = block * 48
    answer = house.ask("radiologist", "PUT", f"catalog/objects/{sha256(data)}", data=data)
    assert answer.ok, answer.text
    assert house.ask("auditor", "GET", f"catalog/objects/{sha256(data)}").content == data
    assert list((house.home / "spool").iterdir()) == []


def test_bytes_under_another_digest_are_refused(house):
    answer = house.ask("radiologist", "PUT", f"catalog/objects/{sha256(b'good')}", data=b"evil")
    assert (answer.status_code, answer.json()["error"]) == (409, "SealBroken")
    assert house.ask("radiologist", "GET", f"catalog/objects/{sha256(b'good')}").status_code == 404


def test_students_see_neither_the_lab_nor_each_other(house):
    lab = house.desk.realms.lab
    secret = lab.append("model", {"weights": lab.put(b"weights")}, name="heart-wall")
    made = {}
    for me in ("anna", "berta"):
        drawn = f"drawn by {me}".encode()
        assert house.ask(me, "PUT", f"catalog/objects/{sha256(drawn)}", data=drawn).ok
        new = {"kind": "model", "name": "heart-wall", "body": {"by": me}}
        made[me] = house.ask(me, "POST", "catalog/records", json=new).json()
        assert (made[me]["version"], made[me]["made_by"]) == (1, me)
    for me, other in (("anna", "berta"), ("berta", "anna")):
        assert house.ask(me, "GET", "catalog/records", params={"kind": "model"}).json() == [made[me]]
        for digest in (sha256(b"weights"), sha256(f"drawn by {other}".encode())):
            assert house.ask(me, "GET", f"catalog/objects/{digest}").status_code == 404
        for digest in (secret.digest, made[other]["digest"]):
            assert house.ask(me, "GET", f"catalog/records?kind=model&digest={digest}").json() == []
    assert lab.query("model") == [secret]
    signature = lab.sign(b"report")
    assert house.ask("anna", "POST", "catalog/verify", data=b"report", params={"signature": signature}).json() == {"ours": False}


def test_what_students_do_stands_in_the_labs_trail(house):
    assert house.ask("anna", "POST", "catalog/audit", json={"event": "import", "detail": {"model": "mine@1"}}).ok
    assert house.ask("anna", "POST", "catalog/sign", data=b"forged").status_code == 403
    assert [(row["by"], row["event"]) for row in house.desk.realms.lab.audit_trail()] == [
        ("anna", "service.login"), ("anna", "import"), ("anna", "service.refused")]


def test_nobodys_flood_shares_lines(house):
    for _ in range(30):
        assert house.ask("nobody", "GET", "catalog/whoami").status_code == 401
    lines = [json.loads(row["detail"]) for row in house.desk.realms.lab.audit_trail()]
    assert 1 <= len(lines) <= 10
    assert house.desk.refusals.counts() == [{"user": "(unknown token)", "act": "read", "status": 401, "times": 30,
                                             "route": "/catalog/whoami"}]  # fmt: skip


def test_the_trail_names_nobody(house):
    house.desk.archive.store(hospital())
    house.ask("radiologist", "GET", "dicom-web/studies", params={"PatientName": "Adler*", "PatientID": "P1"})
    house.ask("radiologist", "POST", "catalog/pseudonyms", json={"domain": "patient", "value": "P1-secret"})
    trail = json.dumps(house.desk.realms.lab.audit_trail())
    assert "archive-search" in trail
    assert "pseudonym" in trail
    assert "Adler" not in trail
    assert "P1" not in trail


def test_the_folder_is_its_owners_alone(tmp_path):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)                    # unlike pytest's, which nobody else can enter anyway
        (folder / "trusted" / "hub" / "rooms").mkdir(parents=True)
        (folder / "trusted" / "archive").mkdir()     # as a pilot left it
        with process(folder) as house:
            assert house.ask("data-scientist", "POST", "catalog/sign", data=MANIFEST).ok
            assert house.ask("student", "PUT", f"catalog/objects/{sha256(b'x')}", data=b"x").ok
        assert stat.S_IMODE(house.home.stat().st_mode) & 0o066 == 0, "the folder can be walked through, not read"
        assert [one.name for one in house.home.iterdir() if one.stat().st_mode & 0o077] == ["hub"]
        assert {"archive", "catalog.sqlite", "keys", "objects", "students"} <= {one.name for one in house.home.iterdir()}
        secrets = [house.home / "keys" / "signing.key", house.home / "catalog.sqlite", folder / "tokens.json"]
        assert all(one.exists() for one in secrets)
        if os.geteuid() != 0:
            pytest.skip("only root can ask as another user; the modes were checked")
        for path in (*secrets, *house.home.glob("objects/*/*")):
            read = subprocess.run(["cat", str(path)], user=65534, group=65534, extra_groups=[], capture_output=True,
                                  check=False)  # fmt: skip
            assert read.returncode != 0, path
            assert read.stdout == b""


@pytest.mark.parametrize(("words", "more", "says"), [
    ([], {}, "nobody says who is asking"),
    (["--token-file", "{}"], {"JUPYTERHUB_API_URL": "http://127.0.0.1:1"}, "second door"),
    (["--token-file", "none.json"], {}, "cannot be used"),
    (["--token-file", "{}", "--listen", "unix:/x"], {}, "no place to listen"),
])  # fmt: skip
def test_it_does_not_start_without_knowing_who_asks(tmp_path, words, more, says):
    from tests.service.serving import token_file

    path = str(token_file(tmp_path))
    done = subprocess.run([sys.executable, "-m", "ailab_kernel.service", *(word.replace("{}", path) for word in words)],
                          env=bare() | more | {"AILAB_HOME": str(tmp_path / "lab")}, cwd=tmp_path, capture_output=True,
                          text=True, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_file_for_all_eyes_is_refused(tmp_path):
    from ailab_kernel.ground.errors import SettingsError
    from ailab_kernel.service import TokenFile
    from tests.service.serving import token_file

    path = token_file(tmp_path)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        TokenFile(path)


def test_it_says_that_users_are_not_isolated(tmp_path):
    with process(tmp_path, AILAB_ISOLATION="none") as house:
        assert house.ask("radiologist", "POST", "dicom-web/studies", **stow(HOSPITAL[0])).status_code == 403
    assert "archives with patients are refused" in (tmp_path / "service.log").read_text()


def test_the_trail_says_when_it_ran(tmp_path):
    for _ in range(2):
        with process(tmp_path):
            pass
    with serving(tmp_path) as house:
        events = [(row["by"], row["event"]) for row in house.desk.realms.lab.audit_trail()]
    assert [event for _, event in events if event.startswith("service.")] == ["service.started", "service.ended"] * 2
    assert {who for who, _ in events} == {"ailab-service"}


def test_bodies_of_a_crash_are_swept(tmp_path):
    spool = tmp_path / "trusted" / "spool"
    spool.mkdir(parents=True)
    (spool / "left").write_bytes(b"half")
    with serving(tmp_path):
        assert list(spool.iterdir()) == []
