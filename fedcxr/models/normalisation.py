"""What keeps the numbers between a network's layers in bounds: over a batch, or within each film alone.

A film that is normalised by itself tells nothing of the others in its batch, which differential privacy asks for and
which spares hospitals with different films the averaging of statistics. It also teaches more slowly; convolutions of
standardised weights make up for most of that (Qiao et al., 2019; De et al., 2022, with differential privacy).
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

Norm = Literal["batch", "group"]

CHANNELS = 8  # of a group; Wu and He (ECCV 2018) take 16 in networks eight times as wide as the narrow one


class StandardisedConvolution(nn.Conv2d):
    """A convolution whose weights, filter by filter, are seen with mean 0 and the length that ReLU keeps."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        length = weight.square().sum((1, 2, 3), keepdim=True).add(1e-4).sqrt()
        seen: Tensor = self._conv_forward(x, weight / length * math.sqrt(2.0), self.bias)
        return seen


def convolution(norm: Norm, channels: int, wider: int, kernel: int, stride: int, padding: int) -> nn.Conv2d:
    """A convolution without a bias, in front of a layer that normalises."""
    made = nn.Conv2d if norm == "batch" else StandardisedConvolution
    return made(channels, wider, kernel, stride, padding, bias=False)


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """A layer that normalises so many channels."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(max(channels // CHANNELS, 1) if channels % CHANNELS == 0 else 1, channels)


def without_batches(network: nn.Module) -> None:
    """Let every film be normalised by itself in a network that somebody else has built for batches."""
    for name, layer in network.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            setattr(network, name, norm_layer("group", layer.num_features))
        elif type(layer) is nn.Conv2d:
            setattr(network, name, _standardised(layer))
        else:
            without_batches(layer)


def _standardised(layer: nn.Conv2d) -> StandardisedConvolution:
    return StandardisedConvolution(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type]  # of two numbers, as PyTorch keeps it
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        layer.groups,
        bias=layer.bias is not None,
    )
