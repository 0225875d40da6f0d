"""``ailab audit`` and ``ailab exits`` as a terminal sees them."""

import json

import pytest

from tests.cli.running import ailab
from tests.ground.test_audit import log_server, table


@pytest.fixture
def catalog(workspace, monkeypatch):
    monkeypatch.setenv("AILAB_HOME", str(workspace.home))
    for number in range(3):
        workspace.catalog.audit("import", n=str(number))
    return workspace.catalog


def test_verify_says_what_was_edited(catalog, workspace, capsys):
    assert ailab("audit", "verify") == 0
    assert capsys.readouterr().out == "the audit trail is as it was written\n"
    with table(workspace.home) as db:
        db.execute("UPDATE audit SET event = 'export' WHERE seq = 2")
    assert ailab("audit", "verify", "--json") == 1
    assert json.loads(capsys.readouterr().out)["findings"] == ["line 2 is not what was written, or the line before it is not"]


def test_export_in_both_forms(catalog, tmp_path, capsys):
    assert ailab("audit", "export", "--after", 1, "--source", "here") == 0
    assert capsys.readouterr().out.count('AuditSourceID="here"') == 2
    assert ailab("audit", "export", "--format", "jsonl", "--output", tmp_path / "trail") == 0
    rows = [json.loads(line) for line in (tmp_path / "trail").read_text().splitlines()]
    assert [row.get("detail") for row in rows] == [{"n": "0"}, {"n": "1"}, {"n": "2"}, None]
    assert rows[-1]["anchor"]["chain"] == rows[-2]["chain"]
    assert ailab("audit", "export", "--format", "csv") == 2


def test_forward_goes_on_where_it_stopped(catalog, tmp_path, capsys):
    with log_server(tmp_path) as (port, frames):
        words = ("audit", "forward", "127.0.0.1", "--port", port, "--ca", tmp_path / "server.pem", "--json")
        assert ailab(*words) == 0
        catalog.audit("import", n="3")
        assert ailab(*words) == ailab(*words) == 0
    assert [json.loads(part + "}")["sent"] for part in capsys.readouterr().out.split("}\n")[:3]] == [3, 1, 0]
    assert len(frames) == 4
    assert ailab(*words) == 0, "nothing new: nobody is asked"
    catalog.audit("import", n="4")
    assert ailab(*words) == 1
    assert "nothing is lost, try again" in capsys.readouterr().err


def test_accept_signs_and_says_why(catalog, workspace, capsys):
    (workspace.home / "audit.anchor").unlink()
    assert ailab("audit", "verify") == 1
    assert ailab("audit", "accept", "restored from a backup") == 0
    assert ailab("audit", "verify") == 0


def test_what_leaves_is_searched(catalog, tmp_path, capsys):
    catalog.remember({"PatientName": ["Quixano^Alonso"]})
    (tmp_path / "a.txt").write_text("of Quixano")
    assert ailab("exits", "check", tmp_path / "a.txt") == 1
    assert capsys.readouterr().out == "PatientName in a.txt\n"
    assert ailab("exits", "export", tmp_path / "a.txt", "--to", tmp_path / "out") == 1
    assert ailab("exits", "export", tmp_path / "a.txt", "--to", tmp_path / "out", "--release", "consent") == 0
    assert (tmp_path / "out" / "a.txt").read_text() == "of Quixano"
