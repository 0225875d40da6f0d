"""Groups of the kernel: where they may be made, what is written, and that a group ends and goes with its server.

What has no controllers here is tried on folders that look like the kernel's; the rest on a real cgroup v2 mount.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ailab_kernel.fleet.cgroups import Fence, Ground, Group, fence, settle, survey
from ailab_kernel.fleet.memory import GIB

ALL = "cpuset cpu io memory hugetlb pids"


def machine(tmp_path, *, controllers=ALL, own="/hub.service", mounted=True, root=False) -> Path:
    """A process's folder in a tree like the kernel's."""
    mount = tmp_path / "cgroup"
    group = mount / own.strip("/")
    group.mkdir(parents=True)
    for name in ("cgroup.procs", "cgroup.subtree_control", *([] if root else ["cgroup.type"])):
        (group / name).write_text("")
    (group / "cgroup.controllers").write_text(controllers + "\n")
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "mounts").write_text("proc /proc proc rw 0 0\n" + f"cgroup2 {mount} cgroup2 rw 0 0\n" * mounted)
    (proc / "cgroup").write_text(f"3:cpuset:/\n0::{own}\n")
    return proc


@pytest.mark.parametrize(("changes", "says"), [
    ({"mounted": False}, "no cgroup v2 is mounted"),
    ({"controllers": "hugetlb"}, "lacks cpu, memory, pids here"),
    ({"controllers": "cpu pids"}, "lacks memory here"),
])
def test_why_no_group_can_be_made_is_said(tmp_path, changes, says):
    ground = survey(proc=machine(tmp_path, **changes), systemd=tmp_path / "none")
    assert ground.folder is None
    assert says in ground.why
    assert says in fence(memory_gb=2, cpus=1, ground=ground, systemd=tmp_path / "none").says


def test_a_group_that_is_systemds_is_left_alone_unless_it_was_given_away(tmp_path):
    proc = machine(tmp_path)
    ground = survey(proc=proc, systemd=tmp_path)
    assert "run the hub by a unit with Delegate=yes" in ground.why
    group = tmp_path / "cgroup" / "hub.service"
    try:
        os.setxattr(group, "user.delegate", b"1")
    except OSError:
        pytest.skip("this file system keeps no extended attributes of users")
    assert survey(proc=proc, systemd=tmp_path).folder == group


def test_the_hub_steps_aside_and_takes_only_its_own_along(tmp_path):
    proc = machine(tmp_path)
    group = tmp_path / "cgroup" / "hub.service"
    (group / "cgroup.procs").write_text(f"1\n{os.getpid()}\n")
    (group / "ailab-server-old").mkdir()
    ground = settle(survey(proc=proc, systemd=tmp_path / "none"))
    assert ground.folder == group
    assert (group / "ailab-hub" / "cgroup.procs").read_text() == str(os.getpid())
    assert (group / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert not (group / "ailab-server-old").exists(), "what a former server left"
    (proc / "cgroup").write_text("0::/hub.service/ailab-hub\n")
    again = survey(proc=proc, systemd=tmp_path / "none")
    assert again.folder == group, "started again from the leaf"


def test_a_refusal_of_the_kernel_is_told_and_nothing_more(tmp_path):
    proc = machine(tmp_path, root=True)
    ground = survey(proc=proc, systemd=tmp_path / "none")
    control = tmp_path / "cgroup" / "hub.service" / "cgroup.subtree_control"
    control.unlink()
    control.mkdir()
    refused = settle(ground)
    assert refused.folder is None
    assert "run the hub in a group of its own, such as a systemd unit with Delegate=yes" in refused.why


def test_the_limits_are_written_as_the_kernel_reads_them(tmp_path, monkeypatch):
    group = Group(tmp_path / "ailab-server-anna")
    made = Path.mkdir

    def mkdir(path, *args, **kwargs):                          # the kernel fills a new group with its files
        made(path, *args, **kwargs)
        for name in ("memory.max", "cpu.max", "pids.max", "cgroup.procs"):
            (path / name).write_text("")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    group.make(memory_gb=2, cpus=1.5)
    written = {path.name: path.read_text() for path in group.folder.iterdir()}
    assert written == {"memory.max": str(round(2 * 1.05 * GIB)), "cpu.max": "150000 100000", "pids.max": "4096",
                       "cgroup.procs": ""}, "no swap here, so that memory.swap.max is absent"
    (group.folder / "memory.events").write_text("low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n")
    assert group.killed() == 1
    assert Group(tmp_path / "none").killed() == 0


def test_the_strongest_that_there_is_holds(tmp_path):
    here = fence(memory_gb=2, cpus=1.5, ground=Ground(tmp_path), name="anna", systemd=tmp_path)
    assert here == Fence((), tmp_path / "ailab-server-anna", here.says)
    assert "cgroup v2, which holds the cores too" in here.says
    if os.geteuid() == 0:
        scope = fence(memory_gb=2, cpus=1.5, ground=Ground(None, "why"), systemd=tmp_path)
        assert scope.before[0] == "systemd-run"
        assert {f"MemoryMax={round(2.1 * GIB)}", "CPUQuota=150%", "OOMPolicy=continue"} <= set(scope.before)
    none = fence(memory_gb=2, cpus=1.5, ground=Ground(None, "because"), systemd=tmp_path / "none")
    assert none.before == ()
    assert none.says.endswith("neither cgroup nor systemd holds them in the kernel, so a program may pass both for a moment: because")


@pytest.fixture
def real():
    """A group of the real kernel, of whatever controllers it has."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    mount = next((Path(one[1]) for one in mounts if one[2] == "cgroup2"), None)
    if mount is None or not os.access(mount / "cgroup.procs", os.W_OK):
        pytest.skip("no cgroup v2 that this user may write is mounted here")
    folder = mount / f"ailab-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    Group(folder).remove()


