"""A critic of patches: for each region of a picture, how likely it is of a real film."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from torch import Tensor, nn

from fedcxr.models.initialise import build

KERNEL = 4  # pixels
SLOPE = 0.2  # of what is below zero


class PatchCritic(nn.Module):
    """The PatchGAN of Isola et al. 2017: two strided convolutions and one that is not, three at the papers' size.

    Group normalisation, where they have batch normalisation: real and made pictures pass one after the other, and
    statistics of a batch would tell which are which.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(inputs, widths[0], KERNEL, 2, 1), nn.LeakyReLU(SLOPE)]
        for number, (channels, wider) in enumerate(pairwise(widths), start=2):
            stride = 2 if number < len(widths) else 1
            layers += [
                nn.Conv2d(channels, wider, KERNEL, stride, 1, bias=False),
                nn.GroupNorm(math.gcd(8, wider), wider),
                nn.LeakyReLU(SLOPE),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, KERNEL, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:  # (n, inputs, h, w) -> (n, 1, patches, patches), logits
        judged: Tensor = self.layers(pictures)
        return judged


def patches(side: int, layers: int) -> int:
    """How many patches such a critic sees along a side of so many pixels; 0: it is too small."""
    return max(0, (side >> max(1, layers - 1)) - min(2, layers))


def patch_critic(inputs: int, widths: tuple[int, ...], rng: np.random.Generator) -> PatchCritic:
    """A critic ready to be trained."""
    return build(lambda: PatchCritic(inputs, widths), rng)
