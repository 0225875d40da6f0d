"""One zip that speaks for a model: whole and signed, checked offline by its own program, honest about what is missing."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ailab_kernel.ground.errors import ExitBlocked, NotFound, ReportError
from ailab_kernel.ground.ids import canonical_json, sha256
from ailab_kernel.ground.seal import fingerprint
from ailab_kernel.ground.store import atomic_write
from ailab_kernel.models import Models
from ailab_kernel.reports.evidence_pack import check_evidence, write_evidence
from ailab_kernel.reports.evidence_pack.verify import signed
from tests.cli.running import ailab
from tests.models.test_bundle import make_bundle

GATE = {"criteria": "0" * 64, "verdicts": [
    {"number": 1, "asked": "mean dice of every label is at least 0.8", "verdict": "pass", "bound": 0.853, "patients": 24}]}


def sealed_report(workspace, bundle, *, name="validate-0a1b2c3d", **metrics) -> str:
    """A finished validation report as the reports room keeps it."""
    folder = workspace.home / "reports" / name
    files = {"report.html": b"<!DOCTYPE html><title>Validation</title><h1>Validation</h1>", "notebook.ipynb": b"{}",
             "metrics.json": json.dumps({"model": {"lung": {"dice": {"mean": 0.91234, "low": 0.89, "high": 0.93, "patients": 24}}},
                                        "cases": 24, "failed": 1, "gate": GATE, **metrics}).encode()}
    for path, data in files.items():
        atomic_write(folder / path, data)
    manifest = {"id": name, "template": "validate", "state": "done", "ended": "2026-11-30T20:00:00+00:00",
                "resolved": {"model": bundle.digest}, "files": {path: sha256(data) for path, data in files.items()},
                "notes": {"uses": {"dataset": {"ref": "heart-wall-check@1", "digest": "1" * 64}}}}
    data = json.dumps(manifest).encode()
    atomic_write(folder / "manifest.json", data)
    atomic_write(folder / "manifest.sig", workspace.catalog.sign(data).encode())
    atomic_write(folder / "state.json", canonical_json({"state": "done", "title": "Validation"}))
    return name


@pytest.fixture
def bundle(workspace, tmp_path):
    return Models(workspace.catalog).import_bundle(make_bundle(tmp_path / "a", description="Finds what is tiny.",
                                                               intended_use="Lungs on chest CT of adults."))


@pytest.fixture
def told(workspace, bundle, tmp_path):
    """A pack of a model with a history, and the folder that it unpacks to."""
    catalog, report = workspace.catalog, sealed_report(workspace, bundle)
    catalog.point("model", "tiny", "champion", digest=bundle.digest, reason=f"report {report}")
    run = catalog.append("inference", {"series": "1.2.3", "engine": "openvino", "mask": "0"}, name="1.2.3",
                         parents=[bundle.digest])
    catalog.append("replay", {"what": "1.2.826.1", "identical": True, "differences": [], "causes": []},
                   name="1.2.826.12345678", parents=[run.digest])
    catalog.point("model", "tiny", "champion", digest="", reason="revoked: false positives in children")
    path = write_evidence(workspace, "tiny@1", tmp_path / "out" / "tiny.zip")
    with zipfile.ZipFile(path) as members:
        members.extractall(tmp_path / "unpacked")
    return path, tmp_path / "unpacked" / "evidence-tiny-1"


def run_verify(folder: Path, *words) -> subprocess.CompletedProcess:
    """The pack's own program, by a Python that sees no library of ours."""
    return subprocess.run([sys.executable, "-I", "-S", "verify.py", *words], cwd=folder, text=True, capture_output=True,
                          check=False)


def test_it_is_whole_and_says_whose_key_signed_it(workspace, bundle, told):
    path, folder = told
    facts, findings = check_evidence(path)
    assert findings == ()
    found = fingerprint(workspace.catalog.public_key())
    assert facts[2].replace(" ", "").endswith(found)
    done = run_verify(folder, found)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 sealed reports: as signed" in done.stdout
    assert run_verify(folder, "00" * 16).returncode == 1
    assert "the key is not the one whose fingerprint was given" in check_evidence(path, fingerprint="00" * 16)[1][0]


def test_it_holds_what_is_known_and_says_what_is_not(workspace, told):
    _, folder = told
    page = (folder / "index.html").read_text()
    for text in ("Lungs on chest CT of adults.", "validate-0a1b2c3d", "heart-wall-check@1", "0.853", "<td>lung Dice</td><td>0.9123</td><td>0.89</td>", "cases: 24, failed: 1", "Gate: <b>passed</b>",
                 "NO evidence: nothing watched it yet", "There is no monitoring evidence", "revoked: false positives in children",
                 "1 of 1 replays identical", "The whole trail is as it was written.", "not in use: no alias means it now",
                 'href="reports/validate-0a1b2c3d/report.html"'):
        assert text in page, text
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    lines = json.loads((folder / "audit.json").read_text())["lines"]
    assert [one["event"] for one in lines] == ["import", "alias-moved"]
    assert json.loads((folder / "monitoring.json").read_text())["use"][0]["inferences"] == 1
    assert "1.2.826.12345678" not in (folder / "replays.json").read_text()
    assert (folder / "reports" / "validate-0a1b2c3d" / "manifest.sig").is_file()


