"""The trusted process behind the hub: roles, catalog, keys, pseudonyms, aliases, audit, and a proxy to the archive.

``python -m ailab_kernel.service`` starts it. A user's kernel runs any code, so it holds a token and nothing else;
what it may do is decided here, by a table (`roles.MAY`), for whoever the hub says the token belongs to.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app
    from .guard import Desk, open_desk
    from .identity import Caller, HubCallers, TokenFile
    from .roles import MAY, Act

_DOORS = {
    "Act": "roles", "Caller": "identity", "Desk": "guard", "HubCallers": "identity", "MAY": "roles",
    "TokenFile": "identity", "create_app": "app", "open_desk": "guard",
}  # fmt: skip
PREFIX = "/services/ailab"                     # where the hub's proxy puts a service named ailab
__all__ = ["MAY", "PREFIX", "Act", "Caller", "Desk", "HubCallers", "TokenFile", "create_app", "open_desk"]


def __getattr__(name: str) -> Any:
    """Load a module of the room when something in it is first used."""
    if name in _DOORS:
        return getattr(import_module(f"{__name__}.{_DOORS[name]}"), name)
    msg = f"{__name__} has no {name!r}"
    raise AttributeError(msg)
