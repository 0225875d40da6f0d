"""Checklists as data, and how they are filled: CLAIM 2024, TRIPOD+AI and a performance summary after FDA's topics."""

from .claim import CLAIM_2024
from .fda import FDA_2025
from .items import Checklist, Filled, Item, told
from .tripod import TRIPOD_AI

__all__ = ["CLAIM_2024", "FDA_2025", "TRIPOD_AI", "Checklist", "Filled", "Item", "told"]
