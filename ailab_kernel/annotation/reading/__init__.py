"""How a case is read by people: who may move it where, how long it took, and what several readings have in common."""

from .consensus import HOW, consensus
from .pace import active_seconds
from .rules import KIND, NEXT, STEP, Roster, Step, check, key_of, of_series, person, pseudonym, state_of

__all__ = [
    "HOW", "KIND", "NEXT", "STEP", "Roster", "Step", "active_seconds", "check", "consensus", "key_of", "of_series",
    "person", "pseudonym", "state_of",
]  # fmt: skip
