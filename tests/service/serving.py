"""The real service, in a thread or as a process of its own, with a token for every role."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
import uvicorn

from ailab_kernel.service import Caller, Desk, TokenFile, create_app, open_desk
from ailab_kernel.service.identity import Callers
from ailab_kernel.service.roles import HUB
from ailab_kernel.workspace import open_workspace

ROLES = ("admin", "data-scientist", "radiologist", "auditor", "student")
NO_ROLE = "guest"
MANIFEST = json.dumps({"id": "validate-00000000", "template": "validate", "template_digest": "0" * 64, "state": "done",
                       "resolved": {}, "files": {}}).encode()  # the least that is sealed


def token(role: str) -> str:
    return f"token-of-{role}"


def token_file(folder: Path, people: tuple[str, ...] = (*ROLES, NO_ROLE)) -> Path:
    """One person a role, called as the role is; ``name/role`` gives another name."""
    path = folder / "tokens.json"
    names = [one.partition("/") for one in people]
    path.write_text(json.dumps({token(name): {"user": name, "groups": [role or name]} for name, _, role in names}))
    path.chmod(0o600)
    return path


@dataclass
class House:
    """A running service."""

    url: str
    home: Path
    app: object = field(repr=False, default=None)
    pid: int = 0
    ca: Path | None = None

    @property
    def desk(self) -> Desk:
        return self.app.state.desk

    def ask(self, role: str, method: str, path: str, **asked) -> requests.Response:
        headers = {"Authorization": f"token {token(role)}"} | asked.pop("headers", {})
        return requests.request(method, f"{self.url}/{path}", headers=headers, timeout=60,
                                **({"verify": str(self.ca)} if self.ca else {}), **asked)


@dataclass
class WithTheHub:
    """Callers, and the hub itself."""

    others: Callers

    def identify(self, told: str) -> Caller | None:
        return Caller("(hub)", frozenset({HUB})) if told == token("hub") else self.others.identify(told)


@contextmanager
def serving(folder: Path, *people: str, bases: bool = False) -> Iterator[House]:
    """The service in a thread, without the product's base models unless they are asked for."""
    callers = WithTheHub(TokenFile(token_file(folder, (*ROLES, NO_ROLE, *people))))
    desk = open_desk(open_workspace(folder, home=folder / "trusted", service=""), callers, bases=bases)
    app = create_app(desk)
    with listening(app) as base:
        yield House(f"{base}/services/ailab", folder / "trusted", app)


@contextmanager
def listening(app: object) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False, ws="none", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


def bare() -> dict[str, str]:
    """The environment without what would lead to another lab or hub."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("AILAB_", "JUPYTERHUB_"))}


@contextmanager
def process(folder: Path, *people: str, port: int = 0, ca: Path | None = None, **environment: str) -> Iterator[House]:
    """The service as the hub would start it, but for the token file; with ``ca`` over TLS."""
    port = port or free_port()
    tokens = token_file(folder, (*ROLES, NO_ROLE, *people))
    base = f"{'https' if ca else 'http'}://127.0.0.1:{port}"
    command = [sys.executable, "-m", "ailab_kernel.service", "--token-file", str(tokens), "--listen", base]
    with (folder / "service.log").open("ab") as log:
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log,
                                   env=bare() | environment | {"AILAB_HOME": str(folder / "trusted")})
    try:
        house = House(f"{base}/services/ailab", folder / "trusted", pid=running.pid, ca=ca)
        wait_for(house, running, folder / "service.log")
        yield house
    finally:
        running.terminate()
        running.wait(30)


def wait_for(house: House, running: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        assert running.poll() is None, log.read_text()
        try:
            requests.get(f"{house.url}/health", timeout=5, verify=str(house.ca) if house.ca else True)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return door.getsockname()[1]
