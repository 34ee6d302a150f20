"""The attacker who learns: a network trained on codes it hides itself, then shown the codes of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from fedcxr.codes import Codes
from fedcxr.codes.support import Practice, Scores, prior
from fedcxr.models.support_net import SupportNet, support_net
from fedcxr.training import Plan, fit, to_device
from fedcxr.training.compute import Compute

Expand = Callable[[Codes], npt.NDArray[np.float32]]  # what the steps of a code stand for
Hide = Callable[[npt.NDArray[np.intp], int], Codes]  # the adversary's films of these rows, hidden anew at a step
BATCH = 8


@dataclass(frozen=True)
class Budget:
    """How hard the attacker tries."""

    steps: int = 400
    learning_rate: float = 3e-3
    width: int = 96


@dataclass(frozen=True)
class Attacker:
    """A trained network."""

    network: SupportNet
    expand: Expand
    compute: Compute

    def attack(self, public: Codes) -> tuple[Scores, npt.NDArray[np.float32]]:
        """How likely each number is true, and the code that is expected behind the public one, (n, c, h, w)."""
        scores, codes = [], []
        with self.compute.session(), torch.inference_mode():
            for start in range(0, len(public), BATCH):
                logits, code = self.network(*_inputs(public[start : start + BATCH], self.expand, self.compute))
                scores.append(logits.float().cpu().numpy())
                codes.append(code.float().cpu().numpy())
        return np.concatenate(scores), np.concatenate(codes)


def train(
    practice: Practice, hide: Hide, expand: Expand, budget: Budget, rng: np.random.Generator, compute: Compute
) -> Attacker:
    """An attacker who knows codec and mechanism, and whose films never come hidden in the same way twice."""
    meant = expand(practice.codes)
    usual = prior(practice, 1)[0], meant.mean(axis=0)
    public = practice.public.shape[1]
    network = support_net(public, budget.width, usual, rng, in_place=practice.in_place)
    network = to_device(network, compute)
    weight = float(1.0 / max(meant.var(axis=0).mean(), 1e-6))

    def loss(step: int) -> Tensor:
        rows = rng.integers(len(practice.codes), size=BATCH)
        logits, code = network(*_inputs(hide(rows, step), expand, compute))
        kept = torch.from_numpy((practice.codes[rows] != 0).astype(np.float32)).to(compute.device)
        wanted = torch.from_numpy(meant[rows]).to(compute.device)
        return F.binary_cross_entropy_with_logits(logits, kept) + weight * F.mse_loss(code, wanted)

    with compute.session():
        fit(network, loss, Plan(budget.steps, budget.learning_rate, average=0.98), compute)
    return Attacker(network, expand, compute)


def _inputs(public: Codes, expand: Expand, compute: Compute) -> tuple[Tensor, Tensor]:
    values = torch.from_numpy(public.astype(np.float32)).to(compute.device)
    return values, torch.from_numpy(expand(public)).to(compute.device)
