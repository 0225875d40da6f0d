"""The doors of an adapter as its plan tells them: certificates, where the web's door is, and whose token opens it."""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.ground.references import secret
from ailab_kernel.ground.tls import server_context

Act = Literal["store", "infer", "watch", "again"]
_SHORTEST_TOKEN = 20                           # characters: what is shorter can be guessed


@dataclass(frozen=True)
class Tls:
    """What a door shows to its callers.

    Attributes
    ----------
    where
        Name of its table in the plan.
    cert, key, ca
        See `ground.tls.server_context`.
    """

    where: str
    cert: str
    key: str
    ca: str = ""

    def context(self) -> ssl.SSLContext:
        """Return it, ready to be used; SettingsError says which of the files cannot be."""
        return server_context(self.cert, self.key, what=(f"{self.where}.cert", f"{self.where}.key"), ca=self.ca)


@dataclass(frozen=True)
class Bearer:
    """Who has a token.

    Attributes
    ----------
    name
        Stands in the ledger as the sender, and in the trail.
    token
        Reference to the token (`ground.references.secret`).
    may
        ``store`` (STOW-RS), ``infer`` (``/inference``), ``watch`` (metrics and page), ``again`` (the page's button).
    """

    name: str
    token: str = field(repr=False)
    may: frozenset[Act] = frozenset()


@dataclass(frozen=True)
class HubDoor:
    """The hub whose people see the page without a token of the adapter's own.

    Attributes
    ----------
    url
        Where people's browsers reach the hub.
    api
        Where the adapter reaches the hub's API.
    token
        Reference to the token of the hub's service ``adapter``.
    ca
        File with the authorities of the hub's certificate; empty: public ones.
    watch, again
        Groups of the hub (roles) that may see the page, and may press its button.
    """

    url: str
    api: str
    token: str = field(repr=False)
    ca: str = ""
    watch: tuple[str, ...] = ("admin", "data-scientist", "radiologist", "auditor")
    again: tuple[str, ...] = ("admin",)

    def secret(self) -> str:
        """Return the service's token; SettingsError where it, or the file of authorities, is not there."""
        if self.ca and not Path(self.ca).is_file():
            msg = f"web.hub.ca: there is no file {Path(self.ca).name}; give the authorities of the hub's certificate"
            raise SettingsError(msg)
        return secret(self.token, what="web.hub.token").decode().strip()

    def may(self, groups: Iterable[str]) -> frozenset[Act]:
        """Return what a person of these groups may do."""
        wished: tuple[tuple[Act, tuple[str, ...]], ...] = (("watch", self.watch), ("again", self.again))
        mine = set(groups)
        return frozenset(act for act, allowed in wished if mine & set(allowed))


@dataclass(frozen=True)
class WebDoor:
    """Where the web's door is, and who may enter."""

    host: str
    port: int
    bearers: tuple[Bearer, ...] = ()
    tls: Tls | None = None
    hub: HubDoor | None = None

    def tokens(self) -> Mapping[bytes, Bearer]:
        """Return who each token belongs to.

        Raises
        ------
        SettingsError
            A token that is not there, is short, or is that of two.
        """
        found: dict[bytes, Bearer] = {}
        for one in self.bearers:
            what = f"web.bearer {one.name}: token"
            token = secret(one.token, what=what).strip()
            if len(token) < _SHORTEST_TOKEN or token in found:
                msg = (f"{what}: at least {_SHORTEST_TOKEN} characters that no other bearer has are expected; "
                       "openssl rand -hex 32 makes some")  # fmt: skip
                raise SettingsError(msg)
            found[token] = one
        return found


def check_secrecy(door: WebDoor) -> None:
    """Refuse a door whose tokens would go over the network for all to read."""
    try:
        here = ip_address(door.host).is_loopback
    except ValueError:
        here = door.host == "localhost"
    if door.tls is None and not here:
        msg = (f"web.listen = {door.host!r} without [web.tls]: tokens and images would be there for all to read; give "
               "cert and key, or listen at 127.0.0.1 behind a front that speaks TLS")  # fmt: skip
        raise SettingsError(msg)
