"""Where a person looks at what the engine masked or doubts: the desk, and the page in a notebook's cell that shows it.

It shows originals: it runs where they may be seen (docs/privacy.md).
"""

from .desk import Desk, Originals

__all__ = ["Desk", "Originals"]
