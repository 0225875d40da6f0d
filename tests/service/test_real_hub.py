"""The service as a real JupyterHub starts it: tokens, groups and scopes are the hub's own."""

import subprocess
import sys
import time

import psutil
import pytest
import requests

from tests.service.serving import bare, free_port

BOSS = "b" * 64
CONFIG = """
from jupyterhub.proxy import Proxy


class NoProxy(Proxy):                              # the service is asked directly: no Node is needed
    should_start = False

    async def get_all_routes(self):
        return {{}}

    async def add_route(self, routespec, target, data):
        pass

    async def delete_route(self, routespec):
        pass


c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.bind_url = "http://127.0.0.1:{front}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"chief"}}
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.services = [
    dict(name="ailab", url="http://127.0.0.1:{service}", command={command!r}, environment=dict(AILAB_HOME={home!r})),
    dict(name="boss", api_token={boss!r}),
]
c.JupyterHub.load_groups = dict(radiologist=dict(users=["ray"]), student=dict(users=["stu"]))
c.JupyterHub.load_roles = [
    dict(name="boss", services=["boss"], scopes=["admin:users", "tokens"]),
    dict(name="user", scopes=["self", "access:services!service=ailab"]),
]
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    ports = {"front": free_port(), "hub": free_port(), "service": free_port()}
    command = [sys.executable, "-m", "ailab_kernel.service"]
    (folder / "jupyterhub_config.py").write_text(
        CONFIG.format(**ports, command=command, home=str(folder / "trusted"), boss=BOSS))
    with (folder / "hub.log").open("wb") as log:
        running = subprocess.Popen([sys.executable, "-m", "jupyterhub"], cwd=folder, env=bare(), stdout=log,
                                   stderr=log)
    try:
        api, service = (f"http://127.0.0.1:{ports['hub']}/hub/api",
                        f"http://127.0.0.1:{ports['service']}/services/ailab")  # fmt: skip
        _wait(f"{api}/", running, folder)
        _wait(f"{service}/health", running, folder)
        yield api, service
    finally:
        services = psutil.Process(running.pid).children(recursive=True)
        running.terminate()
        running.wait(30)
        for one in services:                   # this hub may go without taking them along
            if one.is_running():
                one.terminate()
        psutil.wait_procs(services, timeout=30)


def _wait(url, running, folder):
    for _ in range(400):
        assert running.poll() is None, (folder / "hub.log").read_text()
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise AssertionError((folder / "hub.log").read_text())


def token(api: str, user: str, *scopes: str) -> str:
    boss = {"Authorization": f"token {BOSS}"}
    requests.post(f"{api}/users/{user}", headers=boss, timeout=10)
    answer = requests.post(f"{api}/users/{user}/tokens", headers=boss, json={"scopes": list(scopes)}, timeout=10)
    assert answer.ok, answer.text
    return answer.json()["token"]


def whoami(service: str, secret: str) -> requests.Response:
    return requests.get(f"{service}/catalog/whoami", headers={"Authorization": f"token {secret}"}, timeout=10)


@pytest.mark.parametrize(("user", "roles"), [("ray", ["radiologist"]), ("stu", ["student"]), ("chief", ["admin"])])
def test_roles_come_from_the_hubs_groups(hub, user, roles):
    api, service = hub
    told = whoami(service, token(api, user, "access:services!service=ailab"))
    assert (told.status_code, told.json()["user"], told.json()["roles"]) == (200, user, roles)


def test_who_is_in_no_group_may_nothing(hub):
    api, service = hub
    assert whoami(service, token(api, "guest", "access:services!service=ailab")).status_code == 403


@pytest.mark.parametrize("scopes", [["read:users:name!user"], ["read:users:groups!user"]])
def test_a_token_for_something_else_opens_nothing(hub, scopes):
    api, service = hub
    assert whoami(service, token(api, "ray", *scopes)).status_code == 401


def test_what_a_server_holds_finds_no_patient(hub):
    api, service = hub
    mine = "access:services!service=ailab"
    asked = {"pseudonym": "0" * 16, "reason": "a finding"}
    for scopes, expected in (((mine,), 404), ((mine, "access:servers!server=chief/"), 403)):
        answer = requests.post(f"{service}/catalog/reidentifications", json=asked, timeout=10,
                               headers={"Authorization": f"token {token(api, 'chief', *scopes)}"})  # fmt: skip
        assert answer.status_code == expected, answer.text
    assert "/hub/token" in answer.json()["message"]


def test_the_hubs_own_services_are_nobody_here(hub):
    _, service = hub
    assert whoami(service, BOSS).status_code == 401
    assert whoami(service, "0" * 64).status_code == 401


def test_records_carry_the_hubs_user_name(hub):
    api, service = hub
    secret = token(api, "ray", "access:services!service=ailab")
    made = requests.post(f"{service}/catalog/records", json={"kind": "note", "name": "x", "body": {}}, timeout=10,
                         headers={"Authorization": f"token {secret}"})  # fmt: skip
    assert made.json()["made_by"] == "ray"
