"""What the widget's page gets: values for the screen, the volume in small, and a helper that works meanwhile."""

from .helper import Answer, Helper
from .scene import scene_of
from .solid import Solid
from .taking import taken
from .values import screen_values, slice_counts

__all__ = ["Answer", "Helper", "Solid", "scene_of", "screen_values", "slice_counts", "taken"]
