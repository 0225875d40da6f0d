"""Logins by an LDAP directory (OpenLDAP, Active Directory): looked up, then bound with the person's own password.

The connection is always TLS with a checked certificate (RFC 4513, 3): ``ldaps://`` from its first byte, ``ldap://`` by
StartTLS before anything else is said. A name is checked against the lab's pattern before the directory hears of it.
"""

import asyncio
import os
import ssl
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPBindError, LDAPException
from ldapauthenticator import LDAPAuthenticator
from ldapauthenticator.ldapauthenticator import TlsStrategy
from tornado import web

from ailab_kernel.fleet.invitations import is_name
from ailab_kernel.ground.errors import SettingsError
from hub_config.house import House
from hub_config.logins import Groups, groups
from hub_config.references import file_of, needed, secret

_CONNECT_S, _ANSWER_S = 5, 10
_OPEN: ContextVar[list[ldap3.Connection]] = ContextVar("open")  # of one login
_STRATEGIES = {"ldaps": TlsStrategy.on_connect, "ldap": TlsStrategy.before_bind}


class Directory(LDAPAuthenticator):
    """LDAPAuthenticator whose directory may be slow or away, and whose groups become the lab's roles."""

    table: Groups

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """Look the name up and try the password, aside from the hub's loop, which serves everybody.

        Raises
        ------
        tornado.web.HTTPError
            503: the directory does not answer, or its certificate does not hold.
        """
        name, password = self.normalize_username(data.get("username", "")), data.get("password", "")
        # RFC 4513, 5.1.2: an empty password is no password, and many directories then answer "success"
        if not is_name(name) or not password.strip() or "\0" in password:
            return None
        asked = super().authenticate(handler, {"username": name, "password": password})
        try:
            told = await asyncio.to_thread(_ask, asked)
        except LDAPException as error:
            self.log.error("the directory cannot be asked (%s): %s", type(error).__name__, error)
            away = web.HTTPError(503, "the directory cannot be asked")
            away.jupyterhub_message = "The hospital's directory does not answer. Try again; the hub's log says more."
            raise away from None
        return told and {**told, "auth_state": None, "groups": self.table.roles(told["auth_state"]["ldap_groups"])}

    def resolve_username(self, username_supplied_by_user: str) -> tuple[str | None, str | None]:
        """Look up who it is; the library takes the distinguished name for a template, so that braces are doubled."""
        name, dn = super().resolve_username(username_supplied_by_user)
        return name, dn and dn.replace("{", "{{").replace("}", "}}")

    def get_connection(self, userdn: str | None, password: str | None) -> ldap3.Connection | None:
        """Return a bound connection, None when the directory refused; referrals to other servers are not followed."""
        first = self.tls_strategy is TlsStrategy.on_connect
        tls = ldap3.Tls(**self.tls_kwargs)
        server = ldap3.Server(self.server_address, port=self.server_port, use_ssl=first, tls=tls, get_info=ldap3.NONE,
                              connect_timeout=_CONNECT_S)  # fmt: skip
        link = ldap3.Connection(server, user=userdn, password=password, auto_referrals=False, read_only=True,
                                receive_timeout=_ANSWER_S)  # fmt: skip
        _OPEN.get().append(link)
        link.open(read_server_info=False)
        if not first:
            link.start_tls(read_server_info=False)
        if link.bind(read_server_info=False):
            return link
        if userdn == self.lookup_dn_search_user:
            msg = f"it refused the account of AILAB_HUB_LDAP_BIND ({link.result['description']})"
            raise LDAPBindError(msg)
        return None


def _ask(asked: Coroutine[Any, Any, Any]) -> Any:
    """Run the library's questions in this thread, and close what they opened."""
    opened: list[ldap3.Connection] = []
    _OPEN.set(opened)
    try:
        return asyncio.run(asked)
    finally:
        for link in opened:
            link.unbind()
            if link.socket:  # which ldap3 leaves open where nobody answered
                link.socket.close()


def settings(house: House) -> dict[str, dict[str, Any]]:
    """Return JupyterHub's settings; see `hub_config.logins.settings`."""
    scheme, host, port = place(needed("AILAB_HUB_LDAP_URL"))
    Directory.table = groups()
    name = os.environ.get("AILAB_HUB_LDAP_NAME", "uid")
    looked_up_by = {}
    if os.environ.get("AILAB_HUB_LDAP_BIND"):
        looked_up_by = {"lookup_dn_search_user": os.environ["AILAB_HUB_LDAP_BIND"],
                        "lookup_dn_search_password": secret("AILAB_HUB_LDAP_SECRET")}  # fmt: skip
    checked = {"validate": ssl.CERT_REQUIRED, "ca_certs_file": file_of("AILAB_HUB_LDAP_CA") or None}
    return {
        "JupyterHub": {"authenticator_class": Directory},
        "Authenticator": {"manage_groups": True, "allow_all": True},
        "LDAPAuthenticator": {
            "server_address": host, "tls_strategy": _STRATEGIES[scheme], "tls_kwargs": checked,
            **({"server_port": port} if port else {}),
            "lookup_dn": True, "user_search_base": needed("AILAB_HUB_LDAP_PEOPLE"), "user_attribute": name,
            "lookup_dn_user_dn_attribute": name, "allowed_groups": Directory.table.known, **looked_up_by,
        },
    }  # fmt: skip


def place(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of the directory's address.

    Raises
    ------
    SettingsError
        It is no ``ldap://`` or ``ldaps://`` address.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in _STRATEGIES or not host:
        msg = f"AILAB_HUB_LDAP_URL = {url[:80]!r}: ldaps://HOST or ldap://HOST (StartTLS) is expected"
        raise SettingsError(msg)
    return parts.scheme, host, port
