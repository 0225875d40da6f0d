"""Who a token belongs to: the hub says so; without a hub (tests, a lab of one machine) a file that only we can read.

What a request says about its sender beyond the token is never looked at.
"""

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ailab_kernel.fleet.owners import owner_of
from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.ground.ids import sha256

from .roles import BY_HAND, HUB, STUDENT, Act, acts_of, roles_of

_REMEMBERED_S = 10.0               # so long may a revoked token, or a group that was left, still count
_REMEMBERED = 1000
WITNESS = "witness"                # the name that the hub has among its own services (`hub_config.witness`)
_OF_A_SERVER = "access:servers!server="        # the scope that the hub gives a server, of itself


@dataclass(frozen=True)
class Caller:
    """Whoever is asking.

    Attributes
    ----------
    user
        The hub's user name.
    roles
        They follow from the groups.
    server
        Whether the token is that of a user's server, which every program in it can read.
    """

    user: str
    roles: frozenset[str]
    server: bool = False

    @property
    def acts(self) -> frozenset[Act]:
        """What the caller may do."""
        return acts_of(self.roles) - (BY_HAND if self.server else frozenset())

    @property
    def sandboxed(self) -> bool:
        """Whether the caller works in a sandbox of their own."""
        return self.roles == {STUDENT}


class Callers(Protocol):
    """Finds out who is asking."""

    def identify(self, token: str) -> Caller | None:
        """Return the token's owner, None when it is nobody's; CatalogError when that cannot be known now."""


@dataclass(frozen=True)
class HubCallers:
    """Asks JupyterHub, and remembers the answer for some seconds.

    Attributes
    ----------
    api
        ``JUPYTERHUB_API_URL``.
    scopes
        A token needs one of them; a user's other tokens do not open this door.
    """

    api: str
    scopes: frozenset[str]
    _known: dict[str, tuple[float, Caller | None]] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def identify(self, token: str) -> Caller | None:
        """Return the token's owner as the hub knows them."""
        digest, now = sha256(token.encode()), time.monotonic()
        with self._lock:
            until, caller = self._known.get(digest, (0.0, None))
        if now < until:
            return caller
        caller = self._ask(token)
        with self._lock:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[digest] = (now + _REMEMBERED_S, caller)
        return caller

    def _ask(self, token: str) -> Caller | None:
        found = owner_of(token, api=self.api, ca=os.environ.get("AILAB_HUB_TLS_CA", ""))
        return self._caller(found) if found is not None else None

    def _caller(self, model: Mapping[str, Any]) -> Caller | None:
        """A user of the hub whose token may enter here, or the hub itself; other services of the hub are nobody."""
        scopes = set(model.get("scopes") or ())
        if not self.scopes & scopes:
            return None
        if (model.get("kind"), model.get("name")) == ("service", WITNESS):
            return Caller(f"({HUB})", frozenset({HUB}))
        if model.get("kind") != "user":
            return None
        return Caller(str(model["name"]), roles_of(model.get("groups") or (), admin=model.get("admin") is True),
                      server=any(one.startswith(_OF_A_SERVER) for one in scopes))  # fmt: skip


def hub_callers() -> HubCallers:
    """Callers as the hub that started this process knows them, from the ``JUPYTERHUB_`` variables it set."""
    name = os.environ.get("JUPYTERHUB_SERVICE_NAME", "ailab")
    scopes = json.loads(os.environ.get("JUPYTERHUB_OAUTH_ACCESS_SCOPES", "[]"))
    return HubCallers(os.environ["JUPYTERHUB_API_URL"],
                      frozenset({"access:services", f"access:services!service={name}", *scopes}))


class TokenFile:
    """Callers from a JSON file ``{"TOKEN": {"user": "anna", "groups": ["radiologist"]}}`` that only its owner reads.

    ``"server": true`` beside them marks a token as that of a user's server.
    """

    def __init__(self, path: Path) -> None:
        try:
            if path.stat().st_mode & 0o077:
                msg = f"{path.name} can be read by others than its owner; chmod 600 it"
                raise SettingsError(msg)
            told = json.loads(path.read_bytes())
            self._callers = {sha256(token.encode()): Caller(str(one["user"]), roles_of(one["groups"]),
                                                            server=one.get("server") is True)
                             for token, one in told.items()}  # fmt: skip
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            msg = (f"the token file {path.name} cannot be used ({type(error).__name__}); expected is "
                   '{"TOKEN": {"user": NAME, "groups": [ROLE, ...]}}')  # fmt: skip
            raise SettingsError(msg) from None

    def identify(self, token: str) -> Caller | None:
        """Return the token's owner."""
        return self._callers.get(sha256(token.encode()))