@pytest.mark.parametrize("name", ["index.html", "aliases.json", "reports/validate-0a1b2c3d/metrics.json", "verify.py"])
def test_every_changed_file_is_named(told, name):
    _, folder = told
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    done = run_verify(folder)
    assert done.returncode == 1
    assert f"NOT AS SIGNED: {name} was changed" in done.stdout


def test_what_is_missing_added_or_signed_anew_is_named(told, workspace):
    _, folder = told
    (folder / "lineage.json").unlink()
    (folder / "reports" / "validate-0a1b2c3d" / "more.txt").write_text("x")
    done = run_verify(folder)
    assert "lineage.json is missing" in done.stdout
    assert "reports/validate-0a1b2c3d/more.txt was added" in done.stdout
    other = Ed25519PrivateKey.generate()
    whole = json.loads((folder / "pack.json").read_text())
    whole["key"] = other.public_key().public_bytes_raw().hex()
    data = json.dumps(whole).encode()
    (folder / "pack.json").write_bytes(data)
    assert "pack.json does not bear the signature of that key" in run_verify(folder).stdout
    (folder / "pack.sig").write_text(other.sign(data).hex())
    assert "report validate-0a1b2c3d: its manifest does not bear the lab's seal" in run_verify(folder).stdout
    (folder / "pack.json").unlink()
    assert "this is no evidence pack" in run_verify(folder).stdout


def test_an_edited_report_is_shown_as_such(workspace, bundle, tmp_path):
    report = sealed_report(workspace, bundle)
    (workspace.home / "reports" / report / "metrics.json").write_text('{"dice": {"mean": 0.99}}')
    path = write_evidence(workspace, "tiny@1", tmp_path / "tiny.zip")
    with zipfile.ZipFile(path) as members:
        assert "NOT INTACT: metrics.json changed" in members.read("evidence-tiny-1/index.html").decode()
    assert f"report {report}: metrics.json is not what was sealed" in check_evidence(path)[1]


def test_a_model_without_anything_says_so(workspace, bundle, tmp_path):
    path = write_evidence(workspace, "tiny@1", tmp_path / "tiny.zip")
    with zipfile.ZipFile(path) as members:
        page = members.read("evidence-tiny-1/index.html").decode()
    assert "NO: this lab has not validated the model" in page
    assert "It must not be used on patients before there is one." in page.replace("used \n", "used ")
    assert "not tried yet (ailab report replay)" in page


def test_refusals(workspace, bundle, tmp_path):
    with pytest.raises(NotFound, match="there is no model tiny@7"):
        write_evidence(workspace, "tiny@7", tmp_path / "x.zip")
    (tmp_path / "there.zip").write_text("x")
    with pytest.raises(ReportError, match=r"there\.zip is there already"):
        write_evidence(workspace, "tiny@1", tmp_path / "there.zip")
    with pytest.raises(ReportError, match=r"out\.zip cannot be written \((Not a directory|File exists)\)"):
        write_evidence(workspace, "tiny@1", tmp_path / "there.zip" / "out.zip")
    with pytest.raises(ReportError, match=r"there\.zip is no zip that can be read \(BadZipFile\)"):
        check_evidence(tmp_path / "there.zip")
    workspace.catalog.remember({"PatientName": ["Quixano^Alonso"]})
    sealed_report(workspace, bundle, note="of Alonso Quixano")
    with pytest.raises(ExitBlocked, match=r"evidence of tiny@1 stays here: .*metrics\.json") as caught:
        write_evidence(workspace, "tiny@1", tmp_path / "out.zip")
    assert "uixano" not in str(caught.value)
    assert not (tmp_path / "out.zip").exists()
    assert not list(tmp_path.glob(".out*"))


def test_in_the_terminal(workspace, bundle, tmp_path, capsys):
    assert ailab("models", "evidence", "tiny@1", tmp_path / "tiny.zip", "--json") == 0
    assert json.loads(capsys.readouterr().out)["facts"][0].startswith("evidence pack about tiny@1")
    shutil.copy(tmp_path / "tiny.zip", tmp_path / "edited.zip")
    with zipfile.ZipFile(tmp_path / "edited.zip", "a") as members:
        members.writestr("evidence-tiny-1/more.txt", "x")
    assert ailab("models", "check-evidence", tmp_path / "tiny.zip") == 0
    assert "every file and every seal is as it was signed" in capsys.readouterr().out
    assert ailab("models", "check-evidence", tmp_path / "edited.zip") == 1
    assert "more.txt was added" in capsys.readouterr().out


def test_its_own_ed25519_agrees_with_the_library():
    """RFC 8032 7.1, random messages, and the signatures that must not pass."""
    key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    rfc = bytes.fromhex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
                        "d25bf5f0595bbe24655141438e7a100b")
    assert signed(key, b"", rfc)
    for number in range(12):
        private, message = Ed25519PrivateKey.generate(), bytes(range(number * 7))
        public, signature = private.public_key().public_bytes_raw(), private.sign(message)
        assert signed(public, message, signature)
        assert not signed(public, message + b"x", signature)
        for at in (0, 31, 32, 63):
            bad = bytearray(signature)
            bad[at] ^= 1
            assert not signed(public, message, bytes(bad))
        order = 2**252 + 27742317777372353535851937790883648493
        again = int.from_bytes(signature[32:], "little") + order
        assert not signed(public, message, signature[:32] + again.to_bytes(32, "little")), "malleable"
        assert not signed(public, message, signature + b"\0")
        assert not signed(b"\xff" * 32, message, signature)
        assert not signed(public[:31], message, signature)
