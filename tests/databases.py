"""A real PostgreSQL on 127.0.0.1 for one test, from Debian's package, run by an ordinary user."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    if os.environ.get("AILAB_REQUIRE_SERVICES") == "1":
        pytest.fail("PostgreSQL is required here (apt-get install postgresql)")
    pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")


def _as_user(*command: str) -> list[str]:
    """PostgreSQL refuses to run as root: become its own user then."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


@contextmanager
def postgres() -> Iterator[str]:
    """Start an empty server and yield its SQLAlchemy URL; it is stopped and removed afterwards."""
    programs, folder = _programs(), Path(tempfile.mkdtemp(prefix="ailab-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = str(folder / "data")
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    subprocess.run(_as_user(f"{programs}/initdb", "-D", data, "-U", "ailab", "-A", "trust", "--no-sync"), **quiet)
    options = f"-h 127.0.0.1 -p {port} -k {folder}"
    subprocess.run(_as_user(f"{programs}/pg_ctl", "-D", data, "-w", "-o", options, "start"), **quiet)
    try:
        yield f"postgresql+psycopg://ailab@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(_as_user(f"{programs}/pg_ctl", "-D", data, "-m", "immediate", "stop"), **quiet)
        shutil.rmtree(folder, ignore_errors=True)
