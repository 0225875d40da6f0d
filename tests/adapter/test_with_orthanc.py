"""A PACS that routes by itself: studies go to the adapter, a model runs, SEG and SR are back; whoever is killed."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ailab_kernel.adapter.ledger import Worklist
from ailab_kernel.adapter.place import ledger_of
from ailab_kernel.archives.archive import open_archive
from ailab_kernel.datasets.phantoms import make_objects
from ailab_kernel.objects.seg import read_seg
from ailab_kernel.volumes.series import volume_from_datasets
from ailab_kernel.workspace import open_workspace
from tests.services import orthanc

pytestmark = pytest.mark.slow
STUDIES, PATIENCE_S = 3, 480
ROUTE = "function OnStoredInstance(instance, tags, metadata, origin)\n SendToModality(instance, 'AILAB')\nend"
PLAN = """
listen = "127.0.0.1:{port}"
[[caller]]
ae = "ORTHANC"
[[destination]]
name = "pacs"
url = "{url}"
[[rule]]
name = "lungs"
run = "infer"
parameters = {{model = "lungs@general"}}
when = {{Modality = "CT"}}
series = {{Modality = "CT"}}
complete = {{quiet_s = 1}}
send = ["pacs"]
"""


def served(folder: Path) -> subprocess.Popen:
    """``ailab adapter serve``, once it receives."""
    code = "import sys; sys.argv = ['ailab', 'adapter', 'serve']; from ailab_kernel.cli.main import main; main()"
    server = subprocess.Popen([sys.executable, "-c", code], cwd=folder, text=True, stdout=subprocess.PIPE,
                              env=os.environ | {"AILAB_HOME": str(folder / "lab")})  # fmt: skip
    assert "receives" in server.stdout.readline()
    return server


def eventually(what: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.5)


@pytest.mark.parametrize("kills", [0, 8])
def test_routed_studies_come_back_with_seg_and_sr_each_once(tmp_path, kills):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"DicomAet": "ORTHANC"}
    with orthanc(tmp_path / "orthanc", lua=ROUTE, destinations={"AILAB": port}, settings=settings) as pacs:
        (tmp_path / "adapter.toml").write_text(PLAN.format(port=port, url=pacs.url))
        workspace, archive = open_workspace(home=tmp_path / "lab"), open_archive(pacs.url)
        server = served(tmp_path)
        try:
            for seed in range(STUDIES):
                archive.store(make_objects(seed, style="general-hospital", size=(24, 96, 96), truth=False,
                                           spacing_mm=(10.0, 3.9, 3.7)))  # fmt: skip
            dice = random.Random(7)
            for _ in range(kills):
                time.sleep(dice.uniform(2, 8))
                server.send_signal(signal.SIGKILL)
                server.wait()
                server.stdout.close()
                server = served(tmp_path)
            eventually(lambda: _states(workspace) == ["done"] * STUDIES)
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
            server.stdout.close()
        for study in archive.search_studies():
            by_modality = [one.modality for one in archive.search_series(study.uid)]
            assert sorted(by_modality) == ["CT", "DOC", "SEG", "SR"]
            _check_grid(archive, study.uid)


def _states(workspace) -> list[str]:
    with ledger_of(workspace) as ledger:
        return [one.state for one in Worklist(ledger).all() if one.rule]


def _check_grid(archive, study_uid: str) -> None:
    series = {one.modality: list(archive.retrieve(one)) for one in archive.search_series(study_uid)}
    volume, (seg,), (sr,) = volume_from_datasets(series["CT"]), series["SEG"], series["SR"]
    mask = read_seg(seg, volume)
    assert mask.grid.matches(volume.grid)
    assert mask.array.any()
    evidence = {ref.ReferencedSOPInstanceUID for item in sr.CurrentRequestedProcedureEvidenceSequence
                for one in item.ReferencedSeriesSequence for ref in one.ReferencedSOPSequence}  # fmt: skip
    assert seg.SOPInstanceUID in evidence
