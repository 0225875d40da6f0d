"""The hub for real: first login, tiers, limits, devices, culling, isolation, the check."""

import stat
import threading
import time
from dataclasses import replace
from functools import partial
from itertools import cycle

import pytest
import requests

from ailab_kernel.fleet.checking import GUEST, HEALTH, Plan, check
from ailab_kernel.fleet.profiles import read_profiles
from ailab_kernel.fleet.visit import Visit
from ailab_kernel.ground.activity import told
from ailab_kernel.ground.errors import AilabError

from .hubs import ROOT, TIERS

pytestmark = pytest.mark.slow


def wait_for(what, seconds=30):
    until = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def start(visit: Visit, tier: str) -> Visit:
    assert visit.choose(tier).status_code < 400
    visit.wait()
    return visit


def test_the_first_start_is_quick_and_tells_the_first_login(hub):
    assert hub.said["seconds"] <= 10
    file = hub.private / "first-login.txt"
    if file.exists():                                          # no other test has used it
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_text() == hub.said["login"]
    assert stat.S_IMODE(hub.private.stat().st_mode) == 0o700
    name, password = (line.partition(": ")[2] for line in hub.said["login"].splitlines())
    with pytest.raises(AilabError, match="did not let admin in"):
        Visit(hub.url, name).log_in("wrong-" + password)
    admin = Visit(hub.url, name)
    admin.log_in(password)
    assert not file.exists(), "used up"
    told = admin.api("GET", "/user").json()
    assert told["groups"] == ["admin"]
    assert "access:servers" not in told["scopes"], "an admin does not enter other people's servers"
    assert admin.tiers() == ["pilot"]
    assert password not in hub.log


@pytest.mark.parametrize(("role", "tiers"), [
    ("student", ["pilot"]), ("auditor", ["pilot"]), ("radiologist", ["pilot", "blink"]),
    ("data-scientist", ["pilot", "blink", "gpu"]),
])
def test_each_role_is_offered_its_tiers_only(hub, role, tiers):
    assert hub.person(f"{role}-sees", role).tiers() == tiers


@pytest.mark.parametrize("tier", ["gpu", "blink", "enormous", "../pilot", "<b>"])
def test_a_forged_tier_is_refused_however_it_comes(hub, tier):
    name = f"forger-{abs(hash(tier)) % 1000}"
    student = hub.person(name, "student")
    by_form = student.choose(tier)
    assert by_form.status_code == 403
    assert "choose one of pilot" in by_form.text
    assert "<b>'" not in by_form.text
    by_api = student.api("POST", f"/users/{name}/server", body={"tier": tier})
    assert by_api.status_code == 403
    by_address = student._get(f"/hub/spawn?tier={tier}")
    assert by_address.status_code in {200, 403}
    assert not student.server()


def test_whoever_has_no_role_has_no_tier(hub):
    visit = hub.person("newcomer", "student")
    admin_token = {"Authorization": f"token {(hub.private / 'check.token').read_text()}"}
    refused = requests.delete(f"{hub.url}/hub/api/groups/student/users", json={"users": ["newcomer"]}, headers=admin_token)
    assert refused.status_code in {403, 404}, "the check's token may do its own work only"
    assert visit.tiers() == ["pilot"]


def test_strangers_and_wrong_passwords_do_not_enter(hub):
    for path in ("/hub/home", "/hub/admin", "/hub/spawn", "/user/anna/lab"):
        answer = requests.get(hub.url + path, allow_redirects=True, timeout=20)
        assert "/hub/login" in answer.url, path
    for path in ("/hub/api/users", "/hub/api/services", "/hub/api/proxy", "/hub/api/groups"):
        assert requests.get(hub.url + path, timeout=20).status_code in {401, 403}, path
    assert requests.get(f"{hub.url}/hub/signup", timeout=20).status_code == 404
    without_xsrf = requests.post(f"{hub.url}/hub/login", data={"username": "admin", "password": "x"}, timeout=20)
    assert without_xsrf.status_code == 403


def test_cookies_are_kept_from_scripts_and_other_sites(hub):
    visit = hub.person("cookie", "student")
    kept = {one.name: one for one in visit._session.cookies}
    login = kept["jupyterhub-hub-login"]
    assert login.has_nonstandard_attr("HttpOnly")
    assert login.get_nonstandard_attr("SameSite") == "Lax"
    assert login.expires - time.time() <= 12 * 3600 + 5


