"""Who may do what in the hub, and which services run beside it: nobody holds more than the work needs.

Nobody may enter another person's server, the admin neither. A server's own token identifies the person, with the
groups, and opens the trusted process; it opens nothing else.
"""

import os
import shutil
import sys
from typing import Any

from hub_config import trusted
from hub_config.house import HERE, House
from hub_config.witness import SERVICE as WITNESS

_SERVICE, _ADAPTER = (f"access:services!service={name}" for name in ("ailab", "adapter"))


def services(house: House) -> list[dict[str, Any]]:
    """Return the processes beside the hub: the culler, the check, and the trusted process where it is installed."""
    own = {name: value for name, value in os.environ.items() if name.startswith("AILAB_")}
    run = {"cwd": str(HERE.parent), "environment": own | {"AILAB_ISOLATION": house.isolation}}
    found: list[dict[str, Any]] = [
        {"name": "culler", "command": [sys.executable, "-m", "hub_config.culler"], **run},
        {"name": "check", "api_token": house.token("check")},
        *([{"name": WITNESS, "api_token": house.token(WITNESS)}] if house.has_service else []),
        *([_adapter(house)] if house.adapter_url else []),
        *([trusted.service(house) | run | _by_the_front(house, run)] if house.has_service else []),
    ]
    return [one | {"command": [*_with_the_hub(), *one["command"]]} if "command" in one else one for one in found]


def _by_the_front(house: House, run: dict[str, Any]) -> dict[str, Any]:
    """With TLS inside, the hub's own port wants a certificate, whose key the trusted process's user must not read."""
    asks = {"JUPYTERHUB_API_URL": f"{house.url}/hub/api"} if house.inside == "https" else {}
    return {"environment": run["environment"] | asks}


def _adapter(house: House) -> dict[str, Any]:
    """The adapter's page, for whom its ``[web.hub]`` lets in; the adapter runs by itself."""
    return {"name": "adapter", "url": house.adapter_url, "api_token": house.token("adapter"), "oauth_no_confirm": True}


def _with_the_hub() -> list[str]:
    """What ends a service together with a hub that was killed: a port or a token it kept would stop the next hub's."""
    return ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []


def roles(house: House) -> list[dict[str, Any]]:
    """Return the hub's roles; those of the lab (groups) are enforced by the trusted process.

    The trusted process has none of its own: it asks the hub with the caller's token only.
    """
    more = [*([_SERVICE] if house.has_service else []), *([_ADAPTER] if house.adapter_url else [])]
    own_server = ["users:activity!user", "access:servers!server", "read:users:groups!user"]
    return [
        {"name": "user", "scopes": ["self", *more]},
        {"name": "server", "scopes": [*own_server, *([_SERVICE] if house.has_service else [])]},
        {"name": "lab-admin", "groups": ["admin"],
         "scopes": ["admin-ui", "admin:users", "admin:servers", *([] if house.provided else ["admin:groups"])]},
        {"name": "culling", "services": ["culler"],
         "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"]},
        {"name": "checking", "services": ["check"],
         "scopes": ["admin:users!user=ailab-check", "delete:servers!user=ailab-check"]},
        *([{"name": "witnessing", "services": [WITNESS], "scopes": [_SERVICE]}] if house.has_service else []),
    ]  # fmt: skip
