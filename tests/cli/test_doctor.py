"""``ailab doctor``: whatever is broken is a line with the next step, never a traceback, never a patient's name."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from ailab_kernel.cli import checks_host
from ailab_kernel.cli.findings import Check, Place, examine, ok, warn, worst
from ailab_kernel.ground.errors import AilabError
from tests.services import http_server, need_service, orthanc

from .running import ailab

ROOT = Path(__file__).parents[2]
NAMES = ["python", "packages", "disk", "memory", "gpu", "store", "catalog", "seal", "archive", "jobs", "limits", "proxy",
         "hub", "service", "clock", "isolation"]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # pynetdicom leaves sockets to the collector
DEAD = "127.0.0.1:9"           # the discard port: nobody listens


@pytest.fixture
def lab(workspace, monkeypatch):
    """A lab that was used once, and no hub that a person may have running here."""
    monkeypatch.setattr("ailab_kernel.cli.doctor._HUB", f"http://{DEAD}")
    workspace.catalog.append("note", {"told": "once"}, name="note")
    workspace.catalog.sign(b"once")
    workspace.catalog.put(b"once")
    return workspace


@pytest.fixture
def doctor(lab, capsys, monkeypatch):
    """``doctor(NAME=value)``: exit code and findings by name, with these variables set."""

    def _run(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        code = ailab("doctor", "--json")
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        told = json.loads(out)
        found = {one["check"]: one for one in told["checks"]}
        assert told["state"] == max((one["state"] for one in found.values()), key=["ok", "warn", "fail"].index)
        assert code == (told["state"] == "fail")
        assert all(bool(one["next"]) is (one["state"] != "ok") for one in found.values()), "each finding names the cure"
        return code, found

    return _run


def test_a_lab_that_is_well(doctor):
    code, found = doctor()
    assert list(found) == NAMES
    assert code == 0, [one for one in found.values() if one["state"] == "fail"]
    assert "written, read and verified" in found["store"]["told"]
    assert "1 records" in found["catalog"]["told"]
    assert "signs and verifies" in found["seal"]["told"]


def test_a_lab_that_is_encrypted(doctor, tmp_path):
    key = tmp_path / "objects.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    _, found = doctor(AILAB_OBJECTS_KEY=f"file:{key}")
    assert "encrypted" in found["store"]["told"], found["store"]
    code, found = doctor(AILAB_OBJECTS_KEY="env:NOT_SET_HERE")
    assert (code, found["store"]["state"]) == (1, "fail")
    assert "NOT_SET_HERE" in found["store"]["told"]


def test_a_lab_that_is_not_there_yet_stays_so(doctor, tmp_path):
    code, found = doctor(AILAB_HOME=tmp_path / "new")
    assert code == 0
    assert "none yet" in found["catalog"]["told"]
    assert not (tmp_path / "new").exists(), "looking makes nothing"


def test_for_a_person_it_is_one_screen(lab, capsys):
    assert ailab("doctor") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith("ok    python     Python 3.11")


@pytest.mark.parametrize("how", ["no database", "a page overwritten", "cut short", "a folder"])
def test_a_corrupt_catalog(doctor, lab, how):
    path = lab.home / "catalog.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    whole = path.read_bytes()
    path.unlink()
    for left in lab.home.glob("catalog.sqlite-*"):
        left.unlink()
    broken = {"no database": b"Erika Mustermann\n" * 400, "a page overwritten": whole[:4096] + b"\xff" * 8192 + whole[12288:],
              "cut short": whole[:5000]}
    path.mkdir() if how == "a folder" else path.write_bytes(broken[how])
    code, found = doctor()
    assert (code, found["catalog"]["state"]) == (1, "fail")
    assert "restore it from a backup" in found["catalog"]["next"]
    assert "Mustermann" not in json.dumps(found)


def test_a_catalog_of_another_version(doctor, lab):
    with sqlite3.connect(lab.home / "catalog.sqlite") as db:
        db.execute("UPDATE alembic_version SET version_num = '0000'")
    db.close()
    _, found = doctor()
    assert found["catalog"]["state"] == "warn"
    assert "at migration 0000" in found["catalog"]["told"]


@pytest.mark.parametrize(("how", "says"), [
    (lambda key: key.write_bytes(b"short"), "5 bytes instead of 32"), (lambda key: key.chmod(0o644), "others can read"),
])  # fmt: skip
def test_a_bad_key(doctor, lab, how, says):
    how(lab.home / "keys" / "signing.key")
    code, found = doctor()
    assert code == 1
    assert says in found["seal"]["told"]


def test_a_lost_key(doctor, lab):
    (lab.home / "reports" / "x").mkdir(parents=True)
    (lab.home / "reports" / "x" / "manifest.sig").write_text("00")
    (lab.home / "keys" / "signing.key").unlink()
    _, found = doctor()
    assert "signing key is gone" in found["seal"]["told"]
    assert not (lab.home / "keys" / "signing.key").exists(), "a new key would hide the loss"


@pytest.mark.parametrize("url", [f"dicomweb+http://reader:secret@{DEAD}/dicom-web", f"dimse://{DEAD}/PACS"])
def test_a_dead_archive(doctor, url):
    pytest.importorskip("pynetdicom")
    code, found = doctor(AILAB_ARCHIVE=url)
    assert (code, found["archive"]["state"]) == (1, "fail")
    assert "secret" not in json.dumps(found)
    assert "whether the PACS knows this machine" in found["archive"]["next"]


def test_a_real_archive_by_both_ways(doctor, tmp_path):
    with orthanc(tmp_path / "orthanc") as server:
        _, found = doctor(AILAB_ARCHIVE=server.url)
        assert found["archive"]["told"].startswith("QIDO answered")
        _, found = doctor(AILAB_ARCHIVE=server.dimse)
        assert found["archive"]["told"].startswith("C-ECHO answered")


def test_wrong_settings_are_named(doctor):
    code, found = doctor(AILAB_DEVICE="abacus")
    assert code == 1
    assert list(found) == ["settings"]
    assert "AILAB_DEVICE" in found["settings"]["told"]


def test_a_gpu_that_is_asked_for_and_absent(doctor, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    _, found = doctor(AILAB_DEVICE="cuda")
    assert (found["gpu"]["state"], found["gpu"]["told"]) == ("fail", "none, though device = cuda is set")
    _, found = doctor(AILAB_DEVICE="auto")
    assert found["gpu"] == {"check": "gpu", "state": "ok", "told": "none: networks run on the CPU", "next": ""}


def test_jobs_that_wait_for_nobody_and_jobs_that_failed(doctor, lab):
    from ailab_kernel.work.jobs import Jobs

    jobs = Jobs(lab.jobs_url, kinds={"report": "ailab_kernel.lab:run_job"})
    jobs.submit("report", {"home": str(lab.home), "verb": "fly", "arguments": {}})
    _, found = doctor()
    assert found["jobs"]["told"] == "1 queued; no worker is at work"
    jobs.work()
    _, found = doctor()
    assert (found["jobs"]["state"], found["jobs"]["told"]) == ("warn", "1 failed")
    (lab.home / "jobs.sqlite").write_bytes(b"Erika Mustermann" * 300)
    code, found = doctor()
    assert (code, found["jobs"]["state"]) == (1, "fail")
    assert "Mustermann" not in json.dumps(found)


class Hub(BaseHTTPRequestHandler):
    """A hub whose clock is wrong, that isolates nobody and has no trusted process."""

    late = 120.0
    service = 404

    def do_GET(self):
        status = self.service if "/services/" in self.path else 200
        body = b"Users are not isolated from each other here" if self.path == "/hub/login" else b"{}"
        self.send_response_only(status)
        self.send_header("Date", formatdate(time.time() - self.late, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_hub_that_is_late_and_isolates_nobody(doctor):
    with http_server(Hub) as url:
        code, found = doctor(AILAB_HUB_URL=url)
    assert code == 1
    assert found["clock"]["state"] == "fail"
    assert found["clock"]["told"] in {f"{seconds} s apart from the hub's" for seconds in range(119, 123)}
    assert found["isolation"]["state"] == "warn"
    assert "without the trusted process" in found["service"]["told"]


def test_a_service_that_fails_and_a_clock_that_is_a_little_off(doctor):
    with http_server(type("Failing", (Hub,), {"service": 503, "late": 20.0})) as url:
        _, found = doctor(AILAB_HUB_URL=url)
    assert (found["service"]["state"], found["clock"]["state"], found["hub"]["state"]) == ("fail", "warn", "ok")


def test_a_hub_that_is_named_and_silent(doctor):
    code, found = doctor(AILAB_HUB_URL=f"http://{DEAD}")
    assert (code, found["hub"]["state"]) == (1, "fail")


def test_little_disk_and_memory(doctor, monkeypatch):
    monkeypatch.setattr(checks_host, "_LEAST_GB", {"disk": (1e6, 2e6), "memory": (0.0, 1e6)})
    code, found = doctor()
    assert (code, found["disk"]["state"], found["memory"]["state"]) == (1, "fail", "warn")


def test_another_python_and_other_packages(doctor, monkeypatch, tmp_path):
    (tmp_path / "requirements.lock").write_text("typer==0.0.1\nnot-there==1.0\n")
    monkeypatch.setattr(checks_host, "_ROOT", tmp_path)
    _, found = doctor()
    assert found["packages"]["state"] == "warn"
    assert "1 missing (not-there) and 1 in another version (typer)" in found["packages"]["told"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk(doctor, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", small], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (small / "objects").mkdir()
        with pytest.raises(OSError, match="No space"):
            (small / "filler").write_bytes(bytes(512 * 1024))
        code, found = doctor(AILAB_HOME=small)
        assert code == 1
        assert found["store"]["told"] == "no space left on device"
        assert found["disk"]["state"] == "fail"
        assert found["catalog"]["state"] == "ok"
    finally:
        subprocess.run(["umount", small], check=True)


def test_folders_that_cannot_be_read(lab):
    """The lab belongs to somebody else; root is looked at without the right to pass over permissions."""
    need_service("setpriv", package="util-linux")
    before = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"] if os.geteuid() == 0 else []
    for path in (lab.home / "objects", lab.home / "keys", lab.home / "catalog.sqlite"):
        if before:
            os.chown(path, 65534, 65534)
        path.chmod(0)
    code = "from ailab_kernel.cli.main import main; main()"
    env = {**os.environ, "AILAB_HOME": str(lab.home), "AILAB_HUB_URL": f"http://{DEAD}"}
    done = subprocess.run([*before, sys.executable, "-c", code, "doctor", "--json"], capture_output=True, text=True, env=env)
    found = {one["check"]: one for one in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [found[name]["told"] for name in ("store", "catalog", "seal")] == [
        "permission denied", "SQLite says: unable to open database file", "permission denied"]


def test_whatever_a_check_breaks_on_becomes_a_line(workspace):
    def _broken(_):
        raise ZeroDivisionError("Erika Mustermann")

    def _ours(_):
        raise AilabError("dicomweb+http://reader:secret@pacs does not answer")

    checks = {"a": Check(_broken, "mend it"), "b": Check(lambda _: ok("fine"), "x"), "c": Check(_ours, "ask")}
    found = examine(Place(workspace, "", False), checks)
    assert [(one.state, one.told) for one in found.values()] == [
        ("fail", "ZeroDivisionError"), ("ok", "fine"), ("fail", "dicomweb+http://***@pacs does not answer")]
    assert worst([*found.values()]) == "fail"
    assert worst([ok("a"), warn("b", "c")]) == "warn"
    assert worst([]) == "ok"


def test_behind_a_service_that_is_dead(doctor):
    code, found = doctor(AILAB_SERVICE=f"http://{DEAD}/services/ailab", AILAB_SERVICE_TOKEN="t")
    assert code == 1
    assert [found[name]["state"] for name in ("store", "catalog", "archive", "hub", "service")] == ["fail"] * 5
    assert found["seal"]["told"] == "held by the trusted process, as it should be"


def test_behind_a_service_without_a_token(doctor, monkeypatch):
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    code, found = doctor(AILAB_SERVICE=f"http://{DEAD}/services/ailab")
    assert code == 1
    assert "set AILAB_SERVICE_TOKEN" in found["store"]["told"]
