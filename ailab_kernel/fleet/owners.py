"""Whose a token of the hub is: the hub says so."""

from collections.abc import Mapping
from typing import Any

from ailab_kernel.ground.errors import CatalogError

_ASKED_S = 5.0                     # the hub is on this machine or the next


def owner_of(token: str, *, api: str, ca: str = "") -> Mapping[str, Any] | None:
    """Return what the hub says of a token's owner (``kind``, ``name``, ``groups``, ``scopes``); None: it is nobody's.

    Parameters
    ----------
    token
        As the caller showed it.
    api
        ``https://hub.example/hub/api``.
    ca
        File with the authorities of the hub's certificate; empty: public ones.

    Raises
    ------
    CatalogError
        That cannot be known now.
    """
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False          # no proxy and no .netrc between us and the hub
            answer = session.get(f"{api.rstrip('/')}/user", headers={"Authorization": f"token {token}"},
                                 timeout=_ASKED_S, allow_redirects=False, verify=ca or True)  # fmt: skip
        if answer.status_code in {401, 403}:
            return None
        if answer.status_code == 200:
            return dict(answer.json())
        reason = f"HTTP {answer.status_code}"
    except (requests.RequestException, ValueError, TypeError) as error:
        reason = type(error).__name__
    msg = f"the hub does not say whose token this is ({reason}); try again, or look at its log"
    raise CatalogError(msg)
