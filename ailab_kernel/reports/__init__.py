"""Notebooks that become documents: templates with typed parameters, runs that resume, pages, replays."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .index import write_index
    from .library import Template, check, template, templates
    from .notebook import table, this_run
    from .recording import recorded
    from .replaying import Replay, replay, run_again
    from .report import Report, get_report, list_reports, verify
    from .run import run_report

_DOORS = {
    "Replay": "replaying", "Report": "report", "Template": "library", "check": "library", "get_report": "report",
    "list_reports": "report", "recorded": "recording", "replay": "replaying",
    "run_again": "replaying", "run_report": "run", "table": "notebook", "template": "library", "templates": "library",
    "this_run": "notebook", "verify": "report", "write_index": "index",
}  # fmt: skip
__all__ = [
    "Replay", "Report", "Template", "check", "get_report", "list_reports", "recorded", "replay",
    "run_again", "run_report", "table", "template", "templates", "this_run", "verify", "write_index",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a module of the room when something in it is first used."""
    if name in _DOORS:
        return getattr(import_module(f"{__name__}.{_DOORS[name]}"), name)
    msg = f"{__name__} has no {name!r}"
    raise AttributeError(msg)
