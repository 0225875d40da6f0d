"""One task each: labels, what the network sees, the network and its training; written in ``notebooks/library``."""

from .metadata import bundle_metadata
from .recipe import RECIPES, Augment, FineTune, Keep, Recipe, find, prepare, truth_on_grid
from .tidy import tidy

__version__ = "1"  # nbdev-export writes one at the top where it finds none

__all__ = [
    "RECIPES",
    "Augment",
    "FineTune",
    "Keep",
    "Recipe",
    "bundle_metadata",
    "find",
    "prepare",
    "tidy",
    "truth_on_grid",
]
