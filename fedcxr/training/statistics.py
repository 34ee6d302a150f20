"""Means and variances between a network's layers, taken anew from the films at hand.

Where hospitals keep those of their own films to themselves, whoever uses their network takes those of the films that
it is used on (Li et al., AdaBN, 2018; Andreux et al., SiloBN, 2020).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedcxr.training import to_tensor
from fedcxr.training.compute import Compute


@torch.no_grad()
def estimate(network: nn.Module, films: npt.NDArray[np.uint8], compute: Compute, batch: int = 256) -> None:
    """Let the network know the statistics of these films, batch by batch, and nothing else of them."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # PyTorch's word for the mean over all batches
    network.train()
    with compute.autocast():
        for start in range(0, len(films), batch):
            network(to_tensor(films[start : start + batch], compute))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()
