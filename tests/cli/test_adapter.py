"""``ailab adapter``: receive with a plan, list, explain."""

import json
import signal
import subprocess
import sys

from tests.adapter.receiving import ROOT, dcmtk, files, image
from tests.cli.running import ailab
from tests.services import need_service

PLAN = """
listen = "127.0.0.1:0"
[[caller]]
ae = "SCANNER"
[[rule]]
name = "ct"
run = "infer"
when = {Modality = "CT"}
complete = {quiet_s = 0}
"""


def test_received_listed_and_explained(tmp_path, monkeypatch, capsys):
    need_service("storescu", package="dcmtk")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adapter.toml").write_text(PLAN)
    server = _served(tmp_path)
    told = server.stdout.readline()
    port = int(told.partition("127.0.0.1:")[2].partition(";")[0])
    assert "1 callers may send" in told
    said = dcmtk("storescu", port, paths=files(tmp_path / "in", image(1), image(2)))
    assert said.count("(Success)") == 2
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0
    server.stdout.close()
    assert ailab("adapter", "received", "--json") == 0
    row, = json.loads(capsys.readouterr().out)
    assert (row["study"], row["instances"], row["aside"]) == (f"{ROOT}.1", 2, 0)
    assert ailab("adapter", "explain", f"{ROOT}.1") == 0
    out = capsys.readouterr().out
    assert "ct: fires" in out
    assert f"on series {ROOT}.1.1" in out
    assert "Planted" not in out
    assert ailab("adapter", "explain", "1.2.3") == 1


def _served(folder):
    code = "import sys; sys.argv = ['ailab', 'adapter', 'serve', '--workers', '0']; from ailab_kernel.cli.main import main; main()"
    return subprocess.Popen([sys.executable, "-u", "-c", code], cwd=folder, text=True, stdout=subprocess.PIPE)


def test_a_plan_with_a_mistake_is_wrong_use(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert ailab("adapter", "check") == 2
    assert "adapter.toml cannot be read" in capsys.readouterr().err
    (tmp_path / "adapter.toml").write_text(PLAN.replace("Modality", "Modalty"))
    assert ailab("adapter", "check") == 2
    assert "rule ct: 'Modalty' is no DICOM keyword" in capsys.readouterr().err
    (tmp_path / "adapter.toml").write_text(PLAN)
    assert ailab("adapter", "check") == 0
    assert "Modality is CT" in capsys.readouterr().out
