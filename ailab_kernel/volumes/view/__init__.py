"""Volumes and label maps to look at: a picture that stays in a notebook, and viewers on request."""

from .opening import View, open_view
from .picture import as_html, window_of

__all__ = ["View", "as_html", "open_view", "window_of"]
