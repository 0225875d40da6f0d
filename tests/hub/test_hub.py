"""The hub for real: first login, tiers, limits, devices, culling, isolation, the check."""

import stat
import threading
import time

import pytest
import requests

from ailab_kernel.fleet.visit import Visit
from ailab_kernel.ground.activity import told
from ailab_kernel.ground.errors import AilabError

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


def test_out_of_memory_is_told_and_neighbours_go_on(hub):
    greedy, neighbour = hub.person("greedy", "student"), hub.person("neighbour", "student")
    start(greedy, "pilot"), start(neighbour, "pilot")
    beside = neighbour.kernel()
    assert neighbour.run("kept = 41; kept + 1", kernel=beside) == "42"
    no_device = neighbour.run("import os; os.environ['CUDA_VISIBLE_DEVICES']", kernel=beside)
    assert no_device == "''", "a tier without a GPU sees none"
    kernels = [greedy.kernel() for _ in range(3)]
    for number, kernel in enumerate(kernels):
        if number < 2:
            assert greedy.run("kept = b'x' * 380_000_000; 1", kernel=kernel) == "1"
    with pytest.raises(AilabError, match="did not finish"):
        greedy.run("import time; kept = b'x' * 600_000_000; time.sleep(30)", kernel=kernels[2], seconds=25)
    (one,) = told(hub.home / "hub" / "told" / "greedy.json")
    assert one.text.startswith("out of memory: 1.")
    assert "of 1.2 GB used" in one.text
    assert "shut down idle kernels" in one.text
    assert greedy.run("len(kept)", kernel=kernels[0]).endswith("380000000"), "the others go on"
    assert neighbour.run("kept + 1", kernel=beside) == "42"
    again = wait_for(lambda: _said_again(greedy, kernels[2]), seconds=120)
    assert "out of memory" in again, "the kernel that begins anew says why"
    assert "no systemd holds them" in hub.log or "systemd scope" in hub.log
    greedy.leave()
    assert "out of memory: 1." in greedy._get("/hub/spawn").text, "told again where the next tier is chosen"


def _said_again(visit, kernel):
    try:
        return visit.run("1", kernel=kernel, seconds=30)  # told once; a request sent while it restarts is lost
    except AilabError:
        return ""


def test_an_idle_server_is_stopped_and_told_why_and_work_keeps_it(hub):
    idle, busy, reporting = (hub.person(name, "radiologist") for name in ("idle", "busy", "reporting"))
    for visit in (idle, busy, reporting):
        start(visit, "blink")
    report = ("import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time\\n"
              "from ailab_kernel.ground.activity import busy\\nwith busy(\"report\", \"validate\"): time.sleep(600)'])")
    reporting.run(report, kernel=reporting.kernel())
    cell = threading.Thread(target=busy.run, args=("import time; time.sleep(22); 1",),
                            kwargs={"kernel": busy.kernel(), "seconds": 90})
    cell.start()
    assert wait_for(lambda: not idle.server(), seconds=60), hub.log[-2000:]
    file = hub.home / "hub" / "told" / "idle.json"
    assert any("unless it is used: tier blink" in one.text for one in told(file)), "warned before"
    assert "nobody used it for 12 s and no cell or report was running" in told(file)[-1].text
    assert "Your server was stopped" in idle._get("/hub/spawn").text
    time.sleep(4)
    assert busy.server()["ready"]
    assert reporting.server()["ready"]
    cell.join()


def test_a_kernel_reaches_neither_the_hub_nor_another_person(hub):
    anna, ben = hub.person("anna", "student"), hub.person("ben", "student")
    if "Users are not isolated" in anna._get("/hub/spawn").text:
        pytest.skip("not root, or other users cannot run this Python: users are not isolated, and the hub says so")
    start(anna, "pilot"), start(ben, "pilot")
    kernel = ben.kernel()
    anna.run("open('secret.txt', 'w').write('mine')", kernel=anna.kernel())
    lab = hub.home
    tries = {
        "another's file": f"open('{lab}/hub/rooms/anna/secret.txt').read()",
        "another's folder": f"__import__('os').listdir('{lab}/hub/rooms/anna')",
        "who is here": f"__import__('os').listdir('{lab}/hub/rooms')",
        "the database": f"open('{lab}/hub/private/jupyterhub.sqlite', 'rb').read()",
        "the cookie secret": f"open('{lab}/hub/private/cookie_secret').read()",
        "the check's token": f"open('{lab}/hub/private/check.token').read()",
        "an invitation": f"open('{lab}/hub/private/invitations/x.json', 'w')",
        "its own notices": "open(__import__('os').environ['AILAB_NOTICES'], 'w')",
        "its room": "__import__('os').kill(__import__('os').getppid() and int(open(f'/proc/{__import__(\"os\").getppid()}/stat').read().split()[3]), 0)",
        "root": "__import__('os').setuid(0)",
    }
    for what, code in tries.items():
        assert "PermissionError" in ben.run(code, kernel=kernel), what
    sudo = ben.run("__import__('subprocess').run(['su', '-c', 'id'], capture_output=True, stdin=-3).returncode", kernel=kernel)
    assert sudo != "0"
    assert ben.run("__import__('os').getuid() >= 200_000", kernel=kernel) == "True"
    assert Visit.lab(ben, "GET", "/../anna/api/contents").status_code in {403, 404}
    assert requests.get(f"{hub.url}/user/anna/api/contents", headers={"Authorization": f"token {ben._token}"},
                        timeout=20).status_code == 403


def test_the_check_walks_through_and_leaves_nothing(hub):
    done = hub.ailab("hub", "check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split("  ")[-1] for line in done.stdout.splitlines()] == [
        "a temporary user logged in", "tier pilot started and JupyterLab answered", "a kernel ran one line",
        "the server stopped", "the user was removed"]
    with pytest.raises(AilabError):
        Visit(hub.url, "ailab-check").log_in("whatever-it-was")


def test_inviting_is_a_command(hub):
    done = hub.ailab("hub", "invite", "nora", "--role", "auditor")
    assert done.returncode == 0
    password = done.stdout.split("first password ")[1].split()[0]
    nora = Visit(hub.url, "nora")
    nora.log_in(password)
    assert nora.api("GET", "/user").json()["groups"] == ["auditor"]
    assert hub.ailab("hub", "invite", "Nora!", "--role", "auditor").returncode == 2
