"""A replay in the environment of then, rebuilt from the lock that its record names.

What is installed here in the locked version is used as it is; only what differs is installed, by pip, into a virtual
environment of its own below the lab's cache, as wheels (no code of a package runs while it is installed) and without
asking for dependencies: the lock names them all. Pip's own settings say where from (``PIP_INDEX_URL``,
``PIP_NO_INDEX``, ``PIP_FIND_LINKS``): a hospital without internet gives a folder of wheels.
"""

import json
import os
import re
import secrets
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import NotFound, ReportError
from ailab_kernel.ground.ids import sha256
from ailab_kernel.ground.progress import say
from ailab_kernel.ground.surroundings import code_digest, installed, lock_text

from .outcome import Replay

if TYPE_CHECKING:
    from ailab_kernel.workspace import Workspace

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_VERSION = "python"
_DONE = "built.json"
_TOLD = 300                                    # characters of what pip or a replay said last
_RUN = "from ailab_kernel.cli.main import main; main()"


def replay_elsewhere(
    workspace: "Workspace", words: Sequence[str], *, surroundings: Mapping[str, Any], code: Path | None = None,
    allow: Sequence[str] = (),
) -> Replay:  # fmt: skip
    """Run ``ailab report replay`` in the environment that a record names, and return what it found.

    Parameters
    ----------
    workspace
        The lab.
    words
        What follows ``ailab report replay``.
    surroundings
        Of the record.
    code
        A checkout of the AI-LAB that ran then; None: this one's code, which may differ.
    allow
        Packages that may be installed although this AI-LAB's own lock does not name them.

    Raises
    ------
    NotFound
        The record names no lock, or the lab did not keep it.
    ReportError
        The environment cannot be rebuilt here, ``code`` is another one, or the replay failed.
    """
    source = _code(surroundings, code)
    python = build(workspace.cache / "environments", _lock(workspace, surroundings), allow=allow)
    told = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([python, "-c", _RUN, "report", "replay", *words, "--json"], text=True, capture_output=True,
                          check=False, env=told | workspace.environment() | {"PYTHONPATH": str(source)})  # fmt: skip
    try:
        return Replay.of(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError):
        msg = f"the replay in the rebuilt environment did not come to its end: {_last(done.stderr)}"
        raise ReportError(msg) from None


def build(folder: Path, lock: bytes, *, allow: Sequence[str] = ()) -> Path:
    """Return the Python of an environment that has every version of a lock; it is made once.

    Parameters
    ----------
    folder
        Where environments are kept.
    lock
        ``name==version`` lines.
    allow
        Packages that this AI-LAB's own lock does not name, and that may be installed all the same.

    Raises
    ------
    ReportError
        The lock holds anything but pins, names packages that AI-LAB never asked for, or pip could not install it.
    """
    wanted = missing(pins(lock))
    _check_names(wanted, allow)
    there = sorted({path for path in (*site.getsitepackages(), *sys.path) if path.endswith("site-packages")})
    place = folder / sha256(lock + "\n".join([sys.prefix, *wanted]).encode())[:16]
    if not (place / _DONE).is_file():
        _make(place, wanted, there)
    return place / "bin" / "python"


def pins(lock: bytes) -> dict[str, str]:
    """Return the versions of a lock by name.

    Raises
    ------
    ReportError
        A line is no ``name==version``: an address or an option could fetch anything.
    """
    lines = [line.strip() for line in lock.decode("utf8", "replace").splitlines()]
    found = [_PIN.fullmatch(line) for line in lines if line and not line.startswith("#")]
    if not all(found):
        msg = "the stored lock holds a line that is no name==version; nothing was installed"
        raise ReportError(msg)
    return {one[1]: one[2] for one in found if one}


def missing(wanted: Mapping[str, str]) -> list[str]:
    """Return the pins that are not installed here, as ``name==version``; a build's own label (``+cpu``) is as good."""
    return [f"{name}=={version}" for name, version in wanted.items()
            if version not in {(found := installed(name)), found.partition("+")[0]}]  # fmt: skip


