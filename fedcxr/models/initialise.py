"""Build a network whose weights depend on a given generator only, whatever other threads draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
TRANSFORMER = "torchvision.models.vision_transformer"  # by name: our own networks need not wait for torchvision
PLACES = 0.02  # standard deviation of what tells a transformer's patches where they are (Dosovitskiy et al. 2021)
PRELU = 0.25  # the slope below zero that training begins with (He et al. 2015)
_Norm = nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm


def build(make: Callable[[], Network], rng: np.random.Generator) -> Network:
    """The network that `make` describes, on the CPU, initialised from `rng` layer by layer.

    PyTorch's constructors draw from one generator shared by the whole process. On the meta device they draw
    nothing, so two threads can build at the same time and the global state stays as it was.
    """
    network = _empty(make)
    for name, layer in network.named_modules():
        _initialise(layer, name, rng)
    return network


def rebuild(make: Callable[[], Network], weights: Mapping[str, npt.NDArray[np.generic]]) -> Network:
    """The network that `make` describes, with what an equal one has learnt, and nothing drawn in vain.

    Weights may lack statistics of batches: then they are those of no films.
    """
    network = _empty(make)
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.reset_running_stats()
    arrays = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    missing, strange = network.load_state_dict(arrays, strict=False)
    learnt = {name for name, _ in network.named_parameters()}
    if strange or learnt.intersection(missing):
        raise ValueError(f"weights of another network: {', '.join((*strange, *sorted(learnt.intersection(missing))))}")
    return network


def _empty(make: Callable[[], Network]) -> Network:
    """Its memory holds whatever was there before."""
    with torch.device("meta"):
        network = make()
    return network.to_empty(device="cpu")


@torch.no_grad()
def _initialise(layer: nn.Module, name: str, rng: np.random.Generator) -> None:
    match layer:
        case nn.Conv2d() | nn.ConvTranspose2d():
            fan_out = layer.weight[0, 0].numel() * layer.out_channels // layer.groups
            _normal(layer.weight, math.sqrt(2.0 / fan_out), rng)  # He et al. 2015, for ReLU
            _zero(layer.bias)
        case nn.Linear():
            _normal(layer.weight, math.sqrt(1.0 / layer.in_features), rng)
            _zero(layer.bias)
        case nn.modules.batchnorm._BatchNorm() | nn.GroupNorm() | nn.LayerNorm():
            _reset_norm(layer)
        case nn.PReLU():
            layer.weight.fill_(PRELU)
        case nn.MultiheadAttention():
            _normal(layer.in_proj_weight, math.sqrt(1.0 / layer.embed_dim), rng)
            _zero(layer.in_proj_bias)
        case _ if type(layer).__module__ == TRANSFORMER and type(layer).__name__ == "VisionTransformer":
            _zero(layer.class_token)  # type: ignore[arg-type]
        case _ if type(layer).__module__ == TRANSFORMER and type(layer).__name__ == "Encoder":
            _normal(layer.pos_embedding, PLACES, rng)  # type: ignore[arg-type]
        case _ if any(True for _ in layer.parameters(recurse=False)) or any(True for _ in layer.buffers(recurse=False)):
            # Memory from to_empty holds whatever was there before: a layer without a rule must not pass.
            raise TypeError(f"no rule to initialise {type(layer).__name__} ({name or 'the network itself'})")


def _reset_norm(layer: _Norm) -> None:
    if layer.weight is not None:
        layer.weight.fill_(1.0)
    _zero(layer.bias)
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        layer.reset_running_stats()


def _normal(weight: Tensor, deviation: float, rng: np.random.Generator) -> None:
    drawn = rng.standard_normal(tuple(weight.shape), dtype=np.float32)
    weight.copy_(torch.from_numpy(drawn).mul_(deviation))


def _zero(weight: Tensor | None) -> None:
    if weight is not None:
        weight.zero_()
