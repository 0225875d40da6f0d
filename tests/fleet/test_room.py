"""The room: it counts every process of a server, ends what grows too large, says so, and leaves nobody behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ailab_kernel.fleet.memory import descendants, memory
from ailab_kernel.fleet.room import Room
from ailab_kernel.fleet.sandbox import Walls
from ailab_kernel.ground import activity
from ailab_kernel.ground.activity import told
from tests.services import need_service

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


def walled(tmp_path: Path, **told) -> tuple[Room, list[str]]:
    need_service("bwrap", "setpriv", package="bubblewrap util-linux")
    home, tmp = tmp_path / "lab" / "anna", tmp_path / "lab" / "tmp"
    home.mkdir(parents=True), tmp.mkdir()
    return Room(home=home, walled=True, **told), Walls(home=home, tmp=tmp, hide=tmp_path / "lab").words()


@pytest.mark.parametrize("behind_walls", [False, True])
def test_the_largest_program_is_not_taken_for_the_server_behind_walls(tmp_path, behind_walls):
    notices = tmp_path / "anna.json"
    told = {"memory_gb": 0.25, "notices": notices}
    room, before = walled(tmp_path, **told) if behind_walls else (Room(home=tmp_path, **told), [])
    program = f"import subprocess, sys; print(subprocess.run([sys.executable, '-c', {HOLD!r}, '400'], stdout=-3).returncode)"
    done = subprocess.run([*room.words(), *before, sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "-9", done.stderr
    assert "the program that grew last" in told_in(notices)
    server = subprocess.run([*room.words(), *before, sys.executable, "-c", HOLD, "400"], capture_output=True, text=True, timeout=60)
    assert server.returncode == 128 + signal.SIGKILL
    assert "the server was ended" in told_in(notices)


def told_in(notices: Path) -> str:
    return activity.told(notices)[-1].text


SERVER = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: (open('order', 'a').write('server '), sys.exit(0)))
subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]])
time.sleep(60)
"""
KERNEL = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: open('order', 'a').write('kernel '))
subprocess.Popen([sys.executable, '-c', sys.argv[1]])
time.sleep(60)
"""
PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), open('order', 'a').write('program '), sys.exit(0)))
open('ready', 'w').close()
time.sleep(60)
"""


@pytest.mark.parametrize("behind_walls", [False, True])
def test_asked_to_end_programs_write_where_they_stand_before_the_server_ends(tmp_path, behind_walls):
    room, before = walled(tmp_path) if behind_walls else (Room(home=tmp_path), [])
    running = started(room, *before, sys.executable, "-c", SERVER, KERNEL, PROGRAM)
    until = time.monotonic() + 20
    while not (room.home / "ready").exists() and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert (room.home / "order").read_text() == "program server ", errors
    assert running.returncode == 0


def test_a_program_that_uses_a_leased_gpu_beats(tmp_path):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"""#!/bin/sh
until [ -s {tmp_path}/pids ]; do sleep 0.05; done
echo '# gpu pid type sm mem'
echo "0 $(cat {tmp_path}/pids) C 64 1"
""")
    smi.chmod(0o755)
    code = f"import os, time; open('{tmp_path}/pids', 'w').write(str(os.getpid())); time.sleep(60)"
    beats = tmp_path / "seen"
    room = Room(home=tmp_path, gpus=5.0, beats=beats)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    running = subprocess.Popen([*room.words(), sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)
    until = time.monotonic() + 20
    while not activity.beats(beats) and time.monotonic() < until:
        time.sleep(0.05)
    running.terminate()
    running.communicate(timeout=30)
    assert [(one.kind, one.what) for one in activity.beats(beats)] == [("gpu", "a program uses 64 % of a GPU")]
