"""The first program of a Slurm job: it finds a free port, tells Slurm which, and runs the person's server.

``python -I -m ailab_kernel.fleet.node -- COMMAND``. The hub reads the port from the job's comment, which the job's own
user and Slurm's operators alone may write, and takes the machine's address from Slurm itself.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from urllib.parse import urlsplit

SERVICE_URL, API_URL = "JUPYTERHUB_SERVICE_URL", "JUPYTERHUB_API_URL"
_ANSWER_S = 60.0


def address_towards(host: str, port: int) -> str:
    """Return this machine's own address on the way to another; nothing is sent (a UDP socket only looks up the way)."""
    family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as way:
        way.connect(place)
        return way.getsockname()[0]


def free_port(address: str) -> int:
    """Return a port of this machine that is free at this moment."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        return server.getsockname()[1]


def main(words: Sequence[str]) -> int:
    """Run the command after ``--``, a server that listens where the hub can reach it, and return its exit status."""
    command = list(words[words.index("--") + 1 :])
    hub, service = urlsplit(os.environ[API_URL]), urlsplit(os.environ[SERVICE_URL])
    address = address_towards(hub.hostname or "127.0.0.1", hub.port or 443)
    port = free_port(address)
    job = os.environ["SLURM_JOB_ID"]
    subprocess.run(["scontrol", "update", f"JobId={job}", f"Comment={port}"], check=True, timeout=_ANSWER_S)
    place = f"[{address}]" if ":" in address else address
    # Slurm takes it out of the environment of a job without GPUs, which would then see all of them.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    os.environ[SERVICE_URL] = service._replace(netloc=f"{place}:{port}").geturl()
    # Slurm asks every process of the job to end: this one stays until the server has ended, and cleans up.
    signal.signal(signal.SIGTERM, lambda *_: None)
    # Kernels' sockets are files that the person alone may open: whoever is on this machine could listen at a port.
    with tempfile.TemporaryDirectory(prefix="ailab-") as runtime:
        return subprocess.run(command, env=os.environ | {"JUPYTER_RUNTIME_DIR": runtime}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
