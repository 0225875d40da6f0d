"""A JupyterLab on 127.0.0.1 with one notebook, and what a browser's mouse does in it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NOTEBOOK = "reading.ipynb"
_QUIET = {"apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}


@dataclass(frozen=True)
class JupyterLab:
    folder: Path
    url: str

    def notebook(self, *cells: str) -> None:
        """Write the notebook anew."""
        made = [{"cell_type": "code", "id": f"cell-{n}", "metadata": {}, "outputs": [], "execution_count": None, "source": text}
                for n, text in enumerate(cells)]
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        whole = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        (self.folder / NOTEBOOK).write_text(json.dumps(whole))

    def theme(self, name: str) -> None:
        """From the next page on."""
        _settings(self.folder, {"apputils-extension/themes": {"theme": name}})

    def run_all(self, page) -> None:
        """Open the notebook and run its cells."""
        page.goto(f"{self.url}/lab/tree/{NOTEBOOK}?token=t&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-Cell")
        page.wait_for_selector("text=Python 3 (ipykernel) | Idle")
        page.click("text=Run >> nth=0")
        page.click(".lm-Menu >> text=Run All Cells")

    def store(self, page) -> None:
        """Store the notebook with its outputs, as JupyterLab does every two minutes."""
        page.click("text=File >> nth=0")
        page.click(".lm-Menu >> text=Save Notebook")
        page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")


@contextmanager
def jupyterlab(folder: Path, **env: str):
    """A JupyterLab whose person is alone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    _settings(folder, _QUIET)
    own = {name: str(folder / ".jupyter" / name.lower()) for name in
           ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AILAB_")} | own | {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".jupyter" / "settings"), "PYTHONPATH": str(Path(__file__).parents[2])} | env
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root",
               "--IdentityProvider.token=t", "--ServerApp.port_retries=0", "--LabApp.extension_manager=readonly"]
    with (folder / "jupyterlab.log").open("wb") as log:
        program = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        lab = JupyterLab(folder, f"http://127.0.0.1:{port}")
        _wait(lab.url, program)
        yield lab
    finally:
        program.terminate()
        program.wait(timeout=60)


def _wait(url: str, program: subprocess.Popen) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and program.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/api/status?token=t", timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("JupyterLab did not start; its log is jupyterlab.log in the test's folder")


def _settings(folder: Path, settings: dict) -> None:
    for name, values in settings.items():
        path = folder / ".jupyter" / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
