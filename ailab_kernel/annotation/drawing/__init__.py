"""What a hand draws, as values: operations, and the deterministic rasteriser that makes voxels of them."""

from .applying import Change, apply
from .operation import Operation, read_operation

__all__ = ["Change", "Operation", "apply", "read_operation"]
