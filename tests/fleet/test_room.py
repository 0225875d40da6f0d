"""The room: it counts every process of a server, ends what grows too large, says so, and leaves nobody behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ailab_kernel.fleet.room import Room, descendants, fence, memory
from ailab_kernel.ground.activity import told

HOLD = "import sys, time; kept = b'x' * int(float(sys.argv[1]) * 2**20); print('held', flush=True); time.sleep(60)"


def started(room: Room, *command: str) -> subprocess.Popen:
    return subprocess.Popen([*room.words(), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, seconds=5) -> bool:
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not alive(pid)


def test_a_room_passes_the_exit_status_and_folder_on(tmp_path):
    room = started(Room(home=tmp_path), sys.executable, "-c", "import os; print(os.getcwd()); raise SystemExit(7)")
    assert room.communicate(timeout=30)[0].strip() == str(tmp_path)
    assert room.returncode == 7


def test_three_programs_together_pass_the_limit_and_only_the_last_to_grow_ends(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        f"hold = {HOLD!r}\n"
        "ps = []\n"
        "for mb in (90, 120, 100):\n"
        "    ps.append(subprocess.Popen([sys.executable, '-c', hold, str(mb)], stdout=subprocess.PIPE))\n"
        "    ps[-1].stdout.readline(); time.sleep(0.7)\n"
        "print(ps[2].wait(), [p.poll() for p in ps], flush=True)\n"
        "[p.kill() for p in ps]\n")
    notices = tmp_path / "anna.json"
    room = started(Room(memory_gb=0.28, home=tmp_path, notices=notices, hint="Next: load less."), sys.executable, "-c", code)
    out, err = room.communicate(timeout=60)
    assert out.strip() == "-9 [None, None, -9]", err
    assert room.returncode == 0
    (one,) = told(notices)
    assert one.text.startswith("out of memory: 0.")
    assert "of 0.28 GB used; the program that grew last, 0." in one.text
    assert one.text.endswith("Next: load less.")


def test_a_server_that_holds_too_much_itself_ends(tmp_path):
    notices = tmp_path / "anna.json"
    room = started(Room(memory_gb=0.1, home=tmp_path, notices=notices), sys.executable, "-c", HOLD, "200")
    room.communicate(timeout=30)
    assert room.returncode == 128 + signal.SIGKILL
    assert "the server was ended" in told(notices)[0].text


def test_a_daemon_that_left_its_parent_counts_and_ends_with_the_room(tmp_path):
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        open('pid', 'w').write(str(os.getpid())); time.sleep(60)\n"
        "    os._exit(0)\n"
        "while not os.path.exists('pid') or not open('pid').read(): time.sleep(0.02)\n"
        "print('ready', flush=True); time.sleep(60)\n")
    room = started(Room(home=tmp_path), sys.executable, "-c", code)
    assert room.stdout.readline() == "ready\n"
    daemon = int((tmp_path / "pid").read_text())
    assert daemon in descendants(room.pid)
    room.terminate()
    room.communicate(timeout=30)
    assert gone(daemon)


def test_a_killed_room_takes_its_server_along(tmp_path):
    room = started(Room(home=tmp_path), sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    server = int(room.stdout.readline())
    room.kill()
    room.communicate(timeout=30)
    assert gone(server)


def test_shared_pages_count_once(tmp_path):
    code = "import os, time; kept = b'x' * 2**27\nfor _ in range(3):\n    if os.fork() == 0: time.sleep(60)\nprint(1, flush=True); time.sleep(60)"
    room = started(Room(home=tmp_path), sys.executable, "-c", code)
    room.stdout.readline()
    pids = descendants(room.pid)
    resident, proportional = sum(memory(pids, over=2**50).values()), sum(memory(pids).values())
    room.terminate()
    room.communicate(timeout=30)
    assert resident > 4 * 2**27
    assert 2**27 < proportional < 2 * 2**27


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a room as another user")
def test_a_room_runs_as_its_own_user_without_ways_back():
    room = started(Room(uid=200_123, home=Path("/")), "/bin/sh", "-c", "id -u; id -g; id -G; grep NoNewPrivs /proc/self/status")
    out, err = room.communicate(timeout=30)
    assert out.split() == ["200123", "200123", "200123", "NoNewPrivs:", "1"], err


def test_what_holds_the_limits_is_said(tmp_path):
    before, says = fence(memory_gb=2, cpus=1.5, systemd=tmp_path / "none")
    assert before == []
    assert "no systemd holds them in the kernel" in says
    if os.geteuid() == 0:
        before, says = fence(memory_gb=2, cpus=1.5, systemd=tmp_path)
        assert before[0] == "systemd-run"
        assert {"MemoryMax=2147483648", "CPUQuota=150%"} <= set(before)
