"""How a U-Net learns to outline an organ on films that somebody else has outlined it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from fedcxr.models.lungs import standardised
from fedcxr.models.unet import UNet
from fedcxr.training import Plan, epochs, fit, moved, offsets, to_tensor
from fedcxr.training.compute import Compute

Films = npt.NDArray[np.uint8]  # (n, h, w)
Masks = npt.NDArray[np.bool_]  # (n, h, w)


@dataclass(frozen=True)
class Recipe:
    """For how long, and on which batches."""

    steps: int
    batch: int = 16
    learning_rate: float = 8e-3
    weight_decay: float = 0.01
    shift: int = 2  # augmentation: films are moved, with their masks, by up to so many pixels


def teach(
    network: UNet,
    films: Films,
    masks: Masks,
    recipe: Recipe,
    rng: np.random.Generator,
    compute: Compute,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Train the network to outline `masks` on `films`; `rng` draws all batches."""
    order = epochs(len(films), recipe.batch, rng)

    def loss(step: int) -> Tensor:
        rows = next(order)
        by = offsets(len(rows), recipe.shift, rng)
        logits = network(_read(moved(films[rows], by), compute))
        inside = torch.from_numpy(moved(masks[rows], by)).to(compute.device).unsqueeze(1).float()
        return outline_loss(logits, inside)

    fit(network, loss, Plan(recipe.steps, recipe.learning_rate, recipe.weight_decay), compute, progress)


def outline_loss(logits: Tensor, masks: Tensor) -> Tensor:  # (n, 1, h, w) each
    """What is said of single pixels, and of each film as a whole."""
    return F.binary_cross_entropy_with_logits(logits, masks) + soft_dice_loss(logits.sigmoid(), masks)


def soft_dice_loss(found: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice, film by film: a small pair of lungs counts as much as a large one."""
    both, either = (found * truth).sum((1, 2, 3)), (found + truth).sum((1, 2, 3))
    return 1 - ((2 * both + 1) / (either + 1)).mean()


def found(network: UNet, films: Films, compute: Compute, batch: int = 16) -> Masks:
    """What the network outlines on each film, as it is: no speck is removed and no hole is filled."""
    network.eval()
    masks = np.empty(films.shape, dtype=np.bool_)
    with torch.inference_mode(), compute.autocast():
        for start in range(0, len(films), batch):
            logits = network(_read(films[start : start + batch], compute))
            masks[start : start + batch] = (logits[:, 0] > 0).cpu().numpy()
    return masks


def _read(films: Films, compute: Compute) -> Tensor:
    return standardised(to_tensor(films, compute))
