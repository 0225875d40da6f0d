"""Everything that speaks for a model in one zip: a page to read, what it rests on, and a program that checks it."""

from importlib import import_module
from typing import Any

_DOORS = {"check_evidence": "checking", "write_evidence": "writing"}
__all__ = ["check_evidence", "write_evidence"]


def __getattr__(name: str) -> Any:
    """Load a module of the room when something in it is first used."""
    if name in _DOORS:
        return getattr(import_module(f"{__name__}.{_DOORS[name]}"), name)
    msg = f"{__name__} has no {name!r}"
    raise AttributeError(msg)
