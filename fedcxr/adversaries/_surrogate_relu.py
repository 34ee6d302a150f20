"""A rectifier whose kinks can be felt: what makes gradients of networks with ReLU invertible at all.

A gradient holds, for every place of every layer, whether that was switched on. How films must change so that a place is
switched is told by no derivative of a ReLU's derivative, which is 0 wherever it is defined: whoever descends by it is
blind to most of what a gradient says, and stays next to where it began. Here the switch itself has a derivative, that
of a sigmoid around it, as spiking networks are trained (Neftci et al., 2019); all values are those of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

SHARPNESS = 4.0  # of the sigmoid; what comes before a ReLU has a deviation of about 1


class SurrogateRelu(TorchFunctionMode):
    """While this is entered, every ReLU is such a one."""

    def __torch_function__(
        self, called: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if called in (F.relu, torch.relu, torch.relu_):
            return _Rectified.apply(args[0])
        return called(*args, **(kwargs or {}))


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        switch: Tensor = _Switch.apply(x)
        return gradient * switch


class _Switch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        soft = torch.sigmoid(SHARPNESS * x)
        return gradient * SHARPNESS * soft * (1 - soft)
