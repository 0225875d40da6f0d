"""What every reader of a layout gives: a network, its numbers, and what it knows of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Converted:
    """A model out of its layout, before it is a bundle.

    Attributes
    ----------
    network
        MONAI ``network_def``.
    data
        Bytes of the weights (safetensors), or of the program.
    metadata
        What the source says of itself.
    unchecked
        What cannot be known from this source, a line each.
    """

    network: Mapping[str, Any]
    data: bytes
    metadata: Mapping[str, Any] = field(default_factory=dict)
    unchecked: tuple[str, ...] = ()
