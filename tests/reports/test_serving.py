"""A real Jupyter server with the hub's settings hands out no file that holds what identifies, by any of its routes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ailab_kernel.fleet.guards import GUARDS
from ailab_kernel.workspace import open_workspace

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-the-test"


@dataclass(frozen=True)
class Answer:
    status: int
    body: str


@dataclass(frozen=True)
class Server:
    """A running server; its files lie in ``folder``."""

    url: str
    folder: Path

    def ask(self, path: str, *, method: str = "GET", data: object = None, **headers: str) -> Answer:
        told = {"Authorization": f"token {TOKEN}"} | {name.replace("_", "-"): one for name, one in headers.items()}
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.url + path, method=method, headers=told, data=body)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.read().decode("utf8", "replace"))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode("utf8", "replace"))


def book(text: str) -> dict:
    cell = {"id": "a", "cell_type": "code", "execution_count": 1, "metadata": {}, "source": "show()",
            "outputs": [{"output_type": "stream", "name": "stdout", "text": text}]}  # fmt: skip
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """``jupyter lab`` in a lab that knows one patient, as the hub starts it."""
    folder = tmp_path_factory.mktemp("serving")
    open_workspace(folder).catalog.remember({"PatientName": ["Quixano^Alonso"]})
    home = folder / "home"
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AILAB_", "JUPYTER"))}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}",
               "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={home}", f"--IdentityProvider.token={TOKEN}", *GUARDS]  # fmt: skip
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, start_new_session=True, env=kept | {
            "AILAB_HOME": str(folder / "lab"), "PYTHONPATH": str(ROOT), "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime")})  # fmt: skip
    found = Server(f"http://127.0.0.1:{port}", home)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and not listening(port):
            assert running.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        for name, text in (("marked", "read Alonso Quixano"), ("clean", "read nobody")):
            saved = found.ask(f"/api/contents/{name}.ipynb", method="PUT", data={"type": "notebook", "content": book(text)})
            assert saved.status == 201, saved.body
        (home / "list.csv").write_text("name\nQuixano\n")
        (home / "Quixano.txt").write_text("nothing")
        yield found
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait(30)


def listening(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_saving_marks(server):
    assert json.loads((server.folder / "marked.ipynb").read_text())["metadata"]["ailab"]["shareable"] is False
    assert "ailab" not in json.loads((server.folder / "clean.ipynb").read_text())["metadata"]


@pytest.mark.parametrize("path", [
    "/files/marked.ipynb", "/files/marked.ipynb?download=1", "/files/./marked.ipynb", "/files/list.csv", "/files/Quixano.txt",
    "/api/contents/marked.ipynb", "/api/contents/marked.ipynb?type=file&format=base64", "/api/contents/list.csv?content=1",
    "/nbconvert/html/marked.ipynb?download=true", "/nbconvert/script/marked.ipynb", "/nbconvert/notebook/marked.ipynb",
])  # fmt: skip
def test_what_names_a_patient_stays(server, path):
    answer = server.ask(path)
    assert answer.status in {403, 500}, answer.body
    assert "stays here: it holds" in answer.body
    assert "PatientName in" in answer.body
    assert "uixano" not in answer.body.replace("Quixano.txt", "")


@pytest.mark.parametrize("path", [
    "/files/clean.ipynb?download=1", "/api/contents/clean.ipynb", "/api/contents/", "/api/contents/marked.ipynb?content=0",
    "/nbconvert/html/clean.ipynb",
])  # fmt: skip
def test_the_rest_leaves(server, path):
    answer = server.ask(path)
    assert answer.status == 200, answer.body


def test_no_part_and_no_head_of_it_leaves(server):
    assert server.ask("/files/marked.ipynb", Range="bytes=0-50").status == 403
    assert server.ask("/files/marked.ipynb", method="HEAD").status == 403
    assert server.ask("/files/none.ipynb").status == server.ask("/files/%2e%2e/log").status == 404
    posted = server.ask("/nbconvert/html", method="POST", data={"name": "a.ipynb", "content": book("Alonso Quixano")})
    assert posted.status == 500
    assert "PatientName in" in posted.body


def test_jupyterlabs_page_opens_what_its_person_wrote(server):
    opened = server.ask("/api/contents/marked.ipynb?type=notebook", X_XSRFToken="of the page")
    assert opened.status == 200
    assert "Quixano" in opened.body


def test_jupyters_other_routes_of_a_notebook_are_its_own(server):
    """A page of JupyterLab does not open a notebook whose checkpoints it cannot list."""
    made = server.ask("/api/contents/clean.ipynb/checkpoints", method="POST", data={})
    assert made.status == 201
    listed = server.ask("/api/contents/clean.ipynb/checkpoints")
    assert listed.status == 200
    assert json.loads(listed.body)[0]["id"] == json.loads(made.body)["id"]
    assert server.ask("/api/contents/clean.ipynb/trust", method="POST", data={}).status == 201
