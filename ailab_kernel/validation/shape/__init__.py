"""What the figures of a mask are made of: its box, its surface elements, its rim and its skeleton."""

from .boxes import bounding_box, common_box, offsets_within
from .rim import boundary_iou, rim
from .skeleton import cl_dice, skeleton
from .surfels import element_areas, neighbour_codes

__all__ = [
    "boundary_iou", "bounding_box", "cl_dice", "common_box", "element_areas", "neighbour_codes", "offsets_within",
    "rim", "skeleton",
]  # fmt: skip
