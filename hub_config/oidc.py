"""Logins by an OIDC provider (Keycloak, ADFS, Entra and the like): code flow with state and PKCE, by oauthenticator.

The provider's addresses come from its discovery document (OpenID Connect Discovery 1.0, 4), read when the hub starts.
"""

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from oauthenticator.generic import GenericOAuthenticator
from tornado import web

from ailab_kernel.fleet.invitations import is_name
from ailab_kernel.ground.errors import SettingsError
from ailab_kernel.ground.store import atomic_write
from hub_config.house import House
from hub_config.logins import Groups, groups
from hub_config.references import file_of, needed, secret

_ADDRESSES = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")
_ANSWER_S = 10.0
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class Provided(GenericOAuthenticator):
    """GenericOAuthenticator that checks the ID token's claims and ties a name to the provider's one account."""

    house: House
    table: Groups
    issuer: str
    groups_claim: str

    async def token_to_user(self, token_info: dict[str, Any]) -> dict[str, Any]:
        """Return the provider's claims; those of the ID token and of userinfo must be about one account.

        The ID token came straight from the provider over TLS, which stands for its signature (OpenID Connect Core 1.0,
        3.1.3.7 number 6); issuer, audience and time are checked here, and the subject (5.3.2).
        """
        import jwt

        claims = await super().token_to_user(token_info)
        checks = {"verify_signature": False, "verify_aud": True, "verify_iss": True, "verify_exp": True}
        try:
            proof = jwt.decode(token_info.get("id_token") or "", options={**checks, "require": ["sub", "exp"]},
                               audience=self.client_id, issuer=self.issuer)  # fmt: skip
        except jwt.InvalidTokenError as error:
            raise _refused(f"the provider's ID token does not hold ({type(error).__name__})") from None
        if proof["sub"] != claims.get("sub"):
            raise _refused("the provider's ID token and its user information are about two accounts")
        return claims

    def user_info_to_username(self, user_info: dict[str, Any]) -> str:
        """Return the account's name here, which belongs to one subject of the provider for ever."""
        name = self.normalize_username(str(user_info.get(self.username_claim) or ""))
        if not is_name(name):
            raise _refused(
                f"the provider's claim {self.username_claim} is no name that an account can have here; a small letter, "
                "then up to 31 of a-z, 0-9, '.', '_' and '-' are expected. The hub's admin can choose another claim "
                "(AILAB_HUB_OIDC_NAME)")  # fmt: skip
        if owner(self.house, name, subject=f"{self.issuer} {user_info['sub']}"):
            return name
        raise _refused(
            f"the name {name} belongs to another account of the provider. A name that was given anew does not open its "
            "former owner's files; the hub's admin can free it (subjects.json)")  # fmt: skip

    async def get_user_groups(self, auth_state: dict[str, Any]) -> set[str]:
        """Return the lab's roles for the provider's groups."""
        told = auth_state[self.user_auth_state_key].get(self.groups_claim)
        listed = told if isinstance(told, list) else [told]
        return set(self.table.roles(one for one in listed if isinstance(one, str)))


def _refused(why: str) -> web.HTTPError:
    error = web.HTTPError(403, why)
    error.jupyterhub_message = f"You cannot be let in: {why}."
    return error


def owner(house: House, name: str, *, subject: str) -> bool:
    """Return whether a name is the subject's; the first to come with it gets it.

    Names are not unique at a provider over time (OpenID Connect Core 1.0, 5.7); the subject is.
    """
    path = house.private / "subjects.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    if name not in known:
        known[name] = subject
        atomic_write(path, json.dumps(known, indent=1).encode())
    return known[name] == subject


def settings(house: House) -> dict[str, dict[str, Any]]:
    """Return JupyterHub's settings; see `hub_config.logins.settings`."""
    issuer, ca = needed("AILAB_HUB_OIDC_ISSUER"), file_of("AILAB_HUB_OIDC_CA")
    Provided.house, Provided.table, Provided.issuer = house, groups(), issuer
    Provided.groups_claim = os.environ.get("AILAB_HUB_OIDC_GROUPS", "groups")
    client, hidden = needed("AILAB_HUB_OIDC_CLIENT"), secret("AILAB_HUB_OIDC_SECRET")
    places = discover(issuer, ca=ca)
    return {
        "JupyterHub": {"authenticator_class": Provided},
        "Authenticator": {"manage_groups": True},
        "GenericOAuthenticator": {
            "client_id": client, "client_secret": hidden, "allow_all": True,
            "authorize_url": places["authorization_endpoint"], "token_url": places["token_endpoint"],
            "userdata_url": places["userinfo_endpoint"], "oauth_callback_url": f"{house.url}/hub/oauth_callback",
            "scope": os.environ.get("AILAB_HUB_OIDC_SCOPE", "openid profile").split(),
            "username_claim": os.environ.get("AILAB_HUB_OIDC_NAME", "preferred_username"),
            "login_service": os.environ.get("AILAB_HUB_OIDC_TITLE", "your hospital account"),
            "http_request_kwargs": {"ca_certs": ca} if ca else {},
        },
    }  # fmt: skip


def discover(issuer: str, *, ca: str = "") -> Mapping[str, str]:
    """Return the provider's addresses by its discovery document.

    Parameters
    ----------
    issuer
        As the provider writes it; ``https``, or ``http`` on this machine.
    ca
        File with the certificates of the authority that the provider's own is checked against; the system's else.

    Raises
    ------
    SettingsError
        No answer, another issuer, or an address that is missing or not protected.
    """
    import requests

    _protected(issuer, "is")
    address = issuer.rstrip("/") + "/.well-known/openid-configuration"
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(address, timeout=_ANSWER_S, verify=ca or True, allow_redirects=False)
        told = answer.json() if answer.status_code == 200 else {}
    except (requests.RequestException, ValueError) as error:
        msg = (f"AILAB_HUB_OIDC_ISSUER: no answer from {address} ({type(error).__name__}); check the address, "
               "AILAB_HUB_OIDC_CA and whether the provider runs")  # fmt: skip
        raise SettingsError(msg) from None
    if not isinstance(told, dict) or told.get("issuer") != issuer:
        msg = f"AILAB_HUB_OIDC_ISSUER: {address} does not name it (status {answer.status_code}); copy it exactly"
        raise SettingsError(msg)
    for name in _ADDRESSES:
        _protected(str(told.get(name, "")), f"has {name}")
    return {name: told[name] for name in _ADDRESSES}


def _protected(url: str, what: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    msg = f"AILAB_HUB_OIDC_ISSUER {what} {url[:80]!r}; an https address is expected (http on this machine only)"
    raise SettingsError(msg)
