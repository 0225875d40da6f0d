"""Python where every system user can run it, though it lies in a folder that only root may enter.

A mount namespace of the command's own: such a folder is covered by an empty one that all may pass, and Python, its
environment and the checkout come back at their places in it. Nothing changes for the rest of the machine.
"""

import os
import stat
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDED = tuple(dict.fromkeys(Path(one).resolve() for one in (sys.base_prefix, sys.prefix, ROOT)))


def closed(path: Path) -> Path | None:
    """The outermost folder on the way to ``path`` that others cannot enter."""
    return next((one for one in reversed(path.parents) if not one.stat().st_mode & stat.S_IXOTH), None)


def open_to_all(command: list[str]) -> list[str]:
    """The command as it is run where all may pass; needs root."""
    covers = {path: cover for path in NEEDED if (cover := closed(path))}
    if not covers:
        return command
    if os.geteuid() != 0:
        raise PermissionError(f"{next(iter(covers.values()))} cannot be entered by others, and only root could help")
    aside = tempfile.mkdtemp()
    steps, back = [], []
    for number, path in enumerate(covers):
        steps += [f"mkdir {aside}/{number}", f"mount --bind {path} {aside}/{number}"]
        back += [f"mkdir -p {path}", f"mount --move {aside}/{number} {path}"]
    steps += [f"mount -t tmpfs -o mode=755 none {cover}" for cover in dict.fromkeys(covers.values())]
    script = " && ".join([*steps, *back, 'exec "$@"'])
    return ["unshare", "--mount", "--", "sh", "-c", script, "sh", *command]
