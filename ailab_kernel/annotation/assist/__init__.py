"""What helps a reader: a model's proposals, answers to clicks, and the order in which cases are worth reading."""

from .model import model_refiner, refiner_for
from .order import order, scores_of, worklist
from .proposals import READERS, annotate_case, labels_of, reference_mask
from .random_walk import fallback
from .refine import Hint, Refiner

__all__ = [
    "READERS",
    "Hint",
    "Refiner",
    "annotate_case",
    "fallback",
    "labels_of",
    "model_refiner",
    "order",
    "reference_mask",
    "refiner_for",
    "scores_of",
    "worklist",
]
