"""What a hand draws, as values: operations, and the deterministic rasteriser that makes voxels of them."""

from .applying import Change, apply
from .operation import Operation, read_operation
from .patch import Click, Patch, box_of

__all__ = ["Change", "Click", "Operation", "Patch", "apply", "box_of", "read_operation"]
