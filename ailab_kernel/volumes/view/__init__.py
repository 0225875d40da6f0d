"""Volumes and label maps to look at: a picture that stays in a notebook, and viewers on request."""

from .legend import label_colors
from .opening import View, open_view
from .picture import as_html, pictures, window_of

__all__ = ["View", "as_html", "label_colors", "open_view", "pictures", "window_of"]
