"""The room that one person's server runs in: ``python -I -m ailab_kernel.fleet.room [options] -- command``.

The room starts the server, as another user where it is told to, and stays beside it. It counts the memory of every
process that came from the server (daemons that left their parent fall back to the room: Linux's child subreaper), a few
times a second. Above the limit it ends the process that grew most since the last look (not the largest, which may be
the neighbour with the day's data) and tells the person; when that is the server itself, everything ends. Where systemd
runs, a scope of its own with ``MemoryMax`` holds as well (`fence`). RLIMIT_AS is not used: it holds for each process
alone, and for reserved addresses instead of memory (CUDA reserves far more than there is).

Shared pages count once (proportional set size). Files in ``/dev/shm`` count while a process maps them.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ailab_kernel.ground.activity import tell

GIB = 1024**3
_OFTEN_S, _SELDOM_S, _GRACE_S = 0.2, 1.0, 8.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a room is told.

    Attributes
    ----------
    memory_gb
        Memory of the whole server, GiB; 0 counts nothing.
    cpus
        Cores that it is bound to, by number; empty: all.
    uid
        User and group that the server runs as; 0 keeps the room's own.
    home
        Working folder of the server.
    notices
        File for the person's notices.
    hint
        What to do next when memory ran out.
    """

    memory_gb: float = 0.0
    cpus: tuple[int, ...] = ()
    uid: int = 0
    home: Path = Path()
    notices: Path | None = None
    hint: str = ""

    def words(self) -> list[str]:
        """Return the command that runs this room; the server's own command follows."""
        options = {"memory-gb": f"{self.memory_gb:g}", "cpus": ",".join(map(str, self.cpus)),
                   "uid": str(self.uid or ""), "home": str(self.home), "notices": str(self.notices or ""),
                   "hint": self.hint}  # fmt: skip
        told = [f"--{name}={value}" for name, value in options.items() if value]
        return [sys.executable, "-I", "-m", "ailab_kernel.fleet.room", *told, "--"]


def fence(*, memory_gb: float, cpus: float, systemd: Path = Path("/run/systemd/system")) -> tuple[list[str], str]:
    """Return what to put before a room's command, and in words what holds the limits on this machine.

    Parameters
    ----------
    memory_gb, cpus
        Limits of the whole server.
    systemd
        Folder that exists where systemd is the machine's first process.
    """
    count = "the room counts the memory of all its processes and above the limit ends the one that grows"
    bound = "it is bound to its cores"
    if systemd.is_dir() and os.geteuid() == 0:
        limits = ["-p", f"MemoryMax={round(memory_gb * GIB)}", "-p", "MemorySwapMax=0", "-p", f"CPUQuota={cpus:.0%}"]
        return ["systemd-run", "--scope", "--quiet", *limits, "--"], f"{count}; behind it a systemd scope holds both"
    return [], f"{count}, {bound}; no systemd holds them in the kernel, so a program may pass both for a moment"


def descendants(root: int) -> dict[int, int]:
    """Return every process that came from ``root``, without itself: process id to its parent's."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text(errors="replace")
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: dict[int, int] = {}
    edge = {root}
    while edge:
        children = {pid: parent for pid, parent in parents.items() if parent in edge and pid not in found}
        found |= children
        edge = set(children)
    return found


def memory(pids: Sequence[int] | Mapping[int, int], *, over: float = 0.0) -> dict[int, int]:
    """Return the memory of processes, bytes each: resident sets, and shared pages counted once when it matters.

    Parameters
    ----------
    pids
        Processes; one that has ended counts nothing.
    over
        Bytes in all up to which resident sets, which count shared pages again and again, are good enough.
    """
    resident = {pid: _resident(pid) for pid in pids}
    if sum(resident.values()) <= over:
        return resident
    return {pid: min(_proportional(pid), size) for pid, size in resident.items()}


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return _resident(pid)
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def run(room: Room, command: Sequence[str]) -> int:
    """Run a server in its room until it ends, and return its exit status (128 and the signal where one ended it)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if room.cpus:
        os.sched_setaffinity(0, room.cpus)

    def _inside() -> None:  # after the change of user, which would undo the death signal
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    identity = {"user": room.uid, "group": room.uid, "extra_groups": []} if room.uid else {}
    server = subprocess.Popen(list(command), cwd=room.home, preexec_fn=_inside, start_new_session=True, **identity)  # type: ignore[call-overload]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _ask_to_end(server))
    try:
        sizes: dict[int, int] = {}
        while server.poll() is None:
            wait, sizes = _watch(room, server.pid, before=sizes)
            time.sleep(wait)
            _reap(server.pid)
    finally:
        _end_all()
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _ask_to_end(server: "subprocess.Popen[bytes]") -> None:
    """Ask once; whoever asks again, or waits too long, gets a kill."""
    signal.signal(signal.SIGALRM, lambda *_: server.kill())
    signal.alarm(round(_GRACE_S))
    server.terminate()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.kill())


def _watch(room: Room, server: int, *, before: Mapping[int, int]) -> tuple[float, dict[int, int]]:
    """Look once, end what grows above the limit, and return when to look again, s, and the sizes that were seen."""
    limit = room.memory_gb * GIB
    if not limit:
        return _SELDOM_S / 2, {}
    sizes = memory(descendants(os.getpid()), over=limit)
    used = sum(sizes.values())
    if used <= limit:
        return (_OFTEN_S if used > limit / 2 else _SELDOM_S / 2), sizes
    culprit = max(sizes, key=lambda pid: (sizes[pid] - before.get(pid, 0), sizes[pid]))
    _kill(culprit)
    _tell(room, used, sizes[culprit], everything=culprit == server)
    return _OFTEN_S, {pid: size for pid, size in sizes.items() if pid != culprit}


def _tell(room: Room, used: float, size: float, *, everything: bool) -> None:
    ended = "the server was ended" if everything else (
        f"the program that grew last, {size / GIB:.2f} GB, was ended and the others go on")
    text = f"out of memory: {used / GIB:.2f} of {room.memory_gb:g} GB used; {ended}. {room.hint}".rstrip()
    sys.stderr.write(f"room: {text}\n")
    if room.notices:
        tell(room.notices, text)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _reap(server: int) -> None:
    """Take in orphans that ended; the server is its own Popen's to take in."""
    try:
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != server:
            os.waitpid(ended.si_pid, 0)
    except ChildProcessError:
        return


def _end_all() -> None:
    """End whatever the server left; new ones may be born meanwhile, so look again until nobody is left."""
    until = time.monotonic() + _GRACE_S
    while (left := descendants(os.getpid())) and time.monotonic() < until:
        for pid in left:
            _kill(pid)
        _reap(0)
        time.sleep(0.02)


def main(words: Sequence[str] | None = None) -> int:
    """Run the room that the command line describes."""
    parser = argparse.ArgumentParser(prog="room")
    parser.add_argument("--memory-gb", type=float, default=0.0)
    parser.add_argument("--cpus", type=lambda text: tuple(map(int, text.split(","))), default=())
    parser.add_argument("--uid", type=int, default=0)
    parser.add_argument("--home", type=Path, default=Path())
    parser.add_argument("--notices", type=Path, default=None)
    parser.add_argument("--hint", default="")
    parser.add_argument("command", nargs="+")
    told = vars(parser.parse_args(words))
    command = told.pop("command")
    return run(Room(**told), command)


if __name__ == "__main__":
    sys.exit(main())
