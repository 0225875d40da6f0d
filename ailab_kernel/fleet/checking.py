"""``ailab hub check``: an account that exists for the walk only goes through the hub, in every tier there is here.

The account is invited in as few roles as together may have every tier, never as admin; its password is nowhere but in
this process. Whatever happens, account, server and files are removed at the end; a check that was killed in the middle
leaves them to the next one, which removes them first.
"""

import fcntl
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ailab_kernel.ground.errors import AilabError, NotFound

from .invitations import invite
from .profiles import ROLES, Profile
from .visit import Visit, trusted

GUEST, HEALTH = "ailab-check", "_health.ipynb"
_START_S, _RUN_S, _REMOVE_S, _AGAIN_S = 120.0, 180.0, 120.0, 0.5
_NEVER = "admin"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Step:
    """One step of a walk: what was done, and how long it took, s."""

    did: str
    seconds: float


@dataclass(frozen=True)
class Skipped:
    """A tier that was not walked, and why."""

    tier: str
    why: str


@dataclass(frozen=True)
class Walk:
    """What a check did, and what it left out."""

    steps: tuple[Step, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a check walks through.

    Attributes
    ----------
    url
        Of the running hub.
    private
        The hub's private folder, for the invitations and the check's own token.
    profiles
        The hub's tiers.
    notebook
        The health notebook.
    memory_gb
        Of the machine that servers run on; 0 where it is another one.
    """

    url: str
    private: Path
    profiles: tuple[Profile, ...]
    notebook: Path
    memory_gb: float = 0.0


def check(plan: Plan, *, did: Callable[[Step], None] = lambda _: None) -> Walk:
    """Let a temporary account log in, start every tier, run the health notebook in it, and be removed.

    Parameters
    ----------
    plan
        What to walk through.
    did
        Called after every step.

    Raises
    ------
    NotFound
        No hub was started with this folder.
    AilabError
        A step failed, or another check is under way; the account is removed all the same.
    """
    token = plan.private / "check.token"
    if not token.is_file():
        msg = "no hub was started for this lab; run: ailab hub start"
        raise NotFound(msg)
    import requests

    try:
        with _alone(plan.private):
            return _check(plan, token.read_text(), _Log(did))
    except requests.RequestException as error:
        msg = (f"the hub did not answer ({type(error).__name__}); look into hub/private/hub.log (a certificate of the "
               "hospital's own authority: AILAB_HUB_TLS_CA)")  # fmt: skip
        raise AilabError(msg) from None


def _check(plan: Plan, token: str, log: "_Log") -> Walk:
    if _remove(plan, token):
        log.add("what a former check left was removed")
    try:
        visit = _log_in(plan)
        log.add("a temporary user logged in")
        skipped = tuple(_walk(plan, visit, log))
    finally:
        _remove(plan, token)
    log.add("the user was removed")
    return Walk(tuple(log.steps), skipped)


class _Log:
    """Steps with the time since the one before."""

    def __init__(self, did: Callable[[Step], None]) -> None:
        self.steps: list[Step] = []
        self._did, self._began = did, time.monotonic()

    def add(self, what: str) -> None:
        """Note a step that was just done."""
        now = time.monotonic()
        self.steps.append(Step(what, round(now - self._began, 2)))
        self._began = now
        self._did(self.steps[-1])


def roles_for(profiles: Sequence[Profile]) -> tuple[str, ...]:
    """Return as few roles as together may have every tier, the admin's left out: each takes the most that is left."""
    left = {one.name: set(one.groups) - {_NEVER} for one in profiles}
    left = {name: groups for name, groups in left.items() if groups}
    found: list[str] = []
    while left:
        counts = {role: sum(role in groups for groups in left.values()) for role in ROLES}
        found.append(max(counts, key=lambda role: counts[role]))
        left = {name: groups for name, groups in left.items() if found[-1] not in groups}
    return tuple(found) or ("student",)


def _log_in(plan: Plan) -> Visit:
    """Invite the guest in each role and log in each time: an invitation is used up, and its group stays."""
    for role in roles_for(plan.profiles):
        guest = invite(plan.private / "invitations", GUEST, role=role)
        visit = Visit(plan.url, GUEST)
        try:
            visit.log_in(guest.password)
        except AilabError as error:
            msg = f"{error}. Where a provider says who people are (AILAB_HUB_LOGIN), the check has no account to use"
            raise AilabError(msg) from None
    return visit


def _walk(plan: Plan, visit: Visit, log: _Log) -> Iterator[Skipped]:
    """Walk through every tier that there is here, and yield the others."""
    offered = visit.form()
    for profile in plan.profiles:
        why = _lacking(plan, profile, offered)
        if why:
            yield Skipped(profile.name, why)
            continue
        visit.choose(profile.name)
        try:
            visit.wait(_START_S)
        except AilabError:
            visit.leave()
            if not profile.gpus:
                raise
            yield Skipped(profile.name, f"no GPU came free within {_START_S:g} s: others hold them")
            continue
        log.add(f"tier {profile.name} started and JupyterLab answered")
        log.add(f"tier {profile.name}: healthy: {_health(plan, visit, profile)}")
        visit.leave()
        log.add(f"tier {profile.name}: the server stopped")


def _lacking(plan: Plan, profile: Profile, offered: Mapping[str, str]) -> str:
    """Why a tier cannot be walked; empty when it can."""
    if not set(profile.groups) - {_NEVER}:
        return "only admins may have it, and the check never becomes one"
    if profile.name not in offered:
        return "the hub does not offer it: it was started with other tiers"
    if offered[profile.name]:
        return f"{offered[profile.name]}; the tier lends {profile.gpus}"
    if 0 < plan.memory_gb < profile.memory_gb:
        return f"this machine has {plan.memory_gb:.0f} GB of memory, the tier gives {profile.memory_gb:g}"
    return ""


def _health(plan: Plan, visit: Visit, profile: Profile) -> str:
    """Run the health notebook in the guest's server, cell by cell, and return what it found, in words.

    Raises
    ------
    AilabError
        A cell failed; the error's last line is told: no patient's data are in this server.
    """
    kernel, printed = visit.kernel(), ""
    until = time.monotonic() + _RUN_S
    for source in cells(plan.notebook, tier=profile.name):
        printed, error = visit.execute(source, kernel=kernel, seconds=max(1.0, until - time.monotonic()))
        if error:
            msg = (f"tier {profile.name}: the health notebook failed: {_last(error)}; run notebooks/{HEALTH} in that "
                   "tier to see more")  # fmt: skip
            raise AilabError(msg)
    return _summary(json.loads(printed))


def cells(notebook: Path, **parameters: Any) -> list[str]:
    """Return the sources of a notebook's code cells, with papermill's cell of parameters among them."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    read = load_notebook_node(str(notebook))
    book = parameterize_notebook(read, parameters, kernel_name="python3", language="python")
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def _summary(found: Mapping[str, Any]) -> str:
    devices = ", ".join(found["devices"]) or "no GPU seen"
    lent = f", device {found['lent']} lent" if found["lent"] else ""
    cores = f"{found['cores']} core{'s' * (found['cores'] != 1)}"
    return f"{cores}, {devices}{lent}, {found.get('network') or 'no network'}, {found['seconds']:g} s"


def _last(error: str) -> str:
    lines = [line for line in _COLOR.sub("", error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason was given"


@contextmanager
def _alone(private: Path) -> Iterator[None]:
    """Hold the check's lock; the system lets go of it when this process dies."""
    with (private / "check.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = "another check of this hub is under way; wait for it"
            raise AilabError(msg) from None
        yield


def _remove(plan: Plan, token: str) -> bool:
    """Remove the guest's server, account, invitation and files; whether there was anything.

    Raises
    ------
    AilabError
        The hub did not let the account go within the time: the admin has to delete it.
    """
    import requests

    def _ask(method: str, path: str) -> int:
        return requests.request(method, f"{plan.url}/hub/api/users/{GUEST}{path}", timeout=60, verify=trusted(),
                                headers={"Authorization": f"token {token}"}).status_code  # fmt: skip

    hub, status = plan.private.parent, 0
    there = (hub / "rooms" / GUEST).exists()
    (plan.private / "invitations" / f"{GUEST}.json").unlink(missing_ok=True)
    until = time.monotonic() + _REMOVE_S
    while (status := _ask("DELETE", "")) not in {204, 404}:
        there = True
        if time.monotonic() > until:
            msg = f"the hub did not remove the user {GUEST} (status {status}); delete it at /hub/admin"
            raise AilabError(msg)
        _ask("DELETE", "/server")
        time.sleep(_AGAIN_S)
    for folder in ("rooms", "told", "tmp"):
        shutil.rmtree(hub / folder / GUEST, ignore_errors=True)
    return there or status == 204
