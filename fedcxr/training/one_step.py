"""A single step of learning, for whoever knows the network, the labels and the optimiser, and asks about the films."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fedcxr.cohort import Annotation
from fedcxr.models.classifier import Classifier
from fedcxr.training import Plan
from fedcxr.training.classifier import RARE, class_weights, told_loss
from fedcxr.training.compute import Compute
from fedcxr.training.label_noise import Correction
from fedcxr.training.places import places_loss, without


@dataclass(frozen=True)
class Hidden:
    """Places on films for whoever knows the findings alone: all that has a place is taken for drawn, and sought."""

    odds: Tensor  # (n, channels, h, w)
    known: Tensor  # the same shape: 0 where a finding is not, NaN where it or an organ may be
    organs: int

    @classmethod
    def of(
        cls,
        network: Classifier,
        labels: npt.NDArray[np.float32],
        asked: Sequence[Annotation],
        film: tuple[int, int],
        compute: Compute,
    ) -> Hidden:
        """On films of this size with these findings, (n, k) of 0, 1 or NaN, where a method asks for places of these."""
        with torch.no_grad():
            _, said = network.eval().read_with_places(torch.zeros(1, 1, *film, device=compute.device))
        height, width = said.shape[2:]
        organs = sum(one != "boxes" for one in asked)
        told = torch.tensor(labels if "boxes" in asked else labels[:, :0])
        somewhere = torch.full((len(labels), organs, height, width), torch.nan)
        known = torch.cat([somewhere, without(told, (height, width))], dim=1).to(compute.device)
        return cls(torch.zeros_like(known, requires_grad=True), known, organs)

    def loss(self, said: Tensor) -> Tensor:
        """Of what heads say, if things are where they are thought to be."""
        return places_loss(said, torch.where(self.known == 0, 0.0, self.odds.sigmoid()), self.organs)


@dataclass(frozen=True)
class OneStep:
    """What is known of a step but the films it was taken on."""

    network: nn.Module  # in train mode: a layer that normalises over a batch does
    loss: Callable[[Tensor], Tensor]  # of films (n, 1, h, w) in [0, 1]
    plan: Plan
    sought: tuple[Tensor, ...] = ()  # what else the loss goes by and nobody is told, for an attacker to move

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
        hidden: Hidden | None = None,
    ) -> OneStep:
        """The step that `teach` takes on films with these findings, (n, k) of 0, 1 or NaN.

        `hidden` are the places on them that it was told, which nobody else knows.
        """
        truth = torch.tensor(labels.copy(), device=compute.device)
        weights = class_weights(truth, rare)
        network.train()

        def told(logits: Tensor) -> Tensor:
            return told_loss(logits, truth, weights, smoothing, correction)

        if hidden is None:
            return cls(network, lambda films: told(network(films)), plan)

        def with_places(films: Tensor) -> Tensor:
            logits, said = network.read_with_places(films)
            return told(logits) + hidden.loss(said)

        return cls(network, with_places, plan, (hidden.odds,))

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
