"""The record of a validation: what a chair, a statistician and a regulator ask for, filled from what is known."""

from .beside import Beside, compare_reports
from .card import card_of
from .checklists import CLAIM_2024, FDA_2025, TRIPOD_AI, Checklist, Filled, Item
from .facts import facts_of, leakage_said
from .studied import Studied, known_metadata
from .tables import cases_table, glance, lineage_table

__all__ = [
    "CLAIM_2024", "FDA_2025", "TRIPOD_AI", "Beside", "Checklist", "Filled", "Item", "Studied", "card_of", "cases_table",
    "compare_reports", "facts_of", "glance", "known_metadata", "leakage_said", "lineage_table",
]  # fmt: skip
