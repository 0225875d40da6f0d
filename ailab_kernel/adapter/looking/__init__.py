"""What is to be done: every study that changed is judged by the rules, every request for inference becomes work."""

from .caution import Caution
from .counting import Listed
from .dispatcher import Dispatcher
from .errands import Errands

__all__ = ["Caution", "Dispatcher", "Errands", "Listed"]
