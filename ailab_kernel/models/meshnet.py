"""MeshNet: a stack of dilated 3-D convolutions that keep the image's size (Fedorov et al. 2017, arXiv:1612.00940)."""

from collections.abc import Sequence

import torch
from torch import nn

# In place where torch can: an image of 256 x 256 x 256 has 64 MiB a channel.
ACTIVATIONS = {"relu": lambda: nn.ReLU(inplace=True), "elu": lambda: nn.ELU(inplace=True), "gelu": nn.GELU}


class MeshNet(nn.Module):
    """Convolutions of 3 x 3 x 3 with growing and shrinking dilation, and one of 1 x 1 x 1 that tells the labels apart.

    Parameters
    ----------
    in_channels, out_channels
        Of the image and of the labels, background among them.
    channels
        Of every layer between.
    dilations
        One a layer; padding equals it, so that the size stays.
    activation
        ``relu``, ``elu`` or ``gelu``.
    bias
        Whether the dilated layers have one; the last one has.
    """

    def __init__(self, *, in_channels: int, out_channels: int, channels: int, dilations: Sequence[int],
                 activation: str = "relu", bias: bool = True) -> None:  # fmt: skip
        super().__init__()
        if activation not in ACTIVATIONS:
            msg = f"activation {activation!r} is none of {', '.join(ACTIVATIONS)}"
            raise ValueError(msg)
        sizes = [in_channels, *(channels for _ in dilations)]
        self.layers = nn.ModuleList(
            nn.Conv3d(size, channels, 3, padding=step, dilation=step, bias=bias)
            for size, step in zip(sizes, dilations, strict=False)
        )
        self.activation = ACTIVATIONS[activation]()
        self.last = nn.Conv3d(sizes[-1], out_channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (n, out_channels, slices, rows, columns) of images (n, in_channels, slices, rows, columns)."""
        for layer in self.layers:
            image = self.activation(layer(image))
        return self.last(image)
