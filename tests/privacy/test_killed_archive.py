"""An archive of many studies, de-identified by the command line and killed again and again: as if nobody had."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydicom import dcmread

from benchmarks.deidentify.archive import write
from tests.conftest import FULL_BATTERY

from .objects import KEY

pytestmark = [pytest.mark.slow, pytest.mark.battery, pytest.mark.timeout(7200)]
STUDIES, SLICES, KILLS = (500, 2, 40) if FULL_BATTERY else (60, 2, 4)
COMMAND = (sys.executable, "-c", "from ailab_kernel.cli.main import main; main()", "deidentify")


def made(folder: Path) -> dict[str, bytes]:
    """Every file of an output; lines of the journal in no order, which a kill may change."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: b"".join(sorted(data.splitlines())) if name.endswith(".jsonl") else data for name, data in files.items()}


def killed(command: list[str], out: Path, chance: random.Random, *, most: int) -> int:
    """Start it, and kill all of it at some moment: while it starts, reads, or after some more files; how many it had."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wanted, until = len(list(out.rglob("*.dcm"))) + chance.randint(0, most), time.monotonic() + 120
    while running.poll() is None and time.monotonic() < until and len(list(out.rglob("*.dcm"))) < wanted:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.05))
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    return len(list(out.rglob("*.dcm")))


def test_killed_again_and_again_it_is_as_if_nobody_had(tmp_path):
    files = STUDIES * SLICES
    write(tmp_path / "in", STUDIES, slices=SLICES)
    key = tmp_path / "site.key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    whole, out, chance = tmp_path / "whole", tmp_path / "out", random.Random(500)
    words = ["--key-file", str(key), "--processes", "2"]
    subprocess.run([*COMMAND, tmp_path / "in", whole, *words], check=True, capture_output=True)
    again = [*COMMAND, str(tmp_path / "in"), str(out), *words]
    had = [killed(again, out, chance, most=2 * files // KILLS) for _ in range(KILLS)]
    done = subprocess.run([*again, "--json"], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert any(0 < one < files for one in had), "some kill met it at work"
    assert (report["files"], report["written"], report["refused"]) == (files, files, [])
    assert made(out) == made(whole)
    one_to_one(tmp_path / "in", out, files)
    sys.stdout.write(f"\n{STUDIES} studies, {files} files, killed at {had}: nothing lost, nothing mapped twice, every byte equal\n")


def one_to_one(source: Path, out: Path, files: int) -> None:
    """As many patients, studies and objects come out as went in."""
    told = [{keyword: {str(dcmread(path, stop_before_pixels=True, specific_tags=[keyword])[keyword].value)
                       for path in folder.rglob("*.dcm")} for keyword in ("PatientID", "StudyInstanceUID", "SOPInstanceUID")}
            for folder in (source, out)]  # fmt: skip
    assert [{keyword: len(values) for keyword, values in one.items()} for one in told] == [
        {"PatientID": STUDIES, "StudyInstanceUID": STUDIES, "SOPInstanceUID": files}] * 2  # fmt: skip
    assert not any(told[0][keyword] & told[1][keyword] for keyword in told[0])
