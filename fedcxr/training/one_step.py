"""A single step of learning, for whoever knows the network, the labels and the optimiser, and asks about the films."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fedcxr.models.classifier import Classifier
from fedcxr.training import Plan
from fedcxr.training.classifier import RARE, class_weights, told_loss
from fedcxr.training.compute import Compute
from fedcxr.training.label_noise import Correction


@dataclass(frozen=True)
class OneStep:
    """What is known of a step but the films it was taken on."""

    network: nn.Module  # in train mode: a layer that normalises over a batch does
    loss: Callable[[Tensor], Tensor]  # of films (n, 1, h, w) in [0, 1]
    plan: Plan

    @classmethod
    def of(
        cls,
        network: Classifier,
        labels: npt.NDArray[np.float32],
        smoothing: float,
        plan: Plan,
        compute: Compute,
        rare: float = RARE,
        correction: Correction | None = None,
    ) -> OneStep:
        """The step that `teach` takes on films with these findings, (n, k) of 0, 1 or NaN."""
        truth = torch.tensor(labels.copy(), device=compute.device)
        weights = class_weights(truth, rare)
        network.train()
        return cls(network, lambda films: told_loss(network(films), truth, weights, smoothing, correction), plan)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the weights that the step moves."""
        return tuple(name for name, _ in self.network.named_parameters())

    @property
    def weights(self) -> tuple[Tensor, ...]:
        return tuple(self.network.parameters())

    def decays(self, name: str) -> float:
        """How strongly the optimiser shrinks a weight, as `parameter_groups` has it."""
        return self.plan.weight_decay if self.network.get_parameter(name).ndim > 1 else 0.0
