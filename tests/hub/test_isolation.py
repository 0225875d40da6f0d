"""From a student's kernel with a shell: the hub, its secrets, other people and the machine are out of reach, counted."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import requests

from ailab_kernel.fleet.visit import Visit
from ailab_kernel.ground.errors import SettingsError
from hub_config.isolation import find
from tests.services import need_service

from . import passage
from .hubs import ROOT
from .hubs import hub as started

pytestmark = pytest.mark.slow
TRY = """
def attempt(text):
    try:
        value = eval(text, {name: __import__(name) for name in ('os', 'subprocess', 'socket', 'ctypes', 'urllib.request')}
                     | {'urllib': __import__('urllib.request')})
    except OSError as error:
        return 'refused: ' + type(error).__name__ + ' ' + str(error.errno or getattr(error, 'code', ''))
    return 'REACHED: ' + repr(value)[:200]

def shell(words):
    done = __import__('subprocess').run(words, capture_output=True, text=True, stdin=-3, timeout=20)
    if done.returncode:
        raise OSError(done.returncode, done.stderr[-200:])
    return done.stdout

import builtins; builtins.shell = shell
"""


def attempts(hub, anna_port: int) -> dict[str, str]:
    """What is tried, and the code that would succeed if it were possible."""
    lab, private, base = hub.home, hub.private, int(hub.url.rpartition(":")[2])
    return {
        "another's file": f"open('{lab}/hub/rooms/anna/secret.txt').read()",
        "another's folder": f"os.listdir('{lab}/hub/rooms/anna')",
        "another's notices": f"open('{lab}/hub/told/anna/notices.json').read()",
        "another's temporary files": f"os.listdir('{lab}/hub/tmp/anna')",
        "the database": f"open('{private}/jupyterhub.sqlite', 'rb').read()",
        "the cookie secret": f"open('{private}/cookie_secret').read()",
        "the check's token": f"open('{private}/check.token').read()",
        "an invitation": f"open('{private}/invitations/x.json', 'w')",
        "the catalog": f"open('{lab}/catalog.sqlite', 'rb').read()",
        "the key": f"open('{lab}/key.pem', 'rb').read()",
        "its own notices": "open(os.environ['AILAB_NOTICES'], 'w')",
        "a beat in its room's name": f"open('{lab}/hub/told/ben/seen/gpu.json', 'w')",
        "root": "os.setuid(0) if os.getuid() else open('/etc/shadow').read()",
        "a setuid program": "shell(['su', '-c', 'id'])",
        "the password file": "open('/etc/shadow').read()",
        "a program changed": "open(__import__('ailab_kernel').__file__, 'a')",
        "Python changed": "open(os.path.join(__import__('sys').prefix, 'pyvenv.cfg'), 'a')",
        "a mount taken away": f"shell(['unshare', '-Urm', 'umount', '{lab}'])",
        "a raw device": "shell(['mknod', 'disk', 'b', '254', '0'])",
        "the proxy's routes": f"urllib.request.urlopen('http://127.0.0.1:{base + 2}/api/routes').read()",
        "a route of its own": f"urllib.request.urlopen(urllib.request.Request('http://127.0.0.1:{base + 2}/api/routes/x', data=b'{{}}', method='POST')).read()",
        "the hub's API as nobody": f"urllib.request.urlopen('http://127.0.0.1:{base + 1}/hub/api/users').read()",
        "everybody's list": f"urllib.request.urlopen(urllib.request.Request('http://127.0.0.1:{base + 1}/hub/api/users/anna', headers={{'Authorization': 'token ' + os.environ['JUPYTERHUB_API_TOKEN']}})).read()",
        "another's server": f"urllib.request.urlopen('http://127.0.0.1:{anna_port}/user/anna/api/contents').read()",
        "another's server with its token": f"urllib.request.urlopen(urllib.request.Request('http://127.0.0.1:{anna_port}/user/anna/api/contents', headers={{'Authorization': 'token ' + os.environ['JUPYTERHUB_API_TOKEN']}})).read()",
    }


WALLED = {  # what only walls hide
    "the hub's folder": "os.listdir('{lab}/hub/private')",
    "its room": "os.kill({room}, 0)",
    "the hub's environment": "open('/proc/{hub}/environ').read()",
    "the disk": "os.open('/dev/vda', os.O_RDONLY)",
    "the checkout": "os.listdir('{root}/.git')",
}


@pytest.fixture(scope="module", params=["the strongest", "bwrap"])
def place(request, hub_needs):
    """A hub with walls (root's, and one whose servers have the hub's own user), two people's visits, Anna's kernel."""
    need_service("bwrap", "setpriv", package="bubblewrap util-linux")
    if request.param == "bwrap":
        with started(AILAB_HUB_ISOLATE="bwrap") as hub:
            yield "bwrap", *settled(hub)
        return
    hub = request.getfixturevalue("hub")
    yield "uid+bwrap" if os.geteuid() == 0 else "bwrap", *settled(hub)


def settled(hub):
    anna, ben = hub.person("anna", "student"), hub.person("ben", "student")
    for visit in (anna, ben):
        assert visit.choose("pilot").status_code < 400
    for visit in (anna, ben):
        visit.wait()
    kernel = anna.kernel()
    anna.run("open('secret.txt', 'w').write('mine')", kernel=kernel)
    for name in ("catalog.sqlite", "key.pem"):
        (hub.home / name).touch(mode=0o600)
    return hub, anna, ben, kernel


def room_of(hub, name: str) -> int:
    return min(int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal() and _is_room(one, hub, name))


def _is_room(one, hub, name: str) -> bool:
    try:
        words = (one / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"ailab_kernel.fleet.room" in words and f"--home={hub.home}/hub/rooms/{name}".encode() in words


def test_everything_that_is_not_ones_own_is_refused(place):
    _, hub, anna, ben, anna_kernel = place
    port = anna.run("int(__import__('os').environ['JUPYTERHUB_SERVICE_URL'].split(':')[2].split('/')[0])", kernel=anna_kernel)
    room = room_of(hub, "ben")
    tries = attempts(hub, int(port))
    parent = int(Path(f"/proc/{room}/stat").read_text().rpartition(")")[2].split()[1])
    words = {"lab": hub.home, "room": room, "hub": parent, "root": ROOT}
    tries |= {what: code.format(**words) for what, code in WALLED.items()}
    kernel = ben.kernel()
    ben.run(TRY, kernel=kernel)
    told = {what: ben.run(f"attempt({code!r})", kernel=kernel) for what, code in tries.items()}
    reached = {what: answer for what, answer in told.items() if not answer.startswith("'refused")}
    assert reached == {}
    assert len(told) == 30
    assert anna.run("open('secret.txt').read()", kernel=anna_kernel) == "'mine'"
    assert Visit.lab(ben, "GET", "/../anna/api/contents").status_code in {403, 404}
    refused = requests.get(f"{hub.url}/user/anna/api/contents", headers={"Authorization": f"token {ben._token}"}, timeout=20)
    assert refused.status_code == 403


def test_a_server_has_no_rights_and_sees_itself_only(place):
    level, hub, _, ben, _ = place
    kernel = ben.kernel()
    here = ben.run(f"__import__('os').listdir('{hub.home}/hub/rooms')", kernel=kernel)
    assert "PermissionError" in here if "uid" in level else here == "['ben']"
    status = ben.run("print(open('/proc/self/status').read())", kernel=kernel)
    assert {"NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"} <= set(status.splitlines())
    assert ben.run("__import__('os').getuid() >= 200_000", kernel=kernel) == str("uid" in level)
    told = "import json, ipykernel; json.loads(ipykernel.get_connection_info())['transport']"
    assert ben.run(told, kernel=kernel) == "'ipc'", "at a TCP port everybody on the machine could read what cells print"
    pids = ben.run("sum(name.isdigit() for name in __import__('os').listdir('/proc'))", kernel=kernel)
    assert int(pids) < 12
    seen = ben.run("sorted(__import__('os').listdir('/dev'))", kernel=kernel)
    assert not [name for name in ("sda", "vda", "kvm", "mem", "nvidia0", "fuse") if f"'{name}'" in seen]
    shm = ben.run("s = __import__('os').statvfs('/dev/shm'); s.f_frsize * s.f_blocks", kernel=kernel)
    assert int(shm) == 2**26, "64 MB where the tier says nothing"
    assert ben.run("import os; os.openpty()[0] > 0", kernel=kernel) == "True", "terminals work"
    assert ben.run("import tempfile; tempfile.mkdtemp().startswith('/tmp/')", kernel=kernel) == "True"


def test_how_people_are_isolated_is_said_to_them_and_in_the_log(place):
    level, hub, *_ = place
    says = {"uid+bwrap": "a system user of its own, behind walls", "uid": "a system user of its own.",
            "bwrap": "runs behind walls"}[level]
    assert says in hub.person("cleo", "student")._get("/hub/spawn").text.replace("&#x27;", "'")
    assert says in hub.log


def test_a_demand_that_cannot_be_met_is_refused_with_the_reason(tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match=r"'tower': one of uid\+bwrap, uid, bwrap, none is expected"):
        find(tmp_path, demanded="tower")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"'bwrap' cannot be had: bwrap is not installed \(apt-get install bubblewrap\)"):
        find(tmp_path, demanded="bwrap")
    weaker = find(tmp_path, demanded="none")
    assert weaker.level == "none"
    assert weaker.why.count("bwrap is not installed") == 2


def test_a_hub_that_is_not_root_has_walls_all_the_same():
    need_service("bwrap", "setpriv", package="bubblewrap util-linux")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path; from hub_config.isolation import find; print(find(Path(sys.argv[1]) / 'hub'))"
    folder = Path(tempfile.mkdtemp())
    command = [sys.executable, "-I", "-c", code, str(folder)]
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
        command = passage.open_to_all(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--", *command])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
    finally:
        shutil.rmtree(folder)
    assert "level='bwrap', why='uid+bwrap: the hub is not root" in done.stdout, done.stderr
