"""Acceptance: what is asked of a model, what it stands on, and the verdict."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asking import Asked, ask
    from .basis import leakage_of, reference_of, use_of
    from .judging import Gate, Study, Verdict, alone, check_askable, criteria_text, headline, judge
    from .pictures import forest, margins

_DOORS = {
    "Asked": "asking", "Gate": "judging", "Study": "judging", "Verdict": "judging", "alone": "judging", "ask": "asking",
    "check_askable": "judging", "criteria_text": "judging", "forest": "pictures", "headline": "judging",
    "judge": "judging", "leakage_of": "basis", "margins": "pictures", "reference_of": "basis", "use_of": "basis",
}  # fmt: skip
__all__ = [
    "Asked", "Gate", "Study", "Verdict", "alone", "ask", "check_askable", "criteria_text", "forest", "headline",
    "judge", "leakage_of", "margins", "reference_of", "use_of",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a module of the room when something in it is first used."""
    if name in _DOORS:
        return getattr(import_module(f"{__name__}.{_DOORS[name]}"), name)
    msg = f"{__name__} has no {name!r}"
    raise AttributeError(msg)
