"""Pictures of an object: its frames decoded and written, text read in them, boxes filled."""

from .frames import Frames
from .masking import mask
from .reader import Reader

__all__ = ["Frames", "Reader", "mask"]
