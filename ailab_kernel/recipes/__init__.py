__version__ = "0.0.1"
"""One task each: labels, what the network sees, the network and its training; written in ``notebooks/library``."""

from .recipe import RECIPES, Augment, FineTune, Keep, Recipe, find, prepare, truth_on_grid
from .tidy import tidy

__all__ = ["RECIPES", "Augment", "FineTune", "Keep", "Recipe", "find", "prepare", "tidy", "truth_on_grid"]
