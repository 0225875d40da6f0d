"""How far users can be kept from each other on this machine, tried and not assumed; the strongest way is taken.

==============  =====================================================================================
level           is
==============  =====================================================================================
``uid+bwrap``   each person's server has a system user and walls of its own (`ailab_kernel.fleet.sandbox`)
``uid``         a system user of its own: it sees that others are there, and opens nothing of theirs
``bwrap``       walls of its own, and the hub's user: for a hub that is not root
``none``        everybody runs as the hub's user and reads what it reads; patients are refused
==============  =====================================================================================
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ailab_kernel
from ailab_kernel.fleet.sandbox import Walls, lacking
from ailab_kernel.ground.errors import SettingsError

LEVELS = ("uid+bwrap", "uid", "bwrap", "none")
FIRST_UID = 200_000
SAYS = {
    "uid+bwrap": "Each user's server runs as a system user of its own, behind walls (bubblewrap): other people's files "
                 "and programs are not there.",
    "uid": "Each user's server runs as a system user of its own.",
    "bwrap": "Each user's server runs behind walls (bubblewrap): other people's files and programs are not there.",
    "none": "Users are not isolated from each other here: every server runs as the hub's own user. Archives with "
            "patients are refused; use phantoms.",
}  # fmt: skip
_ROOT = Path(__file__).parents[1]
# The program as a server sees it; of the checkout no more, for a lab may lie in it.
PROGRAM = (Path(ailab_kernel.__file__).parent, Path(__file__).parent,
           *(_ROOT / name for name in ("notebooks", "requirements.lock", "pyproject.toml")))  # fmt: skip
_TRY = "import os, ssl, sys, ailab_kernel; os.chdir(sys.argv[1]); open('.tried', 'w').close()"


@dataclass(frozen=True)
class Isolation:
    """What was found.

    Attributes
    ----------
    level
        One of `LEVELS`.
    why
        Why nothing stronger was taken; empty for the strongest.
    passable
        Whether a system user of its own can run Python here without walls, as the trusted process does.
    """

    level: str
    why: str
    passable: bool


def find(folder: Path, *, demanded: str = "") -> Isolation:
    """Try each way, strongest first.

    Parameters
    ----------
    folder
        The hub's folder, in the lab's.
    demanded
        A level that is taken or the hub does not start; empty takes the strongest.

    Raises
    ------
    SettingsError
        The demanded level is unknown, or cannot be had; the reason is named.
    """
    if demanded not in {"", *LEVELS}:
        msg = f"AILAB_HUB_ISOLATE = {demanded!r}: one of {', '.join(LEVELS)} is expected"
        raise SettingsError(msg)
    faults = {level: _fault(folder, level) for level in LEVELS[:3]}
    level = demanded or next((one for one in faults if not faults[one]), "none")
    if faults.get(level):
        msg = f"AILAB_HUB_ISOLATE = {demanded!r} cannot be had: {faults[level]}"
        raise SettingsError(msg)
    why = "; ".join(f"{one}: {faults[one] or 'not wanted'}" for one in LEVELS[: LEVELS.index(level)])
    return Isolation(level, why, passable=not faults["uid"])


def _fault(folder: Path, level: str) -> str:
    """Why a level cannot be had; empty where it can."""
    walled = "bwrap" in level
    if walled and lacking():
        return lacking()
    if "uid" in level and os.geteuid() != 0:
        return "the hub is not root, who alone can start servers as another user"
    uid = FIRST_UID if "uid" in level else 0
    home, tmp = (folder / name / f".try-{os.getpid()}" for name in ("rooms", "tmp"))
    for path in (home, tmp):
        empty(path, uid=uid)
    become: dict[str, Any] = {"user": uid, "group": uid, "extra_groups": []} if uid and not walled else {}
    before = Walls(home=home, tmp=tmp, hide=folder.parent, reads=PROGRAM, uid=uid).words() if walled else []
    try:
        done = subprocess.run([*before, sys.executable, "-I", "-c", _TRY, str(home)], capture_output=True, text=True,
                              timeout=30, cwd="/", **become)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return _because(level, getattr(error, "strerror", None) or "no answer in 30 s")
    finally:
        for path in (home, tmp):
            shutil.rmtree(path, ignore_errors=True)
    return _because(level, (done.stderr.strip().splitlines() or ["no reason given"])[-1]) if done.returncode else ""


def _because(level: str, said: str) -> str:
    hint = {"uid": "other system users must be able to enter the folders of Python and of the lab",
            "bwrap": "unprivileged user namespaces must be allowed"}.get(level, "mounting must be allowed")  # fmt: skip
    return f"a trial failed ({said[:200]}); {hint}"


def empty(path: Path, *, uid: int, mode: int = 0o700) -> None:
    """Make a folder anew that belongs to a system user; its parent is the hub's, so that nobody can have put a link."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=mode, parents=True)
    if uid:
        os.chown(path, uid, uid)
