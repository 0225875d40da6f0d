"""Run again what was run before, from its record: identical, or how much differs and what is the likely cause."""

from importlib import import_module
from typing import Any

_DOORS = {"Replay": "outcome", "replay": "documents", "replay_seg": "segs", "replay_elsewhere": "rebuilding",
          "run_again": "again"}  # fmt: skip
__all__ = ["Replay", "replay", "replay_elsewhere", "replay_seg", "run_again"]


def __getattr__(name: str) -> Any:
    """Load a module of the room when something in it is first used."""
    if name in _DOORS:
        return getattr(import_module(f"{__name__}.{_DOORS[name]}"), name)
    msg = f"{__name__} has no {name!r}"
    raise AttributeError(msg)
