"""Receivers that go wrong in the way of a test, with a real one behind: Orthanc behind a relay, folders on a small disk."""

import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.services import need_root

# Half of the instances are dropped while a file is there, as a full or picky PACS does; DICOMweb is refused while another is.
LUA = """
local function there(name) local f = io.open(name); if f then f:close() end; return f ~= nil end
function ReceivedInstanceFilter(dicom, origin)
  return not there('{folder}/half') or tonumber(dicom.InstanceNumber) % 2 == 0
end
function IncomingHttpRequestFilter(method, uri, ip, username, httpHeaders)
  return not (there('{folder}/refusing') and string.sub(uri, 1, 10) == '/dicom-web')
end
"""
_ENOUGH_BYTES, _HELD_S = 40_000, 3.0


class Way:
    """A relay to a receiver: ``open``; ``down``: nobody listens; ``slow``: answers are held back once much was sent;
    ``cut``: the line breaks in the middle; ``elsewhere``: leads to another port."""

    def __init__(self, port: int, *, elsewhere: int = 0) -> None:
        self.mode, self._to, self._elsewhere = "open", port, elsewhere
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._serving()

    def set(self, mode: str) -> None:
        """Be so from now on."""
        if mode == "down":
            self.close()
        elif self.mode == "down":
            self._door = socket.create_server(("127.0.0.1", self.port))
            self._serving()
        self.mode = mode

    def close(self) -> None:
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _serving(self) -> None:
        threading.Thread(target=self._serve, args=(self._door,), daemon=True).start()

    def _serve(self, door: socket.socket) -> None:
        with suppress(OSError):
            while True:
                line, _ = door.accept()
                threading.Thread(target=self._pass, args=(line, self.mode), daemon=True).start()

    def _pass(self, line: socket.socket, mode: str) -> None:
        sent = [0]
        with line, suppress(OSError), socket.create_connection(
            ("127.0.0.1", self._elsewhere if mode == "elsewhere" else self._to)) as far:  # fmt: skip
            back = threading.Thread(target=_copy, args=(far, line, [0], mode if mode == "slow" else "", sent), daemon=True)
            back.start()
            _copy(line, far, sent, "cut" if mode == "cut" else "", sent)
            if mode == "cut":                  # a close alone is not seen while a thread reads
                far.shutdown(socket.SHUT_RDWR)
                line.shutdown(socket.SHUT_RDWR)
            back.join()


def _copy(source: socket.socket, target: socket.socket, count: list[int], mode: str, sent: list[int]) -> None:
    with suppress(OSError):
        while data := source.recv(8192):
            if mode == "slow" and sent[0] > _ENOUGH_BYTES:
                time.sleep(_HELD_S)
            count[0] += len(data)
            if mode == "cut" and count[0] > 2 * _ENOUGH_BYTES:
                return
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def refuser(port: int) -> Iterator[None]:
    """A storescp of dcmtk that refuses every association."""
    process = subprocess.Popen(["storescp", "--refuse", str(port)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Disk:
    """A file system in memory of its own size."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def mount(self, options: str, *, again: bool = False) -> None:
        """Mount it, or change how it is mounted: ``size=1m``, ``ro``."""
        self._run("mount", "-t", "tmpfs", "-o", f"{'remount,' if again else ''}{options}", "tmpfs", str(self.place))

    def unmount(self) -> None:
        self._run("umount", "-l", str(self.place))

    @staticmethod
    def _run(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"file systems cannot be mounted here ({done.stderr.strip()})")


@contextmanager
def disk(place: Path, options: str) -> Iterator[Disk]:
    """A small disk, mounted for the block; root is needed."""
    need_root("to mount a small disk")
    place.mkdir(parents=True)
    one = Disk(place)
    one.mount(options)
    try:
        yield one
    finally:
        one.unmount()


def times_stored(pacs) -> Counter:
    """How often Orthanc has taken each instance since it was started."""
    changes = pacs.rest("/changes?limit=100000")["Changes"]
    return Counter(one["ID"] for one in changes if one["ChangeType"] == "NewInstance")
