"""Who may do what in the hub, and which services run beside it: nobody holds more than the work needs.

Nobody may enter another person's server, the admin neither. A server's own token identifies the person, with the
groups, and opens the trusted process; it opens nothing else.
"""

import os
import sys
from typing import Any

from hub_config import trusted
from hub_config.house import HERE, House

_SERVICE = "access:services!service=ailab"


def services(house: House) -> list[dict[str, Any]]:
    """Return the processes beside the hub: the culler, the check, and the trusted process where it is installed."""
    own = {name: value for name, value in os.environ.items() if name.startswith("AILAB_")}
    run = {"cwd": str(HERE.parent), "environment": own | {"AILAB_ISOLATION": house.isolation}}
    return [
        {"name": "culler", "command": [sys.executable, "-m", "hub_config.culler"], **run},
        {"name": "check", "api_token": house.token("check")},
        *([trusted.service(house) | run] if house.has_service else []),
    ]


def roles(house: House) -> list[dict[str, Any]]:
    """Return the hub's roles; those of the lab (groups) are enforced by the trusted process."""
    more = [_SERVICE] if house.has_service else []
    own_server = ["users:activity!user", "access:servers!server", "read:users:groups!user"]
    found: list[dict[str, Any]] = [
        {"name": "user", "scopes": ["self", *more]},
        {"name": "server", "scopes": [*own_server, *more]},
        {"name": "lab-admin", "groups": ["admin"],
         "scopes": ["admin-ui", "admin:users", "admin:servers", *([] if house.provided else ["admin:groups"])]},
        {"name": "culling", "services": ["culler"],
         "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"]},
        {"name": "checking", "services": ["check"],
         "scopes": ["admin:users!user=ailab-check", "delete:servers!user=ailab-check"]},
    ]  # fmt: skip
    if house.has_service:
        found.append({"name": "serving", "services": ["ailab"], "scopes": ["read:users:name", "read:users:groups"]})
    return found
