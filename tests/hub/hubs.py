"""A real hub that tests start and end, on 127.0.0.1 only, in a folder that other users may pass through."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ailab_kernel.fleet.invitations import invite
from ailab_kernel.fleet.visit import Visit

from . import passage

ROOT = Path(__file__).parents[2]
TIERS = """
pilot:
  {whom: everybody, cpus: 1, memory_gb: 2, idle_minutes: 60, max_hours: 8,
   groups: [admin, data-scientist, radiologist, auditor, student]}
blink:
  {whom: nobody stays, cpus: 1, memory_gb: 1.5, idle_minutes: 0.2, max_hours: 8, groups: [radiologist, data-scientist]}
gpu:
  {whom: training, cpus: 2, memory_gb: 2, gpus: 1, idle_minutes: 60, max_hours: 8, groups: [data-scientist]}
"""


@dataclass(frozen=True)
class Hub:
    """A running hub."""

    url: str
    home: Path
    said: dict

    @property
    def private(self) -> Path:
        return self.home / "hub" / "private"

    @property
    def log(self) -> str:
        return (self.private / "hub.log").read_text()

    def person(self, name: str, role: str) -> Visit:
        """Somebody new, invited and logged in."""
        visit = Visit(self.url, name)
        visit.log_in(invite(self.private / "invitations", name, role=role).password)
        return visit

    def ailab(self, *words: str) -> subprocess.CompletedProcess:
        """The command line, in this hub's lab."""
        return subprocess.run(_ailab(*words), env=environment(self.home, self.url), capture_output=True, text=True,
                              timeout=120)

    def ailab_started(self, *words: str) -> subprocess.Popen:
        """The same, while it runs."""
        return subprocess.Popen(_ailab(*words), env=environment(self.home, self.url), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)


def _ailab(*words: str) -> list[str]:
    return [sys.executable, "-c", "from ailab_kernel.cli.main import main; main()", *words]


def environment(home: Path, url: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AILAB_")}
    return kept | {"AILAB_HOME": str(home), "AILAB_HUB_URL": url} | more


def free_ports() -> int:
    """The first of four ports that are free."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
        try:
            for offset in range(4):
                socket.create_server(("127.0.0.1", port + offset)).close()
        except (OSError, OverflowError):
            continue
        return port


@contextmanager
def hub(*, service: str = "off", passable: bool = False, port: int = 0, scheme: str = "http",
        within: Sequence[str] = (), tiers: str = TIERS, **more: str) -> Iterator[Hub]:
    """A hub with the tiers above and one simulated GPU, with the trusted process when ``service`` is ``on``.

    ``passable``: where every system user can run Python, so that the hub isolates by system user (`passage`).
    ``within``: what is put before the command, such as the way into another network.
    """
    folder = Path(tempfile.mkdtemp(prefix="ailab-hub-"))
    folder.chmod(0o711)
    url, home = f"{scheme}://127.0.0.1:{port or free_ports()}", folder / "lab"
    (folder / "tiers.yaml").write_text(tiers)
    env = environment(home, url, AILAB_HUB_TIERS=str(folder / "tiers.yaml"), AILAB_HUB_GPUS="simulated*1",
                      AILAB_HUB_BEAT_S="1", AILAB_HUB_SERVICE=service, **more)
    start = _ailab("hub", "start", "--json")
    start = passage.open_to_all(start) if passable else start
    program = subprocess.Popen([*within, *start], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, cwd=ROOT)
    try:
        text = ""
        while not text.rstrip().endswith("}"):
            line = program.stdout.readline()
            if not line:
                raise RuntimeError(program.stderr.read())
            text += line
        yield Hub(url, home, json.loads(text))
    finally:
        program.terminate()
        program.communicate(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
