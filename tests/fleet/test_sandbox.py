"""Walls: what is named is there, and nothing else; devices and shared memory as leased."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ailab_kernel.fleet.gpus import device_files, use, visible
from ailab_kernel.fleet.room import Room
from ailab_kernel.fleet.sandbox import Walls, lacking
from tests.services import need_service

TABLE = """# gpu         pid   type     sm    mem    enc    dec    jpg    ofa    command
# Idx           #    C/G      %      %      %      %      %      %    name
    0       {one}     C     37      5      -      -      -      -    python
    0       4242      C      -      -      -      -      -      -    python
    1       4343      C     99     10      -      -      -      -    other
"""


@pytest.fixture
def driver(tmp_path):
    """Two devices as the driver describes them; their numbers are not in the order of their addresses."""
    for address, minor in {"0000:07:00.0": 1, "0000:81:00.0": 0}.items():
        folder = tmp_path / "gpus" / address
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t H100\nGPU UUID: \t GPU-{minor}\nDevice Minor: \t {minor}\n")
    return tmp_path / "gpus"


def test_a_lease_opens_its_own_device_and_no_other(driver):
    files = [path.name for path in device_files(["0"], driver=driver)]
    assert files == ["nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"]
    assert device_files([], driver=driver) == ()
    assert device_files(["0"], driver=driver / "none") == (), "simulated"
    assert visible(["0", "1"], driver=driver) == "GPU-1,GPU-0"
    assert visible(["0", "1"], driver=driver / "none") == "0,1"


def test_use_is_of_ones_own_programs_only(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{TABLE.format(one=1111)}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert use({1111, 4242, 7}) == 37
    assert use({4242}) == 0
    assert use(set()) == 0
    program.write_text("#!/bin/sh\necho 'Feature not supported'; exit 3\n")
    assert use({1111}) == 0
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert use({1111}) == 0


def inside(tmp_path: Path, code: str, **changes) -> subprocess.CompletedProcess:
    need_service("bwrap", "setpriv", package="bubblewrap util-linux")
    lab = tmp_path / "lab"
    for name in ("rooms/anna", "rooms/ben", "private", "tmp"):
        (lab / name).mkdir(parents=True, exist_ok=True)
    (lab / "private" / "key").write_text("secret")
    (lab / "rooms" / "ben" / "notes").write_text("his")
    home = lab / "rooms" / "anna"
    walls = Walls(home=home, tmp=lab / "tmp", hide=lab, **changes)
    for path in (home, lab / "tmp"):
        os.chown(path, walls.uid or os.getuid(), walls.uid or os.getgid())
    room = Room(home=home, walled=True, uid=walls.uid)
    return subprocess.run([*room.words(), *walls.words(), sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("uid", [0, pytest.param(200_123, marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root"))])
def test_what_is_not_named_does_not_exist(tmp_path, uid):
    code = ("import os; lab = os.path.dirname(os.path.dirname(os.getcwd())); s = os.statvfs('/dev/shm')\n"
            "there = [name for name in ('private', 'rooms/ben', 'rooms/anna') if os.path.exists(lab + '/' + name)]\n"
            "print(there, s.f_blocks * s.f_frsize, os.path.exists('/etc/shadow'), oct(os.stat(lab).st_mode))\n"
            "print(os.getuid(), [one for one in os.listdir('/dev') if one.startswith(('nvidia', 'vd', 'sd', 'kvm'))])\n"
            "open('mine', 'w').close(); open('/tmp/mine', 'w').close()\n"
            "print([line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'NoNewPrivs'))])\n"
            "raise SystemExit(7)")
    done = inside(tmp_path, code, shm_gb=0.25, uid=uid)
    assert done.returncode == 7, done.stderr
    seen, who, rights = done.stdout.splitlines()
    assert seen == f"['rooms/anna'] {2**28} False 0o40711"
    assert who.endswith("[]")
    assert (int(who.split()[0]) == uid) == bool(uid)
    assert rights == "['0000000000000000', '1']"
    assert (tmp_path / "lab" / "tmp" / "mine").exists()


def test_a_program_to_read_cannot_be_written_and_a_device_is_there_when_leased(tmp_path):
    program = tmp_path / "program"
    program.mkdir()
    (program / "module.py").write_text("x = 1")
    code = f"import os; print(open('{program}/module.py').read(), os.path.exists('/dev/loop-control')); open('{program}/module.py', 'w')"
    done = inside(tmp_path, code, reads=(program, tmp_path / "absent"), devices=(Path("/dev/loop-control"),))
    assert done.stdout.strip() == f"x = 1 {Path('/dev/loop-control').exists()}"
    assert "OSError" in done.stderr or "PermissionError" in done.stderr


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert lacking() == "bwrap is not installed (apt-get install bubblewrap)"
