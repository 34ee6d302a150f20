"""A film whose pixels are moved by a smooth field that a network reads off it."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.models import unet
from fedcxr.models.initialise import build

PAPER_SIZE = 256  # pixels: what the paper's kernel and any displacement in pixels refer to
FURTHEST = 2.0  # half sides: from one edge of a film to the other; what would come from further comes from the edge
_RADIUS, _SIGMA = 4.0, 2.0  # of the smoothing kernel, in pixels of a film of that size


class Flow(nn.Module):
    """Where each pixel comes from: at most `reach` away from its place, in units of half the film's side.

    The field alone is smoothed. Smoothing the grid as a whole, with zeros around it, would draw the outer pixels
    inwards and leave a stamp on every film, even where nothing moves.
    """

    def __init__(self, widths: tuple[int, ...], stride: int, reach: float, interpolated: bool = False) -> None:
        super().__init__()
        self.generator = unet.UNet(
            unet.UNetDesign(widths, outputs=2, activation="tanh", stride=stride, interpolated=interpolated)
        )
        self.reach = reach

    def displacement(self, films: Tensor) -> Tensor:  # (n, 1, h, w) -> (n, 2, h, w) of x and y
        field = cast(Tensor, self.generator(films)).float()
        return -self.reach * smooth(field)

    def forward(self, films: Tensor) -> Tensor:  # (n, 1, h, w) in [0, 1] -> the same
        return moved(films, self.displacement(films))


def flow(
    widths: tuple[int, ...], stride: int, reach: float, rng: np.random.Generator, interpolated: bool = False
) -> Flow:
    """A flow ready to be trained: it moves nothing yet, which is what pre-training as an autoencoder aims at."""
    network = build(lambda: Flow(widths, stride, reach, interpolated), rng)
    with torch.no_grad():
        network.generator.head.weight.zero_()
    return network


def smooth(field: Tensor) -> Tensor:  # (n, c, h, w)
    """A Gaussian mean, the kernel's width being the same share of films of every size; edges are repeated."""
    *_, channels, height, width = field.shape
    for axis, side in ((2, height), (3, width)):
        kernel = _kernel(side, field)
        radius = len(kernel) // 2
        across = (radius, radius, 0, 0) if axis == 3 else (0, 0, radius, radius)
        shape = (1, 1, 1, -1) if axis == 3 else (1, 1, -1, 1)
        weights = kernel.reshape(shape).repeat(channels, 1, 1, 1)
        field = F.conv2d(F.pad(field, across, mode="replicate"), weights, groups=channels)
    return field


def moved(films: Tensor, displacement: Tensor) -> Tensor:
    """Each pixel from its place plus a displacement (n, 2, h, w) in half sides; nothing comes from beyond the edge.

    A place that is no number gives a pixel that is none. It never reaches the sampling: that takes such a place for a
    corner, and its gradient would be written wherever in memory the place happens to point to.
    """
    known = displacement.isfinite().all(1, keepdim=True)
    with torch.autocast(films.device.type, enabled=False):  # bf16 knows places of 256 pixels to one pixel only
        bounded = torch.where(known, displacement.float(), 0.0).clamp(-FURTHEST, FURTHEST)
        grid = _places(films) + bounded.permute(0, 2, 3, 1)
        sampled = F.grid_sample(films.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.where(known, sampled, torch.nan)


def _places(films: Tensor) -> Tensor:  # (1, h, w, 2)
    """The centre of every pixel in [-1, 1], x before y."""
    height, width = films.shape[-2:]
    y, x = (
        (2 * torch.arange(side, device=films.device, dtype=torch.float32) + 1) / side - 1 for side in (height, width)
    )
    return torch.stack((x[None, :].expand(height, width), y[:, None].expand(height, width)), dim=-1)[None]


def _kernel(side: int, like: Tensor) -> Tensor:
    radius = max(1, round(_RADIUS * side / PAPER_SIZE))
    offsets = torch.arange(-radius, radius + 1, device=like.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / (_SIGMA * side / PAPER_SIZE)).square())
    return weights / weights.sum()
