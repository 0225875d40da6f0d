"""The bill of materials is the lock's, and an audit that compared nothing says so."""

import json
import sys
from http.server import BaseHTTPRequestHandler

import pytest

from tests.services import http_server
from tests.supply_chain import FOUND, LOCK, NOT_COMPARED, audit, installed_auditor, locked, main, sbom


def test_the_bill_is_the_lock():
    made = sbom()
    assert made == sbom()
    assert {one["name"]: one["version"] for one in made["components"]} == locked()
    refs = [one["bom-ref"] for one in made["components"]] + [made["metadata"]["component"]["bom-ref"]]
    assert len(refs) == len(set(refs)) == len(made["dependencies"])
    assert {ref for one in made["dependencies"] for ref in (one["ref"], *one["dependsOn"])} == set(refs)
    assert sum("licenses" in one for one in made["components"]) > 0.9 * len(made["components"])
    assert len(made["dependencies"][0]["dependsOn"]) > 20


FAKE = """
import json, sys
probe = "probe" in sys.argv[sys.argv.index("--requirement") + 1]
told = {told!r}[0 if probe else 1]
if told is None:
    sys.exit("ConnectionError: no route to the database")
open(sys.argv[sys.argv.index("--output") + 1], "w").write(json.dumps({{"dependencies": told}}))
"""
KNOWN = [{"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"]}]}]
CLEAN = [{"name": "numpy", "version": "2.4.6", "vulns": []}]


def asked(tmp_path, probe, lock) -> int:
    (tmp_path / "lock").write_text("numpy==2.4.6\n")
    return audit(tmp_path / "lock", tmp_path / "report.json", auditor=[sys.executable, "-c", FAKE.format(told=(probe, lock))])


def test_an_audit_says_what_it_found_and_when_it_could_not(tmp_path, capsys):
    assert asked(tmp_path, KNOWN, CLEAN) == 0
    assert asked(tmp_path, KNOWN, KNOWN) == FOUND
    assert asked(tmp_path, None, None) == asked(tmp_path, KNOWN, None) == NOT_COMPARED
    assert asked(tmp_path, CLEAN, CLEAN) == NOT_COMPARED, "a mirror that knows of nothing proves nothing"
    told = capsys.readouterr().out
    assert "jinja2 2.4.1: PYSEC-2014-8 (fixed in 2.7.2)" in told
    assert "NOT COMPARED: no vulnerability database could be asked (ConnectionError" in told
    assert "it answers, and knows nothing against jinja2" in told


def test_where_no_index_answers_it_says_so_without_a_traceback(tmp_path, monkeypatch, capsys):
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setattr("tests.supply_chain.BUILD", tmp_path)
    assert main("audit") == NOT_COMPARED
    assert capsys.readouterr().out.startswith("NOT COMPARED: no vulnerability database could be asked (pip-audit")


class Database(BaseHTTPRequestHandler):
    """A database of vulnerabilities as OSV answers: it knows something against two releases."""

    known = {("jinja2", "2.4.1"): ("PYSEC-2014-8", "2.7.2"), ("requests", "2.19.0"): ("PYSEC-2018-28", "2.20.0")}
    asked: list[tuple[str, str]] = []

    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, version = told["package"]["name"], told["version"]
        assert (self.path, told["package"]["ecosystem"]) == ("/v1/query", "PyPI")
        self.asked.append((name, version))
        found = self.known.get((name, version))
        body = json.dumps({"vulns": [{"id": found[0], "summary": "a hole", "affected": [{
            "package": {"name": name, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": found[1]}]}]}]}]} if found else {})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def auditor(tmp_path_factory):
    """The real pip-audit."""
    try:
        return installed_auditor(tmp_path_factory.mktemp("audit") / "env")
    except OSError as error:
        pytest.skip(f"no package index can be asked ({error})")


@pytest.mark.slow
def test_the_real_auditor_finds_a_known_hole_in_a_lock_and_none_in_ours(auditor, tmp_path, monkeypatch, capsys):
    lock = tmp_path / "requirements.lock"
    monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
    with http_server(Database) as place:
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"{place}/v1/query")
        lock.write_text("numpy==2.4.6\nrequests==2.19.0\n")
        assert audit(lock, tmp_path / "report.json", auditor=auditor) == FOUND
        told = capsys.readouterr().out
        assert "requests 2.19.0: PYSEC-2018-28 (fixed in 2.20.0)" in told
        assert "2 packages compared, 1 known vulnerabilities" in told
        Database.asked.clear()
        assert audit(LOCK, tmp_path / "report.json", auditor=auditor) == 0
        assert f"{len(locked())} packages compared, 0 known vulnerabilities" in capsys.readouterr().out
        assert set(Database.asked) >= set(locked().items()), "each pin was asked for"
    assert audit(lock, tmp_path / "report.json", auditor=auditor) == NOT_COMPARED, "the database is gone"
    assert "Traceback" not in capsys.readouterr().out
