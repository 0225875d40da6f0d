"""Models from elsewhere: every layout that is known becomes a bundle, and says what could not be checked."""

from .layouts import Imported, read_model

__all__ = ["Imported", "read_model"]
