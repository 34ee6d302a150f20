"""How one linear layer learns findings from features that do not change."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fedcxr.errors import TrainingDiverged
from fedcxr.models.classifier import findings_loss
from fedcxr.models.initialise import build
from fedcxr.training import optimisers
from fedcxr.training.compute import Compute

Features = npt.NDArray[np.float32]  # (views, n, f)
Labels = npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Recipe:
    """For how long at most, and when to slow down and to stop."""

    epochs: int = 50
    batch: int = 32
    learning_rate: float = 1e-3
    patience: int = 3  # epochs without a lower loss on films held out, after which a tenth of the rate is left
    stop: int = 10  # and after which nothing more is learnt


@dataclass(frozen=True)
class Head:
    """A linear layer, and how it was found."""

    layer: nn.Linear
    epochs: int  # taken
    best: int  # of which this one's layer is kept
    rate: float  # at which it learnt in the end

    def scores(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:  # (n, f) -> (n, k) logits
        """What it says of films, seen as they are."""
        with torch.inference_mode():
            logits: Tensor = self.layer(_on(features, self.layer.weight.device))
        found: npt.NDArray[np.float32] = logits.cpu().numpy()
        return found


def teach(
    features: Features,
    labels: Labels,
    held_out: Bools,  # (n,) films that only tell when to slow down and to stop
    recipe: Recipe,
    rng: np.random.Generator,
    compute: Compute,
    progress: Callable[[int, int], None] | None = None,
) -> Head:
    """The layer of the epoch after which films held out, in the first of their views, had the lowest loss.

    Of each film in a batch one of its views is shown, drawn anew.
    """
    views, _, size = features.shape
    layer = build(lambda: nn.Linear(size, labels.shape[1]), rng).to(compute.device)
    shown, truth = _on(features, compute.device), _on(labels, compute.device)
    learnt, beside = np.flatnonzero(~held_out), torch.from_numpy(np.flatnonzero(held_out)).to(compute.device)
    alike = torch.ones(labels.shape[1], device=compute.device)
    optimiser = optimisers.Adam(layer.parameters(), lr=recipe.learning_rate)
    slower = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.1, patience=recipe.patience)
    lowest, best, kept = math.inf, 0, _copy(layer)
    epoch = 0
    while epoch < recipe.epochs and epoch - best < recipe.stop:
        epoch += 1
        order = rng.permutation(learnt)
        for start in range(0, len(order), recipe.batch):
            rows = torch.from_numpy(order[start : start + recipe.batch]).to(compute.device)
            view = torch.from_numpy(rng.integers(views, size=len(rows))).to(compute.device)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(findings_loss(layer(shown[view, rows]), truth[rows], alike))
            optimiser.step()
        with torch.inference_mode():
            loss = findings_loss(layer(shown[0, beside]), truth[beside], alike).item()
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"training stopped: the loss is {loss} after epoch {epoch} of {recipe.epochs}",
                given=f"learning_rate {recipe.learning_rate}",
                do="lower the learning rate",
            )
        slower.step(loss)
        if loss < lowest:
            lowest, best, kept = loss, epoch, _copy(layer)
        if progress is not None:
            progress(epoch, recipe.epochs)
    layer.load_state_dict(kept)
    return Head(layer, epoch, best, optimiser.param_groups[0]["lr"])


def _copy(layer: nn.Linear) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in layer.state_dict().items()}


def _on(array: npt.NDArray[np.float32], device: torch.device) -> Tensor:
    return torch.tensor(np.array(array), device=device)