def test_two_people_never_hold_the_gpu_and_the_queue_is_shown(hub):
    first, second = hub.person("gina", "data-scientist"), hub.person("gunter", "data-scientist")
    start(first, "gpu")
    devices = "import os; os.environ['CUDA_VISIBLE_DEVICES']"
    assert first.run(devices, kernel=first.kernel()) == "'0'"
    second.api("POST", "/users/gunter/server", body={"tier": "gpu"})
    events = second.told(until="queue")
    assert "You are number 1 in the queue" in events
    assert not second.server()["ready"]
    first.leave()
    second.wait()
    assert second.run(devices, kernel=second.kernel()) == "'0'"
    second.leave()


HOLD = "kept = bytearray(b'x') * 10**9; len(kept)"             # 1 GB, every page written
HOLD_AND_WAIT = HOLD + "; import time; time.sleep(600)"


def test_three_kernels_of_1_gb_in_a_tier_of_2_gb_are_stopped_and_told_why_and_neighbours_go_on(hub):
    greedy, neighbour = hub.person("greedy", "student"), hub.person("neighbour", "student")
    assert greedy.choose("pilot").status_code < 400
    start(neighbour, "pilot")
    greedy.wait()
    beside = neighbour.kernel()
    assert neighbour.run("kept = 41; kept + 1", kernel=beside) == "42"
    no_device = neighbour.run("import os; os.environ['CUDA_VISIBLE_DEVICES']", kernel=beside)
    assert no_device == "''", "a tier without a GPU sees none"
    first, second, third = (greedy.kernel() for _ in range(3))
    assert greedy.run(HOLD, kernel=first).endswith("1000000000")
    file = hub.home / "hub" / "told" / "greedy" / "notices.json"
    for number, kernel in enumerate((second, third), 1):       # with the first and JupyterLab itself more than 2 GB
        with pytest.raises(AilabError, match="did not finish"):
            greedy.run(HOLD_AND_WAIT, kernel=kernel, seconds=60)
        assert wait_for(lambda number=number: len(told(file)) == number)
        one = told(file)[-1]
        assert one.text.startswith("out of memory: 2.")
        assert "of 2 GB used; the program that grew last, 0." in one.text or "program that grew last, 1." in one.text
        assert "and the others go on. Next: load less at a time, shut down idle kernels" in one.text
    assert greedy.run("len(kept)", kernel=first).endswith("1000000000"), "the day's data are still there"
    assert neighbour.run("kept + 1", kernel=beside) == "42"
    assert "out of memory" in said_again(greedy, second, third), "a kernel that begins anew says why"
    assert "greedy" in hub.log
    assert [how for how in ("cgroup v2, which holds", "a systemd scope", "neither cgroup nor systemd") if how in hub.log]
    greedy.leave()
    page = greedy._get("/hub/spawn").text
    assert "out of memory: 2." in page, "told again where the next tier is chosen"
    assert "Limits count the whole server: the room counts the memory of all its processes" in page


def is_up(visit, kernel):
    return visit.lab("GET", f"/api/kernels/{kernel}").json().get("execution_state") in {"idle", "starting"}


def said_again(visit, *kernels, seconds=150):
    """What kernels print first after they were ended: asked in turn when they are up again, for a request may be lost
    else.
    """
    until, printed, asked = time.monotonic() + seconds, "", cycle(kernels)
    while "out of memory" not in printed and time.monotonic() < until:
        kernel = next(asked)
        if wait_for(partial(is_up, visit, kernel), seconds=10):
            try:
                printed += visit.run("1", kernel=kernel, seconds=10)
            except AilabError:
                continue
    return printed


