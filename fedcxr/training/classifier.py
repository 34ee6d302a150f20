"""How a network learns to read findings off films or codes: for the task that does it and methods that share one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fedcxr.models.classifier import Classifier, findings_loss
from fedcxr.models.stem import Synthesis
from fedcxr.training import Plan, epochs, fit, moved, offsets, shifted, shifted_along, to_tensor
from fedcxr.training.compute import Compute
from fedcxr.training.label_noise import BySite, Correction, corrected_loss
from fedcxr.training.places import Places

Inputs = npt.NDArray[np.uint8] | npt.NDArray[np.int8]  # films (n, h, w), or codes (n, c, h, w)
Labels = npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN

RARE = 3.0  # times that a rare finding's films count at most


@dataclass(frozen=True)
class Recipe:
    """For how long, on which batches, and towards what."""

    steps: int
    batch: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    shift: int = 2  # augmentation: films are moved by up to so many pixels
    smoothing: float = 0.1  # labels are drawn towards one half by so much
    rare: float = RARE  # a rare finding's films count at most so many times


def teach(
    network: Classifier,
    films: Inputs,
    labels: Labels,
    recipe: Recipe,
    rng: np.random.Generator,
    compute: Compute,
    progress: Callable[[int, int], None] | None = None,
    *,
    plan: Plan | None = None,
    penalty: Callable[[], Tensor] | None = None,
    correction: Correction | BySite | None = None,
    places: Places | None = None,
) -> None:
    """Train the network, from wherever it stands, to tell the findings `labels` of `films`; `rng` draws all batches.

    `plan` is another than the recipe's, such as that of one turn of many; `penalty` is added to every loss;
    `correction` says how often labels are wrong, or learns it along; `places` where things are on these films, which
    the network's heads for it learn along.
    """
    order = epochs(len(films), recipe.batch, rng)
    truth = torch.tensor(labels.copy(), device=compute.device)  # a table may lend them for reading, or backwards
    weights = class_weights(truth, recipe.rare)

    def shown(batch: Inputs) -> Tensor:
        if batch.ndim == 3:
            return to_tensor(shifted(batch, recipe.shift, rng), compute)
        made: Tensor = network.stem(to_tensor(batch, compute))
        # Only what a stem has made of codes can be moved: a cell of 8 x 8 pixels is too coarse.
        return shifted_along(made, recipe.shift, rng) if isinstance(network.stem, Synthesis) else made

    def loss(step: int) -> Tensor:
        rows = next(order)
        which = torch.from_numpy(rows).to(compute.device)
        known, allowed = truth[which], None if correction is None else correction.at(which)
        if places is None:
            told = told_loss(network.read(shown(films[rows])), known, weights, recipe.smoothing, allowed)
        else:
            by = offsets(len(rows), recipe.shift, rng)  # what `shifted` would draw: places move with films
            logits, cells = network.read_with_places(to_tensor(moved(films[rows], by), compute))
            told = told_loss(logits, known, weights, recipe.smoothing, allowed) + places.loss(cells, rows, by)
        return told if penalty is None else told + penalty()

    plan = plan or Plan(recipe.steps, recipe.learning_rate, recipe.weight_decay)
    learning = nn.ModuleList([network, correction]) if isinstance(correction, BySite) else network
    fit(learning, loss, plan, compute, progress)


def told_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float, correction: Correction | None
) -> Tensor:
    """The loss of labels that are taken for right, or that are known to be wrong at some rates."""
    if correction is None:
        return findings_loss(logits, labels, weights, smoothing)
    return corrected_loss(logits, labels, weights, correction, smoothing)


def class_weights(labels: Tensor, rare: float) -> Tensor:  # (k,)
    """How often a film with the finding counts: as often as makes both classes equal, within a bound."""
    with_finding, without = (labels == 1).sum(0), (labels == 0).sum(0)
    return (without / with_finding.clamp(min=1)).clamp(1.0, rare)
