"""Gradients of single films, by Opacus.

Opacus 1.6 reads a convolution's films as if they lay in memory channel after channel. Of films with their channels
last, which is how networks are faster on a CPU, it finds other gradients, and says nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fedcxr.errors import ConfigError


def per_film(network: nn.Module) -> Any:
    """The network with hooks that leave each film's gradient, (n, ...), as `grad_sample` of each of its weights.

    It must overwrite none of its layers' outputs. Films are to be given with their channels first, and of losses the
    sum is to be differentiated.
    """
    try:
        from opacus.grad_sample import GradSampleModule
    except ImportError as error:
        raise ConfigError("dp_sgd works with Opacus, which is missing", do=f"pip install opacus ({error})") from None
    network.to(memory_format=torch.contiguous_format)
    return GradSampleModule(network, loss_reduction="sum")
