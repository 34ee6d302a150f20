"""What keeps the numbers between a network's layers in bounds: over a batch, or within each film alone."""

from __future__ import annotations

from typing import Literal

from torch import nn

Norm = Literal["batch", "group"]

CHANNELS = 8  # of a group; Wu and He (ECCV 2018) take 16 in networks eight times as wide as the narrow one


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
        else:
            without_batches(layer)
