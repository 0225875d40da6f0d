"""The adapter's door on the web: STOW-RS, requests for inference, metrics and a live page; open where the plan says so.

Its libraries come with ``ailab-kernel[hub]``; whoever has no such door needs none of them.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import MissingExtra

if TYPE_CHECKING:
    from .desk import Desk
    from .hub import HubPeople
    from .serving import WebServer

_DOORS = {"Desk": "desk", "HubPeople": "hub", "WebServer": "serving"}
__all__ = ["Desk", "HubPeople", "WebServer"]


def __getattr__(name: str) -> Any:
    """Load a module of the room when something in it is first used."""
    if name not in _DOORS:
        msg = f"{__name__} has no {name!r}"
        raise AttributeError(msg)
    missing = [library for library in ("fastapi", "uvicorn") if find_spec(library) is None]
    if missing:
        msg = f"[web] in adapter.toml needs {', '.join(missing)}; pip install 'ailab-kernel[hub]'"
        raise MissingExtra(msg)
    return getattr(import_module(f"{__name__}.{_DOORS[name]}"), name)
