"""torch's optimisers without torch's compiler, whose import takes longer than many a training here.

An optimiser of torch has the compiler look away from what it does, and imports all of it to say so, where nothing is
ever compiled. What it does stays torch's own: its functions are taken as they are below those wrappers.
"""

from __future__ import annotations

from inspect import unwrap

import torch
from torch.optim import Optimizer


class _Uncompiled(Optimizer):
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)
    zero_grad = unwrap(Optimizer.zero_grad)
    add_param_group = unwrap(Optimizer.add_param_group)


class Adam(_Uncompiled, torch.optim.Adam):
    """Adam."""

    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class AdamW(_Uncompiled, torch.optim.AdamW):
    """Adam whose weights decay by themselves."""

    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))


class SGD(_Uncompiled, torch.optim.SGD):
    """Plain descent, with momentum if told."""

    step = torch.no_grad()(unwrap(torch.optim.SGD.step))
