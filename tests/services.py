"""Servers that tests start and end, reachable from 127.0.0.1 only: a real Orthanc, or a few answers over HTTP.

Orthanc 1.10 binds its HTTP and DICOM ports to every address. It therefore runs in a network namespace whose only
interface is loopback, and ``relay.py`` passes its ports on from 127.0.0.1.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import pytest

DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_HTTP, _DICOM = 8042, 4242                 # inside its own network every Orthanc may have the usual ports


def need_service(*commands: str, package: str) -> None:
    """Skip, or fail where AILAB_REQUIRE_SERVICES is set, unless every command (or file) is there."""
    missing = [name for name in commands if not (shutil.which(name) or Path(name).exists())]
    if missing:
        _missing(f"{', '.join(missing)} is not installed (apt-get install {package})")


def need_root(why: str) -> None:
    """Skip, or fail where services are required, unless root runs the tests."""
    if os.geteuid() != 0:
        _missing(f"root is needed {why}")


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on 127.0.0.1 that answers as ``handler`` does; its address, without a path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc; both ports are on 127.0.0.1, and the DICOM port takes any AE title."""

    http_port: int
    dicom_port: int
    user: str = ""
    password: str = ""

    @property
    def dimse(self) -> str:
        """URL that ``open_archive`` takes for DIMSE."""
        return f"dimse://127.0.0.1:{self.dicom_port}/ORTHANC"

    @property
    def url(self) -> str:
        """URL that ``open_archive`` takes."""
        credentials = f"{self.user}:{self.password}@" if self.user else ""
        return f"dicomweb+http://{credentials}127.0.0.1:{self.http_port}/dicom-web"

    def rest(self, path: str, *, method: str = "GET", body: object = None, raw: bytes | None = None) -> object:
        """Orthanc's own REST interface, as JSON; ``raw`` is a body that is none."""
        data = raw if raw is not None or body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def wipe(self) -> None:
        """Forget every study."""
        for patient in self.rest("/patients"):
            self.rest(f"/patients/{patient}", method="DELETE")


@contextmanager
def orthanc(folder: Path, *, users: dict[str, str] | None = None, lua: str = "",
            destinations: dict[str, int] | None = None, settings: dict | None = None) -> Iterator[Orthanc]:
    """A fresh Orthanc with DICOMweb and C-STORE, its storage in ``folder``, ended with the block.

    Parameters
    ----------
    users
        Names and passwords; anybody may enter where it is left out.
    lua
        Script that Orthanc runs, for example a ``ReceivedInstanceFilter``.
    destinations
        AE titles that C-MOVE may send to, each with its port on 127.0.0.1 out here.
    settings
        More of Orthanc's own settings.
    """
    need_service("Orthanc", str(DICOMWEB_PLUGIN), package="orthanc orthanc-dicomweb")
    need_service("unshare", "ip", package="util-linux iproute2")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "orthanc.json"
    (folder / "script.lua").write_text(lua)
    modalities = {aet: [aet, "127.0.0.1", port] for aet, port in (destinations or {}).items()}
    config.write_text(json.dumps(_config(folder, users) | {"DicomModalities": modalities} | (settings or {})))
    command = [shutil.which("Orthanc") or "Orthanc", str(config)]
    with (folder / "orthanc.log").open("wb") as log, _ports() as (http, dicom), _ways_out(destinations) as before:
        process = _start([*before, *command], {http: _HTTP, dicom: _DICOM}, log)
        try:
            if process.stdout.readline() != b"ready\n":
                _not_started(folder / "orthanc.log")
            user, password = next(iter((users or {"": ""}).items()))
            yield Orthanc(http.getsockname()[1], dicom.getsockname()[1], user, password)
        finally:
            process.communicate(timeout=60)


@contextmanager
def _ports() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as dicom:
        yield http, dicom


@contextmanager
def _ways_out(destinations: dict[str, int] | None) -> Iterator[list[str]]:
    """What to run before a server so that its own 127.0.0.1 leads out to these ports."""
    if not destinations:
        yield []
        return
    from tests.archives import outward

    with tempfile.TemporaryDirectory() as folder:              # a socket's path may have but some 100 characters
        ports = {port: Path(folder) / str(port) for port in destinations.values()}
        with outward.outside(ports):
            yield [sys.executable, outward.__file__, *(f"{port}:{path}" for port, path in ports.items()), "--"]


def _start(command: list[str], ports: dict[socket.socket, int], log: object) -> subprocess.Popen:
    """Start the server in its own network; the relay in front of it answers ``ready``."""
    own_network = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    relay = [sys.executable, str(Path(__file__).with_name("relay.py")),
             *(f"{outside.fileno()}:{inside}" for outside, inside in ports.items()), "--", *command]
    return subprocess.Popen([*own_network, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *relay],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                            env=os.environ | {"TCP_NODELAY": "1"},     # DCMTK inside waits 40 ms for each answer else
                            pass_fds=[outside.fileno() for outside in ports])


def _not_started(log: Path) -> NoReturn:
    said = log.read_text(errors="replace")
    if "unshare" in said:
        _missing("network namespaces are not allowed here (run as root, or allow unprivileged user namespaces)")
    raise RuntimeError(f"Orthanc did not start: {said[-2000:]}")


def _missing(reason: str) -> NoReturn:
    if os.environ.get("AILAB_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _config(folder: Path, users: dict[str, str] | None) -> dict:
    return {
        "Name": "AILAB-TEST", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
        "HttpPort": _HTTP, "DicomPort": _DICOM, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False,
        "AuthenticationEnabled": users is not None, "RegisteredUsers": users or {},
        "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True, "DicomCheckCalledAet": False, "TcpNoDelay": True,
        "OverwriteInstances": True, "StoreMD5ForAttachments": False, "SyncStorageArea": False,
        "LuaScripts": [str(folder / "script.lua")], "Plugins": [str(DICOMWEB_PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
