"""What is done to an object: actions by attribute, identifying values, the treatment itself, what is said of it."""

from .actions import actions_of
from .identity import cleaner_of, identifying
from .marks import mark
from .work import Work

__all__ = ["Work", "actions_of", "cleaner_of", "identifying", "mark"]