def _lock(workspace: "Workspace", surroundings: Mapping[str, Any]) -> bytes:
    digest, python = str(surroundings.get("lock", "")), str(surroundings.get("versions", {}).get(_VERSION, ""))
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python and not python.startswith(f"{here}."):
        msg = f"it ran under Python {python}, and this is {here}: run the replay with an ailab of that Python"
        raise ReportError(msg)
    try:
        return workspace.catalog.get(digest)
    except NotFound:
        msg = ("the lock that it ran under was not kept: it is of an AI-LAB older than the keeping of locks; replay it "
               "without --rebuild, which says what differs")  # fmt: skip
        raise NotFound(msg) from None


def _code(surroundings: Mapping[str, Any], code: Path | None) -> Path:
    """Folder that holds ``ailab_kernel``; a checkout that was given must be the code that ran."""
    here = Path(__file__).parents[3]
    if code is None:
        if surroundings.get("code") not in {None, code_digest()}:
            say("  AI-LAB's own code is another than then: give --code with a checkout of that version to run it")
        return here
    found = code_digest(code.resolve() / "ailab_kernel") if (code / "ailab_kernel").is_dir() else ""
    if found != surroundings.get("code"):
        msg = (f"{code.name} does not hold the code that ran ({str(surroundings.get('code'))[:12]}): give a checkout "
               "of that version")  # fmt: skip
        raise ReportError(msg)
    return code.resolve()


def _check_names(wanted: Sequence[str], allow: Sequence[str]) -> None:
    """Anybody can write a record: its lock brings in only what AI-LAB itself asks for, or what was allowed."""
    known = {_plain(name) for name in (*pins(lock_text()), *allow)}
    strange = [pin for pin in wanted if _plain(pin.partition("==")[0]) not in known]
    if strange:
        msg = (f"the stored lock names {', '.join(strange[:5])}{' ...' if len(strange) > 5 else ''}, which this AI-LAB "
               "does not use; look at it, and allow it with --allow NAME")  # fmt: skip
        raise ReportError(msg)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _make(place: Path, wanted: Sequence[str], there: Sequence[str]) -> None:
    """Make the environment beside its place and move it there when it is whole."""
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    say(f"  environment {place.name}: {len(wanted)} of its packages are not here in the locked version")
    try:
        venv.create(draft, with_pip=False, symlinks=True)
        if wanted:
            _install(draft, wanted)
        inner = next(draft.glob("lib/python*/site-packages"))
        (inner / "ailab-here.pth").write_text("".join(
            f"import site; site.addsitedir({path!r})\n" for path in there))
        (draft / _DONE).write_text(json.dumps({"installed": list(wanted), "from": list(there)}, indent=1))
        shutil.rmtree(place, ignore_errors=True)
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _install(draft: Path, wanted: Sequence[str]) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(draft / "bin" / "python"), "install", "--quiet",
               "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", *wanted]  # fmt: skip
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        msg = (f"pip could not install {_some(wanted)}: {_last(done.stderr)}; give it an index that has them "
               "(PIP_INDEX_URL), or a folder of wheels (PIP_FIND_LINKS, PIP_NO_INDEX=1)")  # fmt: skip
        raise ReportError(msg)


def _some(wanted: Sequence[str]) -> str:
    return ", ".join(wanted[:3]) + (f" and {len(wanted) - 3} more" if len(wanted) > 3 else "")


def _last(text: str) -> str:
    """The line that says most of what went wrong: the last error, else the last line."""
    lines: list[str] = [line.strip() for line in text.splitlines() if line.strip()]
    errors: Iterator[str] = (line for line in reversed(lines) if line.startswith(("ERROR", "ailab:")))
    return next(errors, lines[-1] if lines else "it said nothing")[:_TOLD]
