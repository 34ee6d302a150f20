"""A V-Net in two dimensions: films in, pictures of the same size out, with a shortcut around every level."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.models.initialise import build

KERNEL = 5  # pixels, as published
MOST_CONVOLUTIONS = 3  # of a level: the first has one, the second two, all others three


@dataclass(frozen=True)
class VNetDesign:
    """How wide and deep the network is."""

    widths: tuple[int, ...] = (16, 32, 64, 128, 256)  # channels from the full size downwards, which halves each time
    inputs: int = 1
    stride: int = 1  # pixels of a cell, which enter and leave as channels: 2 costs a quarter


class VNet(nn.Module):
    """Milletari et al. 2016, with films for volumes: each level learns what to add to what it was given.

    Strided convolutions instead of pooling, PReLU, and kernels of five pixels. Batch normalisation stands behind every
    convolution, which the paper does without; and the last layer says a grey level, not whether there is an organ.
    """

    def __init__(self, design: VNetDesign) -> None:
        super().__init__()
        narrow, *_ = widths = design.widths
        self.stride = design.stride
        self.multiple = design.stride * 2 ** (len(widths) - 1)
        pixels = design.stride**2
        depths = [min(level, MOST_CONVOLUTIONS) for level in range(1, len(widths) + 1)]
        self.enter = nn.Conv2d(design.inputs * pixels, narrow, 1)
        self.levels = nn.ModuleList(_Level(width, width, depth) for width, depth in zip(widths, depths, strict=True))
        self.down = nn.ModuleList(_strided(above, below) for above, below in pairwise(widths))
        ways_up = [(below, above) for above, below in pairwise(widths)][::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(below, above, 2, 2) for below, above in ways_up)
        self.merge = nn.ModuleList(
            _Level(2 * above, above, depth) for (_, above), depth in zip(ways_up, depths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(narrow, pixels, 1)

    def forward(self, films: Tensor) -> Tensor:  # (n, inputs, h, w) -> (n, 1, h, w)
        height, width = films.shape[-2:]
        x = F.pad(films, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        x = self.levels[0](self.enter(F.pixel_unshuffle(x, self.stride)))
        across = []
        for down, level in zip(self.down, self.levels[1:], strict=True):
            across.append(x)
            x = level(down(x))
        for up, merge in zip(self.up, self.merge, strict=True):
            above = up(x)
            x = merge(torch.cat((across.pop(), above), dim=1), above)
        with torch.autocast(x.device.type, enabled=False):  # bf16 would leave 8 bits for a grey value
            return F.pixel_shuffle(self.head(x.float()), self.stride)[..., :height, :width]


def vnet(design: VNetDesign, rng: np.random.Generator) -> VNet:
    """A V-Net ready to be trained."""
    return build(lambda: VNet(design), rng)


class _Level(nn.Module):
    """Convolutions with a shortcut around all of them."""

    def __init__(self, channels: int, width: int, convolutions: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(convolutions):
            layers += [
                nn.Conv2d(width if number else channels, width, KERNEL, padding=KERNEL // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.PReLU(width) if number < convolutions - 1 else nn.Identity(),
            ]
        self.layers = nn.Sequential(*layers)
        self.activation = nn.PReLU(width)

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        added: Tensor = self.layers(x) + (x if shortcut is None else shortcut)
        activated: Tensor = self.activation(added)
        return activated


def _strided(above: int, below: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(above, below, 2, 2, bias=False), nn.BatchNorm2d(below), nn.PReLU(below))
