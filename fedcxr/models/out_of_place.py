"""Networks of which no layer overwrites what another has made: hooks that look at each layer's output need it whole.

Opacus' hooks make a view of every output, which autograd does not let anybody write over. Modules have a switch for
that. Three of torchvision's forward passes write with no module's help: theirs are told again here, without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def out_of_place(network: nn.Module) -> None:
    """Let a network compute the same, and overwrite nothing; its weights and their names stay as they are."""
    for layer in network.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = False  # type: ignore[assignment]
        told_again = TOLD_AGAIN.get(f"{type(layer).__module__}.{type(layer).__name__}")
        if told_again is not None:
            layer.forward = partial(told_again, layer)


def _basic(block: Any, x: Tensor) -> Tensor:
    out = block.relu(block.bn1(block.conv1(x)))
    return _joined(block, block.bn2(block.conv2(out)), x)


def _bottleneck(block: Any, x: Tensor) -> Tensor:
    out = block.relu(block.bn1(block.conv1(x)))
    out = block.relu(block.bn2(block.conv2(out)))
    return _joined(block, block.bn3(block.conv3(out)), x)


def _joined(block: Any, out: Tensor, x: Tensor) -> Tensor:
    identity = x if block.downsample is None else block.downsample(x)
    joined: Tensor = block.relu(out + identity)
    return joined


def _dense(network: Any, x: Tensor) -> Tensor:
    pooled = F.adaptive_avg_pool2d(F.relu(network.features(x)), (1, 1))
    answer: Tensor = network.classifier(torch.flatten(pooled, 1))
    return answer


# By name, so that networks of our own need not wait for torchvision to be imported.
TOLD_AGAIN: Mapping[str, Callable[[Any, Tensor], Tensor]] = {
    "torchvision.models.resnet.BasicBlock": _basic,
    "torchvision.models.resnet.Bottleneck": _bottleneck,
    "torchvision.models.densenet.DenseNet": _dense,
}
