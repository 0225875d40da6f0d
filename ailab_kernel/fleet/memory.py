"""How much memory a server's processes hold, found in ``/proc``: every process that came from it, shared pages once."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

GIB = 1024**3
_PAGE = os.sysconf("SC_PAGE_SIZE")


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


def ended(pid: int) -> bool:
    """Whether a process is over, though its parent may not have taken note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


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
