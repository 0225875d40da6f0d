"""The bill of materials is the lock's, and an audit that compared nothing says so."""

import sys

from tests.supply_chain import FOUND, NOT_COMPARED, audit, locked, main, sbom


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
