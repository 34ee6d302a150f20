"""What the difference that one step has made to the weights tells of the gradient behind it.

Plain descent tells the gradient itself, up to rounding. AdamW's first step, g / (|g| + 1e-8), is nearly its sign, and
what is missing from 1 tells its size: 32 bits keep that apart up to a size that differs from weight to weight, the
knee. What lies beyond is told as no more than "large". Both are compared after the same bend, g / (1 + |g| / knee),
which leaves small gradients as they are and never quite stops growing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcxr.training.one_step import OneStep
from fedcxr.view import Array, Weights

Floats = npt.NDArray[np.float64]

EPSILON = 1e-8  # AdamW's, in PyTorch
ROUNDED = 4e-7  # what is lost in AdamW's own roots and quotients, of a step of 1


@dataclass(frozen=True)
class Told:
    """The gradient as far as an update tells it, weight by weight, bent."""

    gradients: tuple[Tensor, ...]
    knees: tuple[Tensor | None, ...]  # None: nothing is bent

    @classmethod
    def by(cls, step: OneStep, before: Weights, after: Weights) -> Told:
        """From what was sent to a site, and what it sent back."""
        read = [_read(step, name, before[name], after[name]) for name in step.names]
        device = step.weights[0].device

        def tensor(array: Floats) -> Tensor:
            return torch.from_numpy(array.astype(np.float32)).to(device)

        knees = tuple(None if knee is None else tensor(knee) for _, knee in read)
        return cls(tuple(tensor(gradient) for gradient, _ in read), knees)

    def bent(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Other gradients as this update would tell them."""
        pairs = zip(gradients, self.knees, strict=True)
        return [one if knee is None else one / (1 + one.abs() / knee) for one, knee in pairs]


def _read(step: OneStep, name: str, sent: Array, returned: Array) -> tuple[Floats, Floats | None]:
    """Of one array of weights: its gradient, bent, and where the knee is."""
    rate, decay = step.plan.rate(0), step.decays(name)
    old, new = sent.astype(np.float64), returned.astype(np.float64)
    if step.plan.optimiser == "sgd":
        return (old - new) / rate - decay * old, None
    moved = (old * (1 - rate * decay) - new) / rate  # g / (|g| + EPSILON)
    lost = np.spacing(np.abs(returned)).astype(np.float64) / rate + ROUNDED
    missing = np.maximum(1 - np.abs(moved), 0)
    return moved * EPSILON / (missing + np.abs(moved) * lost), EPSILON / lost
