"""Poison among routed studies, sent by dcmtk: a segmentation fault, memory without end, a loop without end.

Each ends with its reason, the study beside them is delivered, and the adapter is none the worse.
"""

import ctypes
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ailab_kernel.adapter.ledger import Worklist
from ailab_kernel.adapter.running import Adapter
from ailab_kernel.archives.archive import open_archive
from ailab_kernel.workspace import open_workspace
from tests.adapter.receiving import ROOT, dcmtk, files, image
from tests.adapter.test_running import copy_one
from tests.services import need_service

pytestmark = pytest.mark.slow
PATIENCE_S, GROWN_BYTES = 240, 64 << 20
PLAN = """
listen = "127.0.0.1:0"
[[caller]]
ae = "*"
[[destination]]
name = "pacs"
url = "folder:{far}"
"""
RULE = """
[[rule]]
name = "{name}"
run = "infer"
when = {{StudyDescription = "{name}"}}
parameters = {{kind = "{name}"}}
complete = {{quiet_s = 0}}
send = ["pacs"]
minutes = {minutes}
memory_gb = 0.6
"""
# A worker as `ailab adapter work` starts it, but for what its child runs.
WORK = """
import sys
from pathlib import Path
from ailab_kernel.adapter.working import jobs_of, worker
from ailab_kernel.workspace import open_workspace
worker._PERFORM = "tests.adapter.test_poison:perform"
jobs_of(open_workspace(home=sys.argv[1])).work(until_empty=False, worker=sys.argv[2])
"""
ENDS = {
    "loop": ("held", "not ended in time: it was running."),
    "segfault": ("failed", "its process died (signal 11); tried 3 times"),
    "swell": ("failed", "it needed more than 0.6 GB of memory and was ended"),
    "sound": ("done", ""),
}


def perform(payload):
    """What the rule's parameters say."""
    kind, held = payload["parameters"]["kind"], []
    if kind == "segfault":
        ctypes.string_at(0)
    while kind == "swell":
        held.append(bytearray(50 << 20))
        time.sleep(0.02)
    while kind == "loop":
        pass
    return copy_one(payload)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_poison_ends_with_its_reason_and_harms_nothing_else(tmp_path, capsys):
    need_service("dcmsend", package="dcmtk")
    plan, far = tmp_path / "adapter.toml", f"folder:{tmp_path / 'far'}"
    plan.write_text(PLAN.format(far=tmp_path / "far") + "".join(
        RULE.format(name=name, minutes=0.5 if name == "loop" else 30) for name in ENDS))
    workspace, ended = open_workspace(home=tmp_path / "lab"), dict[str, float]()
    with Adapter(workspace, plan, workers=0) as adapter:
        workers = [subprocess.Popen([sys.executable, "-c", WORK, str(workspace.home), name]) for name in ("one", "two")]
        try:
            before, start = resident(), time.monotonic()
            for number, name in enumerate(ENDS, 1):
                paths = files(tmp_path / name, image(1, study=number, StudyDescription=name))
                assert "with status SUCCESS  : 1" in dcmtk("dcmsend", adapter.port, "+sd", paths=[one.parent for one in paths])
            worklist = Worklist(adapter.inbox.ledger)
            while len(ended) < len(ENDS):
                for one in worklist.all():
                    if one.state in ("failed", "held", "done"):
                        ended.setdefault(one.rule, time.monotonic() - start)
                assert time.monotonic() - start < PATIENCE_S, [(one.rule, one.state) for one in worklist.all()]
                time.sleep(0.1)
            assert {one.rule: (one.state, one.reason) for one in worklist.all()} == ENDS
            assert all(process.poll() is None for process in workers)
            assert "(Success)" in dcmtk("echoscu", adapter.port)
            assert resident() - before < GROWN_BYTES
        finally:
            for process in workers:
                process.kill()
                process.wait()
    assert [one.uid for one in open_archive(far).search_series()] == [f"{ROOT}.77"]
    with capsys.disabled():
        sys.stdout.write("\npoison, seconds until it had ended: "
                         + ", ".join(f"{name} {seconds:.1f} ({ENDS[name][0]})" for name, seconds in ended.items()) + "\n")
