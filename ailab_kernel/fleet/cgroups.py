"""Limits that the kernel itself holds: groups of processes (cgroup v2), one for each server, written directly.

The files and their meaning are those of the kernel's ``Documentation/admin-guide/cgroup-v2.rst``. Groups are made below
the hub's own, where that is ours: delegated to it (``Delegate=yes`` of a systemd unit), or root's where no systemd
rules. A group that gives controllers to its children may hold no process itself (the rule of no internal processes), so
that the hub steps aside into a leaf first.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from .memory import GIB, descendants

SLACK = 1.05  # the room's own count acts first: it knows which program grew, the kernel takes the largest
MOST_TASKS = 4096  # processes and threads of one server
_SYSTEMD = Path("/run/systemd/system")
_CONTROLLERS = ("cpu", "memory", "pids")
_LEAF, _NAME = "ailab-hub", "ailab-server-"
_PERIOD_US = 100_000
_EMPTY_S = 5.0


@dataclass(frozen=True)
class Ground:
    """Where groups may be made.

    Attributes
    ----------
    folder
        The hub's own group; None where none may be made.
    why
        Why not, in words.
    """

    folder: Path | None
    why: str = ""


@dataclass(frozen=True)
class Fence:
    """What holds a server's limits.

    Attributes
    ----------
    before
        What to put before a room's command.
    group
        Group that the room makes for its server; None where there is none.
    says
        In words, for the hub's log and the person's form.
    """

    before: tuple[str, ...]
    group: Path | None
    says: str


def survey(*, proc: Path = Path("/proc/self"), systemd: Path = _SYSTEMD) -> Ground:
    """Find the group of this process and say whether groups may be made below it; nothing is changed.

    Parameters
    ----------
    proc
        The process's folder, with ``mounts`` and ``cgroup``.
    systemd
        Folder that exists where systemd is the machine's first process.
    """
    mounts = [line.split() for line in (proc / "mounts").read_text().splitlines()]
    mounted = next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)
    own = next((line[3:] for line in (proc / "cgroup").read_text().splitlines() if line.startswith("0::")), None)
    if mounted is None or own is None:
        return Ground(None, "no cgroup v2 is mounted")
    folder = mounted / own.strip("/")
    folder = folder.parent if folder.name == _LEAF else folder
    return Ground(None, why) if (why := _why_not(folder, systemd)) else Ground(folder)


def _why_not(folder: Path, systemd: Path) -> str:
    try:
        there = (folder / "cgroup.controllers").read_text().split()
    except OSError:
        return "the hub's own group is not to be seen under the cgroup v2 mount"
    lacking = [name for name in _CONTROLLERS if name not in there]
    if lacking:
        return f"cgroup v2 lacks {', '.join(lacking)} here (version 1 may hold them, or they are not delegated)"
    if not all(os.access(folder / name, os.W_OK) for name in ("", "cgroup.procs", "cgroup.subtree_control")):
        return "the hub may not write its own group; run it by a systemd unit with Delegate=yes"
    if systemd.is_dir() and not _delegated(folder):
        return "the hub's group is systemd's; run the hub by a unit with Delegate=yes"
    return ""


def _delegated(folder: Path) -> bool:
    """Whether systemd gave the group away; it says so in an extended attribute (systemd 251 and later)."""
    for name in ("trusted.delegate", "user.delegate"):
        try:
            return os.getxattr(folder, name) == b"1"
        except OSError:
            continue
    return False


def settle(ground: Ground) -> Ground:
    """Step aside into a leaf and give the controllers to groups of servers; what earlier servers left is removed."""
    folder = ground.folder
    if folder is None:
        return ground
    try:
        if (folder / "cgroup.type").exists():  # absent in the root group, where processes may stay
            _step_aside(folder)
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in _CONTROLLERS))
    except OSError as error:
        return Ground(None, f"the hub's group could not be prepared ({error.strerror}); other programs may live in it: "
                            "run the hub in a group of its own, such as a systemd unit with Delegate=yes")  # fmt: skip
    for left in folder.glob(f"{_NAME}*"):
        _remove(left)
    return ground


def _step_aside(folder: Path) -> None:
    """Move the hub, what it came from and what came from it; strangers stay, and the kernel then refuses the rest."""
    leaf = folder / _LEAF
    leaf.mkdir(exist_ok=True)
    ours = {os.getpid(), os.getppid(), *descendants(os.getppid())}
    for pid in (folder / "cgroup.procs").read_text().split():
        if int(pid) in ours:
            (leaf / "cgroup.procs").write_text(pid)


def fence(*, memory_gb: float, cpus: float, ground: Ground, name: str = "", systemd: Path = _SYSTEMD) -> Fence:
    """Return what holds a server's limits on this machine, the strongest that there is.

    Parameters
    ----------
    memory_gb, cpus
        Limits of the whole server, GiB and cores.
    ground
        Where groups may be made (`settle`).
    name
        Of the server: letters, digits, ``-`` and ``.``.
    systemd
        Folder that exists where systemd is the machine's first process.
    """
    count = "the room counts the memory of all its processes and above the limit ends the one that grows"
    hard = f"at {SLACK - 1:.0%} more the kernel does"
    if ground.folder is not None:
        return Fence((), ground.folder / f"{_NAME}{name}", f"{count}; {hard} (cgroup v2, which holds the cores too)")
    if systemd.is_dir() and os.geteuid() == 0:
        limits = {"MemoryMax": round(memory_gb * SLACK * GIB), "MemorySwapMax": 0, "CPUQuota": f"{cpus:.0%}",
                  "TasksMax": MOST_TASKS, "OOMPolicy": "continue"}  # fmt: skip
        told = [word for key, value in limits.items() for word in ("-p", f"{key}={value}")]
        return Fence(("systemd-run", "--scope", "--quiet", *told, "--"), None,
                     f"{count}; {hard} (a systemd scope, which holds the cores too)")  # fmt: skip
    return Fence((), None, f"{count}, it is bound to its cores; neither cgroup nor systemd holds them in the kernel, "
                           f"so a program may pass both for a moment: {ground.why}")  # fmt: skip


class Group:
    """One server's group.

    Parameters
    ----------
    folder
        Of the group, below one that `settle` prepared.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, *, memory_gb: float, cpus: float, tasks: int = MOST_TASKS) -> None:
        """Make the group, or clear one that was left, and write its limits (OSError where the kernel refuses them)."""
        if self.folder.exists():
            self.remove()
        self.folder.mkdir()
        for name, value in _files(memory_gb, cpus, tasks).items():
            if (self.folder / name).exists() or name != "memory.swap.max":  # absent where the machine has no swap
                (self.folder / name).write_text(value)

    def enter(self) -> None:
        """Put this process into the group, and what it starts with it."""
        (self.folder / "cgroup.procs").write_text("0")

    def killed(self) -> int:
        """How many processes the kernel ended because memory ran out."""
        try:
            lines = (self.folder / "memory.events").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def remove(self) -> bool:
        """End everybody in the group at once, and remove it; whether it is gone."""
        return _remove(self.folder, end=True)


def _files(memory_gb: float, cpus: float, tasks: int) -> dict[str, str]:
    most = round(memory_gb * SLACK * GIB) if memory_gb else "max"
    quota = round(cpus * _PERIOD_US) if cpus else "max"
    return {"memory.max": str(most), "memory.swap.max": "0", "cpu.max": f"{quota} {_PERIOD_US}", "pids.max": str(tasks)}


def _remove(folder: Path, *, end: bool = False) -> bool:
    """Remove a group; without ``end`` only if nobody lives in it."""
    until = time.monotonic() + _EMPTY_S
    while folder.exists():
        try:
            if end:
                (folder / "cgroup.kill").write_text("1")
            folder.rmdir()
        except OSError:
            if not end or time.monotonic() > until:
                return False
            time.sleep(0.02)
    return True
