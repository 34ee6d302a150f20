"""A U-Net: films in, pictures of the same size out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.models.initialise import build


@dataclass(frozen=True)
class UNetDesign:
    """How wide and deep the network is, and what its outputs look like."""

    widths: tuple[int, ...] = (32, 64, 128, 256, 512)  # channels from the full size downwards, which halves each time
    outputs: int = 1
    activation: Literal["none", "sigmoid", "tanh"] = "none"  # of the outputs
    slope: float = 0.0  # of what is below zero inside the network: 0 is ReLU, more LeakyReLU
    normalisation: Literal["batch", "group", "none"] = "batch"  # group: never mixes films, as private training demands
    inputs: int = 1
    stride: int = 1  # pixels of a cell, which enter and leave as channels: 2 costs a quarter
    interpolated: bool = (
        False  # one output for each cell, and what is between two cells' centres is between their outputs
    )


class UNet(nn.Module):
    """Ronneberger et al. 2015 with padded convolutions: each level is handed across to the level it came from.

    Any size will do: a film is padded to a multiple of 2^(levels - 1) by repeating its edge, and the outputs
    are cropped back.
    """

    def __init__(self, design: UNetDesign) -> None:
        super().__init__()
        narrow, *_ = widths = design.widths
        self.activation = design.activation
        self.stride = design.stride
        self.multiple = design.stride * 2 ** (len(widths) - 1)
        pixels = design.stride**2
        self.down = nn.ModuleList(_level(i, o, design) for i, o in pairwise((design.inputs * pixels, *widths)))
        ways_up = [(below, above) for above, below in pairwise(widths)][::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(below, above, 2, 2) for below, above in ways_up)
        self.merge = nn.ModuleList(_level(2 * above, above, design) for _, above in ways_up)
        self.interpolated = design.interpolated
        self.head = nn.Conv2d(narrow, design.outputs * (1 if design.interpolated else pixels), 1)

    def forward(self, films: Tensor) -> Tensor:  # (n, inputs, h, w) -> (n, outputs, h, w)
        height, width = films.shape[-2:]
        x = F.pad(films, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        x = F.pixel_unshuffle(x, self.stride)
        across: list[Tensor] = []
        for level in self.down:
            x = level(F.max_pool2d(x, 2) if across else x)
            across.append(x)
        across.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat((across.pop(), up(x)), dim=1))
        with torch.autocast(x.device.type, enabled=False):  # bf16 would leave 8 bits for a displacement or a grey value
            pictures = self._full_size(self.head(x.float()))[..., :height, :width]
        match self.activation:
            case "sigmoid":
                return pictures.sigmoid()
            case "tanh":
                return pictures.tanh()
            case _:
                return pictures

    def _full_size(self, cells: Tensor) -> Tensor:
        if self.interpolated:
            return F.interpolate(cells, scale_factor=self.stride, mode="bilinear", align_corners=False)
        return F.pixel_shuffle(cells, self.stride)


def unet(design: UNetDesign, rng: np.random.Generator) -> UNet:
    """A U-Net ready to be trained."""
    network = build(lambda: UNet(design), rng)
    with torch.no_grad():  # the rule for hidden layers would start a sigmoid or tanh saturated
        network.head.weight.mul_(math.sqrt(network.head.out_channels / (2 * network.head.in_channels)))
    return network


def _level(channels: int, wider: int, design: UNetDesign) -> nn.Sequential:
    return nn.Sequential(*_convolution(channels, wider, design), *_convolution(wider, wider, design))


def _convolution(channels: int, wider: int, design: UNetDesign) -> list[nn.Module]:
    activation = nn.LeakyReLU(design.slope, inplace=True) if design.slope else nn.ReLU(inplace=True)
    match design.normalisation:
        case "batch":
            return [nn.Conv2d(channels, wider, 3, padding=1, bias=False), nn.BatchNorm2d(wider), activation]
        case "group":
            norm = nn.GroupNorm(math.gcd(8, wider), wider)
            return [nn.Conv2d(channels, wider, 3, padding=1, bias=False), norm, activation]
        case _:
            return [nn.Conv2d(channels, wider, 3, padding=1), activation]
