"""Optimisers that do what torch's do, number for number, and import no compiler for it."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch

from fedcxr.training import optimisers

ALONE = """
import sys, torch
from torch import nn
from fedcxr.training import Plan, fit
from fedcxr.training.compute import Compute
network = nn.Linear(3, 1)
for optimiser in ("adamw", "sgd"):
    plan = Plan(2, 0.1, optimiser=optimiser)
    fit(network, lambda step: network(torch.ones(2, 3)).mean(), plan, Compute.choose("cpu", "fp32"))
print(*(name for name in sys.modules if name.startswith("torch._dynamo")))
"""


def learnt(optimiser: type[torch.optim.Optimizer], **settings: Any) -> list[torch.Tensor]:
    """Weights after some steps, in the middle of which all that the optimiser remembers is taken from a copy."""
    rng = torch.Generator().manual_seed(0)
    weight, bias = (torch.randn(size, generator=rng).requires_grad_() for size in ((5, 3), (3,)))
    groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [bias]}]
    at_work: Any = optimiser
    at_work = at_work(groups, lr=0.1, **settings)
    for step in range(20):
        at_work.zero_grad()
        (torch.randn((7, 5), generator=rng) @ weight + bias).square().mean().backward()
        at_work.step()
        if step == 9:
            at_work.load_state_dict(copy.deepcopy(at_work.state_dict()))
    return [weight.detach(), bias.detach()]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Adam", {}),
        ("Adam", {"fused": True}),
        ("AdamW", {"fused": True}),
        ("SGD", {"momentum": 0.9, "fused": True}),
    ],
)
def test_a_step_is_torchs_own(name: str, settings: dict[str, Any]) -> None:
    ours, theirs = (learnt(getattr(where, name), **settings) for where in (optimisers, torch.optim))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_learning_imports_no_compiler() -> None:
    ran = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