def test_a_real_group_takes_a_server_in_and_ends_it_whole(real):
    code = ("import os, sys, time; open(sys.argv[1] + '/cgroup.procs', 'w').write('0')\n"
            "if os.fork() == 0: os.setsid()\n"
            "print(open('/proc/self/cgroup').read().split('0::')[1].strip(), flush=True); time.sleep(60)")
    server = subprocess.Popen([sys.executable, "-c", code, str(real)], stdout=subprocess.PIPE, text=True)
    assert {server.stdout.readline().strip().rpartition("/")[2] for _ in range(2)} == {real.name}
    assert len((real / "cgroup.procs").read_text().split()) == 2
    began = time.monotonic()
    assert Group(real).remove(), "both, the daemon too"
    server.communicate(timeout=5)
    assert server.returncode == -9
    assert time.monotonic() - began < 3
    assert not real.exists()


def test_a_real_room_whose_limits_the_kernel_refuses_counts_by_itself(real, tmp_path):
    from ailab_kernel.fleet.room import Room

    if "memory" in (real / "cgroup.controllers").read_text().split():
        pytest.skip("the kernel takes the limits here")
    room = Room(memory_gb=1, group=real / "ailab-server-anna", home=tmp_path)
    done = subprocess.run([*room.words(), sys.executable, "-c", "print(41 + 1)"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "42\n"
    assert "no group of the kernel holds the limits" in done.stderr
    assert not (real / "ailab-server-anna").exists()


def test_a_real_group_holds_memory_for_the_server(real, tmp_path):
    from ailab_kernel.fleet.room import Room
    from ailab_kernel.ground.activity import told

    if not {"cpu", "memory", "pids"} <= set((real / "cgroup.controllers").read_text().split()):
        pytest.skip("this machine's cgroup v2 lacks the controllers cpu, memory, pids")
    (real / "cgroup.subtree_control").write_text("+cpu +memory +pids")
    code = "import os; os.fork() or (b'x' * 2**31); os.wait(); print('alive')"
    room = Room(memory_gb=0.5, quota=1, group=real / "ailab-server-anna", home=tmp_path, notices=tmp_path / "anna.json")
    done = subprocess.run([*room.words(), sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "alive\n"
    assert "out of memory: 0.5" in told(tmp_path / "anna.json")[0].text
