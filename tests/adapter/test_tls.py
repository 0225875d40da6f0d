"""TLS at the DIMSE door by adapter.toml, asked by dcmtk; who is turned away stands in the trail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ailab_kernel.adapter.ledger import Ledger, Outbox, Work, Worklist
from ailab_kernel.adapter.rules import Destination
from ailab_kernel.adapter.running import Adapter, Courier, check
from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.workspace import open_workspace
from tests.adapter.receiving import ROOT, dcmtk, files, image
from tests.services import need_service, orthanc
from tests.tls import certificate

SUCCESS = "Received Store Response (Success)"
PLAN = """
listen = "127.0.0.1:0"
[tls]
cert = "{cert}"
key = "file:{key}"
ca = "{ca}"
[[caller]]
ae = "SCANNER"
[[destination]]
name = "pacs"
url = "folder:far"
"""


@pytest.fixture(autouse=True)
def _dcmtk():
    need_service("storescu", "echoscu", package="dcmtk")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Certificate and key: of the door, of a client that it trusts, of one that it does not know."""
    folder = tmp_path_factory.mktemp("tls")
    pairs = {name: certificate(folder, name) for name in ("door", "client", "stranger")}
    for _, key in pairs.values():
        key.chmod(0o600)
    return pairs


def written(folder: Path, made: dict, **changed: object) -> Path:
    told = {"cert": made["door"][0], "key": made["door"][1], "ca": made["client"][0]} | changed
    path = folder / "adapter.toml"
    path.write_text(PLAN.format(**told))
    return path


def by_tls(made: dict, name: str) -> tuple[str, ...]:
    cert, key = made[name]
    return "+tls", str(key), str(cert), "+cf", str(made["door"][0])


def test_a_known_certificate_is_let_in_and_nobody_else(made, tmp_path):
    paths = files(tmp_path / "in", image(1), image(2))
    workspace = open_workspace(home=tmp_path / "lab")
    with Adapter(workspace, written(tmp_path, made), workers=0) as adapter:
        assert SUCCESS in dcmtk("storescu", adapter.port, *by_tls(made, "client"), paths=paths[:1])
        assert SUCCESS in dcmtk("storescu", adapter.port, *by_tls(made, "client"), "+pz", paths=paths[1:])
        assert SUCCESS not in dcmtk("storescu", adapter.port, *by_tls(made, "stranger"), paths=paths)
        assert "Success" not in dcmtk("echoscu", adapter.port, "+tla", "+cf", str(made["door"][0]))
        assert "Success" not in dcmtk("echoscu", adapter.port)
        assert "Success" not in dcmtk("echoscu", adapter.port, *by_tls(made, "client"), aet="NOBODY")
        assert len(adapter.inbox.ledger.arrivals()) == 2
    why = [json.loads(one["detail"])["why"] for one in workspace.catalog.audit_trail() if one["event"] == "adapter.refused"]
    assert why[0] == "TLS: certificate verify failed"


@pytest.mark.parametrize("version", ["tls1", "tls1_1", "tls1_2", "tls1_3"])
def test_what_is_older_than_tls_1_2_is_refused(made, tmp_path, version):
    need_service("openssl", package="openssl")
    with Adapter(open_workspace(home=tmp_path / "lab"), written(tmp_path, made, ca=""), workers=0) as adapter:
        asked = ["openssl", "s_client", "-connect", f"127.0.0.1:{adapter.port}", f"-{version}", "-brief",
                 *(["-cipher", "DEFAULT@SECLEVEL=0"] if version != "tls1_3" else [])]  # fmt: skip
        done = subprocess.run(asked, input="", capture_output=True, text=True, timeout=30, check=False)
    assert ("CONNECTION ESTABLISHED" in done.stderr) is (version in ("tls1_2", "tls1_3"))


@pytest.mark.parametrize(("change", "said"), [
    ({"cert": "absent.pem"}, "tls: tls.cert and tls.key cannot be used (No such file or directory)"),
    ({"key": "absent.key"}, "tls: tls.key: absent.key cannot be read (No such file or directory)"),
    ({"ca": "absent.pem"}, "tls: ca = 'absent.pem' cannot be used (No such file or directory)"),
    ({"key": "another"}, "tls: tls.cert and tls.key cannot be used (key values mismatch)"),
    ({"key": "open"}, "can be read by others than its owner"),
    ({"ca": "key"}, "cannot be used (no certificate or crl found)"),
])  # fmt: skip
def test_check_says_in_one_line_what_is_wrong(made, tmp_path, change, said):
    named = {"another": made["stranger"][1], "key": made["stranger"][1], "open": tmp_path / "open.key"}
    (tmp_path / "open.key").write_bytes(made["door"][1].read_bytes())
    (tmp_path / "open.key").chmod(0o644)
    path = written(tmp_path, made, **{name: named.get(value, value) for name, value in change.items()})
    with pytest.raises(SettingsError) as told:
        check(path)
    assert said in str(told.value)
    asked = [sys.executable, "-c", "from ailab_kernel.cli.main import main; main()", "adapter", "check"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False,
                          env=os.environ | {"AILAB_HOME": str(tmp_path / "lab"), "COLUMNS": "1000"})  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_results_go_to_a_destination_over_tls(made, tmp_path):
    (cert, key), path = made["client"], files(tmp_path / "out", image(1))[0]
    theirs = {"DicomTlsEnabled": True, "DicomTlsCertificate": str(made["door"][0]), "DicomTlsPrivateKey": str(made["door"][1]),
              "DicomTlsTrustedCertificates": str(cert)}
    with orthanc(tmp_path / "orthanc", settings=theirs) as pacs:
        url = f"{pacs.dimse.replace('dimse:', 'dimse+tls:')}?ca={made['door'][0]}&cert={cert}&key={key}"
        ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
        Worklist(ledger).offer(Work("w", "1", "r", "delivering", "", 0.0, 0.0, 9e9))
        Outbox(ledger).put("w", [(f"{ROOT}.1.1.1", path)], ["far", "plain"])
        Courier(ledger, (Destination("far", url), Destination("plain", pacs.dimse))).round()
        assert {one.destination: one.state for one in Outbox(ledger).all()} == {"far": "confirmed", "plain": "pending"}
        ledger.close()
        assert [one["MainDicomTags"]["SOPInstanceUID"] for one in pacs.rest("/instances?expand")] == [f"{ROOT}.1.1.1"]
