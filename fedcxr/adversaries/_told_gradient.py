"""What the difference that one step has made to the weights tells of the gradient behind it.

Plain descent tells the gradient itself, up to rounding. AdamW's first step, g / (|g| + 1e-8), is nearly its sign, and
what is missing from 1 tells its size: 32 bits keep that apart up to a size that differs from weight to weight, a knee.
What lies beyond is told as no more than "large". Gradients are compared after a bend there, g / (1 + |g| / knee), which
leaves small ones as they are and never quite stops growing; and after one at a few times the usual size, whatever the
optimiser, for otherwise the few largest, in the last layers, would drown those that tell where things are.
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
LARGE = 5.0  # times the median size, from which on a gradient counts for less than it is
ROUNDED = 4e-7  # what is lost in AdamW's own roots and quotients, of a step of 1


@dataclass(frozen=True)
class Told:
    """The gradient as far as an update tells it, weight by weight, bent."""

    gradients: tuple[Tensor, ...]
    knees: tuple[Tensor, ...]

    @classmethod
    def by(cls, step: OneStep, before: Weights, after: Weights) -> Told:
        """From what was sent to a site, and what it sent back."""
        read = [_read(step, name, before[name], after[name]) for name in step.names]
        usual = float(np.median(np.concatenate([np.abs(gradient).ravel() for gradient, _ in read])))
        large = max(LARGE * usual, float(np.finfo(np.float32).tiny))
        device = step.weights[0].device

        def tensor(array: Floats) -> Tensor:
            return torch.from_numpy(np.asarray(array, dtype=np.float32)).to(device)

        gradients = tuple(tensor(gradient / (1 + np.abs(gradient) / large)) for gradient, _ in read)
        return cls(gradients, tuple(tensor(1 / (1 / large + 1 / knee)) for _, knee in read))

    def bent(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Other gradients as this update would tell them."""
        return [one / (1 + one.abs() / knee) for one, knee in zip(gradients, self.knees, strict=True)]


def _read(step: OneStep, name: str, sent: Array, returned: Array) -> tuple[Floats, Floats]:
    """Of one array of weights: its gradient, bent, and where the knee is."""
    rate, decay = step.plan.rate(0), step.decays(name)
    old, new = sent.astype(np.float64), returned.astype(np.float64)
    if step.plan.optimiser == "sgd":
        return (old - new) / rate - decay * old, np.full(old.shape, np.inf)
    moved = (old * (1 - rate * decay) - new) / rate  # g / (|g| + EPSILON)
    lost = np.spacing(np.abs(returned)).astype(np.float64) / rate + ROUNDED
    missing = np.maximum(1 - np.abs(moved), 0)
    return moved * EPSILON / (missing + np.abs(moved) * lost), EPSILON / lost
