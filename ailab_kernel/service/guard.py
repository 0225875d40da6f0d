"""What stands before every route: whose token it is, and whether that person may."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, HTTPException, Request

from ailab_kernel.ground.errors import CatalogError, SettingsError
from ailab_kernel.ground.ids import sha256

from .identity import Caller, Callers
from .ledger import Ledger, Realms
from .refusals import Refusals
from .roles import HUB, Act, acts_of

if TYPE_CHECKING:
    from ailab_kernel.archives.archive import Archive
    from ailab_kernel.workspace import Workspace

_LONGEST_TOKEN = 1024
_OWN_TOKEN = ("which every cell can read: make one of your own on the hub's page /hub/token, and set "
              "AILAB_SERVICE_TOKEN for this one command")  # fmt: skip
_NOT_OURS = frozenset({"hub"})                 # the hub guards its folder itself


class Visitors:
    """Writes a line when a token is first used here: somebody logged in (PS3.15 A.5.3.14)."""

    def __init__(self, trail: Ledger) -> None:
        self._trail = trail
        self._lock = threading.Lock()
        self._seen: set[str] = set()

    def note(self, caller: Caller, token: str) -> None:
        """Write the line, once for each token."""
        digest = sha256(token.encode())
        with self._lock:
            new = digest not in self._seen
            self._seen.add(digest)
        if new:
            self._trail.by(caller.user).audit("service.login", roles=",".join(sorted(caller.roles)))


@dataclass(frozen=True)
class Desk:
    """What the service holds for all its routes.

    Attributes
    ----------
    spool
        Folder where a body waits until it is whole and checked.
    phantoms_only
        Whether patients' images are refused; see `patients`.
    """

    realms: Realms
    archive: "Archive"
    callers: Callers
    refusals: Refusals
    spool: Path
    phantoms_only: bool = False
    visitors: "Visitors | None" = None


def open_desk(
    workspace: "Workspace", callers: Callers, *, bases: bool = True, phantoms_only: bool = False
) -> Desk:
    """Open a lab for its service: from now on its files are their owner's alone.

    Parameters
    ----------
    callers
        Who finds out whose token it is; there is no service without.
    bases
        Whether the product's base models join the lab at once.
    phantoms_only
        Whether patients' images are refused.
    """
    spool = workspace.home / "spool"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in spool.iterdir():
        left.unlink()                          # bodies that a crash cut off
    realms = Realms(workspace, bases=bases)
    _close(workspace.home)
    return Desk(realms, workspace.plain_archive, callers, Refusals(realms.lab), spool, phantoms_only,
                Visitors(realms.lab))  # fmt: skip


def _close(home: Path) -> None:
    """Take from everybody else what a pilot's umask left open.

    The folder itself may be walked through, not read: the hub keeps its own folder in it, with a room for every user.
    """
    try:
        if home.stat().st_uid == os.geteuid():     # else the hub made it, and keeps it
            home.chmod(home.stat().st_mode & 0o711)
        for entry in home.iterdir():
            if entry.name not in _NOT_OURS and not entry.is_symlink():
                entry.chmod(entry.stat().st_mode & 0o700)
    except PermissionError as error:
        msg = "something in the lab's folder belongs to another system user; chown all of it to the service's own"
        raise SettingsError(msg) from error


@dataclass(frozen=True)
class Call:
    """A request that was let in: who asks, and the catalog they work in."""

    desk: Desk
    caller: Caller
    catalog: Ledger


@dataclass(frozen=True)
class May:
    """Lets a request in whose sender may do ``act``."""

    act: Act

    def __call__(self, request: Request) -> Call:
        """Return the call; 401 for a token that is nobody's, 403 for somebody who may not."""
        desk: Desk = request.app.state.desk
        request.state.act = self.act
        caller = _identify(desk, request)
        request.state.caller = caller
        _must(caller, self.act)
        return Call(desk, caller, desk.realms.of(caller))


def must(request: Request, call: Call, act: Act) -> None:
    """Raise 403 unless whoever asks may also do this, which what they send turned out to be."""
    request.state.act = act
    _must(call.caller, act)


def _must(caller: Caller, act: Act) -> None:
    if act in caller.acts:
        return
    roles = ", ".join(sorted(caller.roles)) or "no role"
    if act in acts_of(caller.roles):
        raise HTTPException(403, f"{act} is not done with the token of a server, {_OWN_TOKEN}")
    raise HTTPException(403, f"{act} is not for {roles}; ask the lab's administrator for a role that may")


def _identify(desk: Desk, request: Request) -> Caller:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    known = scheme.lower() in {"token", "bearer"} and 0 < len(token) <= _LONGEST_TOKEN
    try:
        caller = desk.callers.identify(token.strip()) if known else None
    except CatalogError as error:
        raise HTTPException(503, str(error)) from None
    if caller is None:
        raise HTTPException(401, "this token opens nothing here; restart your server from the hub for a new one")
    if desk.visitors and HUB not in caller.roles:
        desk.visitors.note(caller, token.strip())
    return caller


Reader = Annotated[Call, Depends(May(Act.READ))]
Keeper = Annotated[Call, Depends(May(Act.KEEP))]
Signer = Annotated[Call, Depends(May(Act.SIGN))]
Pointer = Annotated[Call, Depends(May(Act.POINT))]
Namer = Annotated[Call, Depends(May(Act.PSEUDONYM))]
Releaser = Annotated[Call, Depends(May(Act.RELEASE))]
Reidentifier = Annotated[Call, Depends(May(Act.REIDENTIFY))]
Witness = Annotated[Call, Depends(May(Act.WITNESS))]
Auditor = Annotated[Call, Depends(May(Act.AUDIT))]
Searcher = Annotated[Call, Depends(May(Act.SEARCH))]
Retriever = Annotated[Call, Depends(May(Act.RETRIEVE))]
Storer = Annotated[Call, Depends(May(Act.STORE))]
Deleter = Annotated[Call, Depends(May(Act.DELETE))]
