"""What an update tells of a batch by the statistics of its layers, where these are shared (Yin et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedcxr.view import Weights

Moments = tuple[Tensor, Tensor]  # mean and variance of each channel
LEAST = 1e-5  # of a variance, as the layers themselves have it


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of what each layer that normalises over a batch was given in the one step."""

    layers: tuple[nn.BatchNorm2d, ...]
    told: tuple[Moments, ...]

    @classmethod
    def by(cls, network: nn.Module, before: Weights, after: Weights) -> Statistics:
        """A running statistic moves by a known share of its way to the batch's; none, where none is shared."""
        layers = {name: one for name, one in network.named_modules() if isinstance(one, nn.BatchNorm2d)}
        shared = {name: layer for name, layer in layers.items() if f"{name}.running_mean" in after}

        def told(name: str, share: float, device: torch.device) -> Tensor:
            old, new = (np.asarray(weights[name], dtype=np.float64) for weights in (before, after))
            return torch.from_numpy((old + (new - old) / share).astype(np.float32)).to(device)

        def moments(name: str, layer: nn.BatchNorm2d) -> Moments:
            share, device = layer.momentum or 0.1, layer.weight.device
            return told(f"{name}.running_mean", share, device), told(f"{name}.running_var", share, device)

        return cls(tuple(shared.values()), tuple(moments(name, layer) for name, layer in shared.items()))

    @contextmanager
    def followed(self) -> Iterator[list[Moments]]:
        """The same of whatever passes through the network meanwhile."""
        seen: list[Moments] = []

        def look(layer: nn.Module, given: tuple[Any, ...]) -> None:
            seen.append((given[0].mean((0, 2, 3)), given[0].var((0, 2, 3))))

        with ExitStack() as hooks:
            for layer in self.layers:
                hooks.callback(layer.register_forward_pre_hook(look).remove)
            yield seen

    def missed(self, seen: list[Moments]) -> Tensor:
        """By how much, in deviations of each channel."""
        parts = []
        for (mean, variance), (own_mean, own_variance) in zip(self.told, seen, strict=True):
            deviation = variance.clamp(min=LEAST).sqrt()
            own = own_variance.clamp(min=LEAST).sqrt()
            parts.append(((own_mean - mean) / deviation).square().mean() + (own / deviation - 1).square().mean())
        return torch.stack(parts).mean()
