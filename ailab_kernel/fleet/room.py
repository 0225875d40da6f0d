"""The room that one person's server runs in: ``python -I -m ailab_kernel.fleet.room [options] -- command``.

The room starts the server, as another user where it is told to, and stays beside it. It counts the memory of every
process that came from the server (daemons that left their parent fall back to the room: Linux's child subreaper), a few
times a second. Above the limit it ends the process that grew most since the last look (not the largest, which may be
the neighbour with the day's data) and tells the person; when that is the server itself, everything ends. The kernel
holds a little more as well, where it may be asked to (`cgroups`); the room stays outside of that group, so that it is
there to say what happened. RLIMIT_AS is not used: it holds for each process alone, and for reserved addresses instead
of memory (CUDA reserves far more than there is).

Asked to end, it asks people's programs first, which may write where they stand, then the server; who stays is ended.

Shared pages count once (proportional set size). Files in ``/dev/shm`` count while a process maps them; in a cgroup,
always.
"""

import argparse
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from ailab_kernel.ground.activity import beat, tell

from . import gpus as devices
from .cgroups import MOST_TASKS, Group
from .memory import GIB, descendants, ended, memory

_OFTEN_S, _SELDOM_S = 0.2, 0.5
PROGRAMS_S, SERVER_S = 5.0, 12.0  # time to end in: people's programs, then the server with its kernels
_SMI_S = 2.0  # nvidia-smi's own time
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a room is told.

    Attributes
    ----------
    memory_gb
        Memory of the whole server, GiB; 0 counts nothing.
    cpus
        Cores that it is bound to, by number; empty: all.
    quota
        Cores that the group may keep busy; 0 sets no quota.
    group
        Group of the kernel that the server enters (`cgroups.Fence`).
    uid
        User and group that the server runs as; 0 keeps the room's own.
    walled
        The command begins with bubblewrap's words (`sandbox.Walls`), which change the user themselves.
    home
        Working folder of the server.
    notices
        File for the person's notices.
    gpus
        Seconds between two looks at the use of leased devices, which becomes beats in ``beats``; 0: none are leased.
    beats
        Folder of the room's own heartbeats, where no person's program can write.
    hint
        What to do next when memory ran out.
    """

    memory_gb: float = 0.0
    cpus: tuple[int, ...] = ()
    quota: float = 0.0
    group: Path | None = None
    uid: int = 0
    walled: bool = False
    home: Path = Path()
    notices: Path | None = None
    gpus: float = 0.0
    beats: Path | None = None
    hint: str = ""

    def words(self) -> list[str]:
        """Return the command that runs this room; the server's own command follows."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        told["cpus"] = ",".join(map(str, self.cpus))
        options = [f"--{name.replace('_', '-')}={value:g}" if isinstance(value, float) else
                   f"--{name.replace('_', '-')}={value}" for name, value in told.items() if value]  # fmt: skip
        return [sys.executable, "-I", "-m", "ailab_kernel.fleet.room", *options, "--"]


def run(room: Room, command: Sequence[str]) -> int:
    """Run a server in its room until it ends, and return its exit status (128 and the signal where one ended it)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if room.cpus:
        os.sched_setaffinity(0, room.cpus)
    group = _group(room)

    def _inside() -> None:  # the death signal comes last: a change of user undoes it
        if group:
            group.enter()
        if room.uid:
            resource.setrlimit(resource.RLIMIT_NPROC, (MOST_TASKS, MOST_TASKS))
        if room.uid and not room.walled:
            os.setgroups([])
            os.setresgid(room.uid, room.uid, room.uid)
            os.setresuid(room.uid, room.uid, room.uid)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    server = subprocess.Popen(list(command), cwd=room.home, preexec_fn=_inside, start_new_session=True)
    watch = _Watch(room, server, group)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, watch.ask)
    try:
        while server.poll() is None:
            time.sleep(watch.look())
            _reap(server.pid)
    finally:
        _end_all()
        if group and not group.remove():
            sys.stderr.write(f"room: the group {group.folder.name} could not be removed\n")
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _group(room: Room) -> Group | None:
    """Make the room's group; where the kernel refuses, say so and go on: the room counts all the same."""
    if room.group is None:
        return None
    group = Group(room.group)
    try:
        group.make(memory_gb=room.memory_gb, cpus=room.quota)
    except OSError as error:
        sys.stderr.write(f"room: no group of the kernel holds the limits ({error.strerror}); the room alone does\n")
        group.remove()
        return None
    return group


