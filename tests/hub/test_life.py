"""The life of a server: what keeps it, how it is asked to end, and that it outlives a hub that is killed."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ailab_kernel.ground.activity import told

from .hubs import ROOT, Hub, _ailab, environment
from .hubs import hub as started

pytestmark = pytest.mark.slow


def wait_for(what, seconds=30):
    until = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def processes(*words: str) -> list[int]:
    """Processes whose command has all these words in it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if entry.name.isdecimal() and all(word in line for word in words):
            found.append(int(entry.name))
    return sorted(found)


def start(hub, name: str, role: str, tier: str):
    visit = hub.person(name, role)
    assert visit.choose(tier).status_code < 400
    visit.wait()
    return visit


def test_a_number_that_another_program_has_now_is_not_taken_for_the_room():
    pytest.importorskip("jupyterhub")
    from hub_config.local_room import LocalRoom, began

    mine = os.getpid()
    same, other, gone = LocalRoom(), LocalRoom(), LocalRoom()
    same.load_state({"pid": mine, "began": began(mine)})
    assert same.pid == mine
    other.load_state({"pid": mine, "began": "another start"})
    assert other.pid == 0, "it would get the signals that are meant for a room"
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert began(child.pid) == "", "over, though nobody took it in"
    gone.load_state({"pid": child.pid, "began": began(mine)})
    assert gone.pid == 0
    child.wait()


@pytest.fixture(scope="module")
def again(hub_needs, tmp_path_factory):
    """A hub that was killed -9 while two servers ran, and started again: the servers' facts before, and the new hub."""
    with started() as hub:
        gina, anna = start(hub, "gina", "data-scientist", "gpu"), start(hub, "anna", "student", "pilot")
        kernel = anna.kernel()
        anna.run("kept = 41", kernel=kernel)
        rooms = {name: processes("ailab_kernel.fleet.room", f"{hub.home}/hub/rooms/{name} ")[0] for name in ("gina", "anna")}
        number = next(pid for pid in processes("jupyterhub", "-f") if str(hub.url) in environ(pid))
        services = processes("hub_config.culler")
        os.kill(number, signal.SIGKILL)
        assert wait_for(lambda: not Path(f"/proc/{number}").exists() or not environ(number))
        mine = [pid for pid in services if hub.url in environ(pid)]
        assert wait_for(lambda: not [pid for pid in mine if environ(pid)], seconds=10), "the culler ends with its hub"
        tiers = hub.home.parent / "tiers.yaml"
        env = environment(hub.home, hub.url, AILAB_HUB_TIERS=str(tiers), AILAB_HUB_GPUS="simulated*1",
                          AILAB_HUB_BEAT_S="1", AILAB_HUB_SERVICE="off")
        program = subprocess.Popen(_ailab("hub", "start", "--json"), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, cwd=ROOT)
        text = ""
        while not text.rstrip().endswith("}"):
            line = program.stdout.readline()
            assert line, program.stderr.read()
            text += line
        try:
            yield Hub(hub.url, hub.home, json.loads(text)), gina, anna, kernel, rooms
        finally:
            program.terminate()
            program.communicate(timeout=60)


def environ(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_a_hub_that_was_killed_takes_up_the_servers_that_still_run(again):
    _, gina, anna, kernel, rooms = again
    assert wait_for(lambda: anna.server().get("ready"))
    assert anna.run("kept + 1", kernel=kernel) == "42", "nothing was lost"
    assert anna.server()["user_options"] == {"tier": "pilot"}
    assert gina.server()["ready"]
    assert all(environ(pid) for pid in rooms.values()), "the same rooms"


def test_what_was_lent_stays_lent(again):
    hub, gina, _, _, _ = again
    assert gina.run("import os; os.environ['CUDA_VISIBLE_DEVICES']", kernel=gina.kernel()) == "'0'"
    second = hub.person("gunter", "data-scientist")
    second.api("POST", "/users/gunter/server", body={"tier": "gpu"})
    assert "You are number 1 in the queue" in second.told(until="queue")
    second.api("DELETE", "/users/gunter/server")


def test_the_room_still_counts(again):
    hub, _, anna, kernel, _ = again
    greedy = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'kept = bytearray(b\"x\") * 2_600_000_000; input()'], stdin=-1).returncode"
    assert anna.run(greedy, kernel=kernel, seconds=60) == "-9"
    assert "out of memory" in told(hub.home / "hub" / "told" / "anna" / "notices.json")[-1].text


def test_a_server_that_was_taken_up_can_be_stopped_and_leaves_nobody(again):
    hub, gina, anna, _, rooms = again
    began = time.monotonic()
    for visit in (anna, gina):
        visit.leave(seconds=40)
        assert not visit.server()
    assert time.monotonic() - began < 15
    assert not [pid for pid in rooms.values() if environ(pid)]
    assert not processes("jupyterhub.singleuser", f"{hub.home}/hub/rooms/")


def test_a_stopped_server_leaves_a_checkpoint_of_each_open_notebook(hub):
    visit = start(hub, "carla", "student", "pilot")
    book = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    assert visit.lab("PUT", "/api/contents/work.ipynb", body={"type": "notebook", "content": book}).status_code < 400
    opened = {"path": "work.ipynb", "name": "work", "type": "notebook", "kernel": {"name": "python3"}}
    assert visit.lab("POST", "/api/sessions", body=opened).status_code < 400
    saved = visit.lab("GET", "/api/contents/work.ipynb").json()["content"]
    visit.leave()
    kept = hub.home / "hub" / "rooms" / "carla" / ".ipynb_checkpoints" / "work-checkpoint.ipynb"
    assert json.loads(kept.read_text())["nbformat"] == saved["nbformat"] == 4
