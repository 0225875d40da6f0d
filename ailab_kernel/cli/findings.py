"""What a check found, and checks run side by side: whatever is broken becomes a line, never a traceback."""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ailab_kernel.ground.errors import AilabError

if TYPE_CHECKING:
    from ailab_kernel.workspace import Workspace

OK, WARN, FAIL = "ok", "warn", "fail"
_LONGEST_S = 60.0
_PASSWORD = re.compile(r"//[^/@\s]+@")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's screen.

    Attributes
    ----------
    state
        ``ok``, ``warn`` or ``fail``.
    told
        What was found.
    next
        What to do about it; empty where nothing is to be done.
    """

    state: str
    told: str
    next: str = ""


@dataclass(frozen=True)
class Place:
    """What is looked at: the lab, and the hub that may be there.

    Attributes
    ----------
    workspace
        The lab whose settings hold here.
    hub
        Address of the hub.
    hub_named
        Whether somebody said that there is one.
    """

    workspace: "Workspace"
    hub: str
    hub_named: bool

    @property
    def home(self) -> Path:
        """Folder of the lab."""
        return self.workspace.home

    @property
    def service(self) -> str:
        """Address of the trusted process where this lab works through it; else empty."""
        return self.workspace.settings.service.rstrip("/")


@dataclass(frozen=True)
class Check:
    """One thing to look at: how, and what to do when looking itself goes wrong."""

    look: Callable[[Place], Finding]
    cure: str


def ok(told: str) -> Finding:
    """All is well."""
    return Finding(OK, told)


def warn(told: str, next_step: str) -> Finding:
    """It works, but somebody should look."""
    return Finding(WARN, told, next_step)


def fail(told: str, next_step: str) -> Finding:
    """It does not work."""
    return Finding(FAIL, told, next_step)


def examine(place: Place, checks: Mapping[str, Check]) -> dict[str, Finding]:
    """Run every check and return its finding by name, in the table's order."""
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        asked = {name: pool.submit(check.look, place) for name, check in checks.items()}
        return {name: _outcome(answer, checks[name].cure) for name, answer in asked.items()}


def _outcome(answer: "Future[Finding]", cure: str) -> Finding:
    """The finding, or what the check broke on: our own errors speak, others are only named (they may quote data)."""
    try:
        error = answer.exception(timeout=_LONGEST_S)
    except TimeoutError:
        return fail(f"no answer within {_LONGEST_S:g} s", cure)
    if error is None:
        return answer.result()
    if isinstance(error, AilabError):
        return fail(_PASSWORD.sub("//***@", str(error)), cure)
    if isinstance(error, OSError) and error.strerror:
        return fail(error.strerror.lower(), cure)
    return fail(f"{type(error).__name__}", cure)


def worst(findings: Sequence[Finding]) -> str:
    """Return the worst state among findings."""
    states = {one.state for one in findings}
    return next(state for state in (FAIL, WARN, OK) if state in states or state == OK)
