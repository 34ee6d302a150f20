"""What a public code shows of the code behind it: how likely each number is true, and what the code should be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.models.initialise import build

LARGEST = 127

Usual = npt.NDArray[np.float32]  # (c, h, w), of films in general


class SupportNet(nn.Module):
    """Reads a public code, cell by cell with its neighbours, and the histogram of all its values."""

    usual_support: Tensor
    usual_code: Tensor

    def __init__(self, public: int, channels: int, width: int, *, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place  # otherwise the values were shuffled and belong to no channel
        self.first = nn.Conv2d(2 * public, width, 3, padding=1)
        self.whole = nn.Linear(LARGEST, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.support = nn.Conv2d(width, channels, 1)  # what it adds to the usual
        self.guess = nn.Conv2d(width, channels, 1)
        self.register_buffer("usual_support", None)
        self.register_buffer("usual_code", None)
        # A weight for each of three curves of each channel's value: what a likelihood ratio can say.
        self.weigh = nn.Conv2d(3 * channels, channels, 1, groups=channels)

    def forward(self, public: Tensor, expanded: Tensor) -> tuple[Tensor, Tensor]:
        """Public values and what they stand for, (n, p, h, w) -> logits of the support and a code, (n, c, h, w)."""
        size = public.abs() / LARGEST
        seen = torch.cat([public.sign() * size.sqrt(), torch.log1p(public.abs()) / 5], 1)
        hidden = F.relu(self.first(seen) + self.whole(_histogram(public))[:, :, None, None])
        hidden = hidden + F.relu(self.second(hidden))
        logits, guess = self.support(hidden) + self.usual_support, 0.1 * self.guess(hidden)
        if self.in_place:
            here = torch.stack([public / LARGEST, size, size.sqrt()], 2).flatten(1, 2)
            logits = logits + self.weigh(here)
            logits = logits.masked_fill(public == 0, -20.0)
            return logits, guess + torch.sigmoid(logits) * expanded
        return logits, guess + self.usual_code


def support_net(
    public: int,
    width: int,
    usual: tuple[Usual, Usual],  # log odds of the support, and the code
    rng: np.random.Generator,
    *,
    in_place: bool,
) -> SupportNet:
    """A network ready to be trained: at first it says what films have in common."""
    usual_support, usual_code = usual
    network = build(lambda: SupportNet(public, len(usual_code), width, in_place=in_place), rng)
    for layer in (network.support, network.guess, network.weigh):
        nn.init.zeros_(layer.weight)
    network.usual_support = torch.from_numpy(usual_support.copy())
    network.usual_code = torch.from_numpy(usual_code.copy())
    return network


def _histogram(public: Tensor) -> Tensor:  # (n, 127), logarithms of shares
    flat = public.abs().flatten(1).round().long()
    counts = torch.zeros(len(public), LARGEST + 1, device=public.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=counts.dtype))
    return torch.log1p(counts[:, 1:]) / 5 - 0.5
