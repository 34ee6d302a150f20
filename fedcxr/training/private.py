"""Gradient descent that tells little of any one patient (Abadi et al., CCS 2016), on Opacus' gradients of single films.

A step takes each unit, a patient or a film, with a probability of its own; the gradients of a patient's films become
one, their mean; that is shortened to a bound; the sum over all units taken, with noise, is divided by a constant. What
a step is made of depends on no number of films or patients: not its probability, its noise, nor its divisor.

Our deviations from Opacus' own optimiser: the divisor is given, and not reckoned from the size of a data set; what is
clipped is a patient's; sampling and noise are drawn from the generator given, which at a hospital is keyed; sums are of
float64; a gradient that is no number counts as none, where its clipping would be none either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.training import Plan
from fedcxr.training.per_film import per_film

Rows = npt.NDArray[np.intp]

AT_ONCE = 1 << 25  # numbers in the gradients of the films that pass a network together: 128 MB
MOST_FILMS = 256  # that do, however small the network is
ROUNDED = 1 + 1e-6  # gradients are shortened by this more, so that no rounding of float32 leaves them too long


@dataclass(frozen=True)
class Mechanism:
    """What is done to gradients: constants, which everybody may know."""

    clip: float  # the longest gradient of a unit
    noise_multiplier: float  # standard deviation of the noise, in such lengths
    sample_rate: float  # probability of each unit in each step
    divisor: float  # of the noisy sum


@dataclass(frozen=True)
class Material:
    """What is learnt from: films, or what a frozen network has made of them, and whose they are."""

    inputs: Callable[[Rows], Tensor]  # of these films, anew in each step where films are augmented
    labels: Tensor  # (n, k) of 0, 1 or NaN (unknown)
    units: Sequence[Rows]  # the films of each unit, none empty
    smoothing: float = 0.0  # labels are drawn towards one half by so much


def fit_privately(
    network: nn.Module,
    material: Material,
    mechanism: Mechanism,
    plan: Plan,
    optimiser: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Train a network that overwrites none of its layers' outputs, in place and in float32; `rng` draws everything."""
    network.train()
    hooked = per_film(network)
    learning = [weights for weights in network.parameters() if weights.requires_grad]
    descent = optimiser(learning)
    for step in range(plan.steps):
        for group in descent.param_groups:
            group["lr"] = plan.rate(step)
        sampled = np.flatnonzero(rng.random(len(material.units)) < mechanism.sample_rate)
        total = clipped_sum(hooked, material, sampled, mechanism.clip)
        noisy = total + noise(total, mechanism.clip * mechanism.noise_multiplier, rng)
        _split(learning, noisy / mechanism.divisor)
        descent.step()
        if progress is not None:
            progress(step + 1, plan.steps)
    hooked.remove_hooks()
    network.eval()


def clipped_sum(hooked: Any, material: Material, sampled: Rows, clip: float) -> Tensor:  # (weights,) float64
    """The sum of the sampled units' gradients, none longer than the bound; of no unit, zeros."""
    learning = [weights for weights in hooked.parameters() if weights.requires_grad]
    count = sum(weights.numel() for weights in learning)
    total = torch.zeros(count, dtype=torch.float64, device=material.labels.device)
    for units in _together([material.units[unit] for unit in sampled], films_at_once(count)):
        gradients = _gradients(hooked, learning, material, units)
        lengths = torch.stack([torch.linalg.vector_norm(g, dim=1, dtype=torch.float64) for g in gradients]).norm(dim=0)
        shortened = (clip / (lengths * ROUNDED)).clamp(max=1.0)
        # A sum with a number that is none would be none, whatever it is multiplied by.
        kept = lengths.isfinite()
        place = 0
        for gradient in gradients:
            part = shortened[kept].float() @ gradient[kept]
            total[place : place + len(part)] += part
            place += len(part)
    return total


def noise(like: Tensor, deviation: float, rng: np.random.Generator) -> Tensor:
    """Gaussian numbers of float64, each made of four.

    The gaps between the floating-point numbers that one draw can give tell apart sums that it was added to; those
    between sums of four are too many to search (Holohan & Braghin, ESORICS 2021, section 5.1, with n = 2, as in Opacus'
    secure mode).
    """
    drawn = rng.standard_normal(len(like))
    for _ in range(3):
        drawn += rng.standard_normal(len(like))
    return torch.from_numpy(drawn * (deviation / 2)).to(like.device)


def films_at_once(weights: int) -> int:
    """How many films' gradients are held together, for a network of so many weights."""
    return min(max(AT_ONCE // max(weights, 1), 1), MOST_FILMS)


def film_losses(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:  # (n,)
    """Each film's mean cross-entropy over what is known of it; no label counts for more because it is rare here."""
    known = ~labels.isnan()
    targets = labels.nan_to_num(0.0) * (1.0 - smoothing) + 0.5 * smoothing
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return torch.where(known, losses, 0.0).sum(1) / known.sum(1).clamp(min=1)


def _together(units: Sequence[Rows], films: int) -> Iterator[list[Rows]]:
    """Units one after the other, as many as have no more films than that together, or one that has more."""
    group: list[Rows] = []
    for unit in units:
        if group and sum(map(len, group)) + len(unit) > films:
            yield group
            group = []
        group.append(unit)
    if group:
        yield group


def _gradients(hooked: Any, learning: Sequence[nn.Parameter], material: Material, units: list[Rows]) -> list[Tensor]:
    """Of each array of weights, the mean gradient over each unit's films: (units, numbers)."""
    rows = np.concatenate(units)
    owners = np.repeat(np.arange(len(units)), [len(unit) for unit in units])
    share = np.concatenate([np.full(len(unit), 1 / len(unit), dtype=np.float32) for unit in units])
    device = material.labels.device
    sums = [torch.zeros(len(units), weights.numel(), device=device) for weights in learning]
    step = films_at_once(sum(weights.numel() for weights in learning))
    for start in range(0, len(rows), step):
        piece = slice(start, start + step)
        inputs = material.inputs(rows[piece]).clone(memory_format=torch.contiguous_format)  # see per_film
        inputs.requires_grad_()  # or the hooks of the first layer would have nothing to look at
        losses = film_losses(
            hooked(inputs), material.labels[torch.from_numpy(rows[piece]).to(device)], material.smoothing
        )
        torch.autograd.backward((losses * torch.from_numpy(share[piece]).to(device)).sum())
        owner = torch.from_numpy(owners[piece]).to(device)
        for weights, total in zip(learning, sums, strict=True):
            single: Tensor = weights.grad_sample  # type: ignore[attr-defined]
            total.index_add_(0, owner, single.reshape(len(owner), -1))
            weights.grad_sample = weights.grad = None  # type: ignore[attr-defined]
    return sums


def _split(learning: Sequence[nn.Parameter], gradient: Tensor) -> None:
    parts = gradient.split([weights.numel() for weights in learning])
    for weights, part in zip(learning, parts, strict=True):
        weights.grad = part.view_as(weights).to(weights.dtype)