class _Watch:
    """What a room does beside its server."""

    def __init__(self, room: Room, server: "subprocess.Popen[bytes]", group: Group | None) -> None:
        self._room, self._server, self._group = room, server, group
        self._sizes: Mapping[int, int] = {}
        self._killed = 0
        self._asked: list[float] = []  # when we were asked to end, when the server was
        self._warned: set[int] = set()
        self._used_gpus_at = time.monotonic()

    def ask(self, *_: object) -> None:
        """Ask to end; who asks again, gets a kill."""
        if self._asked:
            self._server.kill()
        self._asked.append(time.monotonic())

    def look(self) -> float:
        """Look once, and return when to look again, s."""
        family = descendants(os.getpid())
        if self._asked:
            self._end(family)
            return _OFTEN_S / 4
        self._hear()
        self._see_gpus(family)
        return self._count(family)

    def _count(self, family: Mapping[int, int]) -> float:
        """End what grows above the limit."""
        room, limit = self._room, self._room.memory_gb * GIB
        if not limit:
            return _SELDOM_S
        sizes = memory(family, over=limit)
        used = sum(sizes.values())
        if used <= limit:
            self._sizes = sizes
            return _OFTEN_S if used > limit / 2 else _SELDOM_S
        culprit = max(sizes, key=lambda pid: (sizes[pid] - self._sizes.get(pid, 0), sizes[pid]))
        shell = _shell(self._server.pid, family, walled=room.walled)
        _send(culprit, signal.SIGKILL)
        _say(room, _words(room, used, sizes[culprit], everything=culprit in shell))
        self._sizes = {pid: size for pid, size in sizes.items() if pid != culprit}
        return _OFTEN_S

    def _hear(self) -> None:
        """Tell what the kernel ended before the room did."""
        killed = self._group.killed() if self._group else 0
        if killed > self._killed:
            text = f"{self._room.memory_gb:g} GB were passed faster than the room looks; the machine ended a program"
            _say(self._room, f"out of memory: {text}. {self._room.hint}".rstrip())
        self._killed = killed

    def _see_gpus(self, family: Mapping[int, int]) -> None:
        """Beat for programs that use a leased GPU; aside, for nvidia-smi takes a second."""
        room, now = self._room, time.monotonic()
        if not room.gpus or room.beats is None or now < self._used_gpus_at:
            return
        self._used_gpus_at = now + room.gpus
        told = (room.beats, frozenset(family), 3 * room.gpus + _SMI_S)
        threading.Thread(target=_beat_for_gpus, args=told, daemon=True).start()

    def _end(self, family: Mapping[int, int]) -> None:
        """Ask people's programs, then the server, and end who stays."""
        now = time.monotonic()
        if len(self._asked) > 1:  # from now on kernels, whose server may just have ended, would look like programs
            if now > self._asked[1] + SERVER_S:
                self._server.kill()
            return
        shell = _shell(self._server.pid, family, walled=self._room.walled)
        inner = (pid for pid, parent in family.items() if pid not in shell and parent != shell[-1])
        programs = {pid for pid in inner if not ended(pid)}
        for pid in programs - self._warned:
            _send(pid, signal.SIGTERM)
        self._warned |= programs
        if not programs or now > self._asked[0] + PROGRAMS_S:
            self._asked.append(now)
            _send(shell[-1], signal.SIGTERM)


def _shell(server: int, family: Mapping[int, int], *, walled: bool) -> tuple[int, ...]:
    """The processes that the server stands or falls with, itself last: bubblewrap's two come first."""
    chain = [server]
    for _ in range(2 if walled else 0):
        inner = [pid for pid, parent in family.items() if parent == chain[-1]]
        if not inner:
            break
        chain.append(min(inner))
    return tuple(chain)


def _beat_for_gpus(folder: Path, pids: frozenset[int], lasts: float) -> None:
    share = devices.use(pids)
    if share:
        beat("gpu", f"a program uses {share} % of a GPU", folder=folder, lasts=lasts)


def _words(room: Room, used: float, size: float, *, everything: bool) -> str:
    ended = "the server was ended" if everything else (
        f"the program that grew last, {size / GIB:.2f} GB, was ended and the others go on")
    return f"out of memory: {used / GIB:.2f} of {room.memory_gb:g} GB used; {ended}. {room.hint}".rstrip()


def _say(room: Room, text: str) -> None:
    sys.stderr.write(f"room: {text}\n")
    if room.notices:
        tell(room.notices, text)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _reap(server: int) -> None:
    """Take in orphans that ended; the server is its own Popen's to take in."""
    try:
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != server:
            os.waitpid(ended.si_pid, 0)
    except ChildProcessError:
        return


def _end_all() -> None:
    """End whatever the server left; new ones may be born meanwhile, so look again until nobody is left."""
    until = time.monotonic() + SERVER_S
    while (left := descendants(os.getpid())) and time.monotonic() < until:
        for pid in left:
            _send(pid, signal.SIGKILL)
        _reap(0)
        time.sleep(0.02)


def main(words: Sequence[str] | None = None) -> int:
    """Run the room that the command line describes."""
    parser = argparse.ArgumentParser(prog="room")
    parser.add_argument("--memory-gb", type=float, default=0.0)
    parser.add_argument("--cpus", type=lambda text: tuple(map(int, text.split(","))), default=())
    parser.add_argument("--quota", type=float, default=0.0)
    parser.add_argument("--group", type=Path, default=None)
    parser.add_argument("--uid", type=int, default=0)
    parser.add_argument("--walled", type=bool, default=False)
    parser.add_argument("--home", type=Path, default=Path())
    parser.add_argument("--notices", type=Path, default=None)
    parser.add_argument("--gpus", type=float, default=0.0)
    parser.add_argument("--beats", type=Path, default=None)
    parser.add_argument("--hint", default="")
    parser.add_argument("command", nargs="+")
    told = vars(parser.parse_args(words))
    command = told.pop("command")
    return run(Room(**told), command)


if __name__ == "__main__":
    sys.exit(main())