def test_an_idle_server_is_stopped_and_told_why_and_work_keeps_it(hub):
    idle, busy, reporting, drawing = (hub.person(name, "radiologist") for name in ("idle", "busy", "reporting", "drawing"))
    for visit in (idle, busy, reporting, drawing):
        assert visit.choose("blink").status_code < 400
    strokes = "from ailab_kernel.ground.activity import busy; kept = busy('strokes', '3 strokes'); kept.__enter__()"
    drawing.wait()
    drawing.run(strokes, kernel=drawing.kernel())
    for visit in (busy, reporting):
        visit.wait()
    report = ("import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time\\n"
              "from ailab_kernel.ground.activity import busy\\nwith busy(\"report\", \"validate\"): time.sleep(600)'])")
    reporting.run(report, kernel=reporting.kernel())
    cell = threading.Thread(target=busy.run, args=("import time; time.sleep(22); 1",),
                            kwargs={"kernel": busy.kernel(), "seconds": 90})
    cell.start()
    assert wait_for(lambda: not idle.server(), seconds=60), hub.log[-2000:]
    file = hub.home / "hub" / "told" / "idle" / "notices.json"
    assert any("unless it is used: tier blink" in one.text for one in told(file)), "warned before"
    assert "nobody used it for 12 s and no cell, report or GPU was at work in it" in told(file)[-1].text
    assert "Your server was stopped" in idle._get("/hub/spawn").text
    time.sleep(4)
    assert busy.server()["ready"]
    assert reporting.server()["ready"]
    assert drawing.server()["ready"], "strokes that are not yet stored"
    cell.join()


def nothing_is_left(hub) -> bool:
    with pytest.raises(AilabError):
        Visit(hub.url, GUEST).log_in("whatever-it-was")
    return not [path for path in (hub.home / "hub").rglob(f"*{GUEST}*") if path.suffix != ".log"]


def test_the_check_walks_through_every_tier_and_leaves_nothing(hub):
    done = hub.ailab("hub", "check")
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.split("  ")[-1] for line in done.stdout.splitlines()]
    assert [one.partition(" healthy")[0] for one in told] == [
        "a temporary user logged in",
        *(step for tier in ("pilot", "blink", "gpu") for step in (
            f"tier {tier} started and JupyterLab answered", f"tier {tier}:", f"tier {tier}: the server stopped")),
        "the user was removed"]
    healthy = [one for one in told if " healthy" in one]
    assert all("heart-wall@1 on torch" in one for one in healthy)
    assert "device 0 lent" in healthy[2]
    assert "device" not in healthy[0].replace("no GPU seen", "")
    assert nothing_is_left(hub)


def test_a_check_that_was_killed_is_cleared_up_by_the_next(hub):
    killed = hub.ailab_started("hub", "check")
    room = hub.home / "hub" / "rooms" / GUEST
    assert wait_for(room.exists, seconds=60)
    assert hub.ailab("hub", "check").stderr.endswith("another check of this hub is under way; wait for it\n")
    killed.kill()
    killed.communicate()
    assert room.exists()
    pilot = read_profiles(TIERS)[0]
    vast = replace(pilot, name="vast", groups=("admin",))
    done = check(Plan(url=hub.url, private=hub.private, profiles=(pilot, vast), notebook=ROOT / "notebooks" / HEALTH))
    assert done.steps[0].did == "what a former check left was removed"
    assert [step.did for step in done.steps[-2:]] == ["tier pilot: the server stopped", "the user was removed"]
    assert [one.tier for one in done.skipped] == ["vast"]
    assert nothing_is_left(hub)


def test_a_check_that_is_asked_to_end_clears_up_itself(hub):
    asked = hub.ailab_started("hub", "check")
    assert wait_for((hub.home / "hub" / "rooms" / GUEST).exists, seconds=60)
    asked.terminate()
    _, errors = asked.communicate(timeout=120)
    assert asked.returncode in {1, 130}
    assert "Traceback" not in errors
    assert nothing_is_left(hub)


def test_a_second_hub_at_the_same_address_is_told(hub):
    done = hub.ailab("hub", "start")
    assert done.returncode == 1
    assert f"a hub answers at {hub.url} already" in done.stderr


def test_inviting_is_a_command(hub):
    done = hub.ailab("hub", "invite", "nora", "--role", "auditor")
    assert done.returncode == 0
    password = done.stdout.split("first password ")[1].split()[0]
    nora = Visit(hub.url, "nora")
    nora.log_in(password)
    assert nora.api("GET", "/user").json()["groups"] == ["auditor"]
    assert hub.ailab("hub", "invite", "Nora!", "--role", "auditor").returncode == 2
