"""What helps a reader: a model's proposals."""

from .proposals import READERS, annotate_case, labels_of, reference_mask

__all__ = ["READERS", "annotate_case", "labels_of", "reference_mask"]
