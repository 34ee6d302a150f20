"""Films are sought whose gradient is the one that an update tells, by descent in their frequencies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcxr.adversaries._surrogate_relu import SurrogateRelu
from fedcxr.adversaries._told_gradient import Told
from fedcxr.adversaries._told_statistics import Statistics
from fedcxr.questions._updates import SHARES
from fedcxr.training import optimisers
from fedcxr.training.compute import Compute
from fedcxr.training.one_step import OneStep
from fedcxr.view import Films, Weights

Distance = Literal["cosine", "euclidean"]

BEGUN = 0.1  # how far from the mean film descent begins, in deviations of films: so that those of a batch differ


@dataclass(frozen=True)
class Prior:
    """What films look like to whoever owns some."""

    mean: Tensor  # (h, w) in [0, 1]
    deviations: Tensor  # (h, w) of each frequency of the cosine transform from that of the mean
    cosines: tuple[Tensor, Tensor]  # (h, h) and (w, w), orthonormal
    exposure: tuple[float, float]  # brightness and contrast of the usual film

    @classmethod
    def of(cls, films: Films, compute: Compute) -> Prior:
        """From films of one's own: their mean, and how much of which frequency they deviate from it."""
        own = films.astype(np.float32) / 255.0
        mean = own.mean(axis=0)
        rows, columns = (_cosines(side) for side in mean.shape)
        spread = np.square(rows @ (own - mean) @ columns.T).mean(axis=0)
        # Over all frequencies equally high: few films tell little of each alone.
        ring = np.hypot(*np.indices(mean.shape)).round().astype(np.intp)
        by_ring = np.bincount(ring.ravel(), spread.ravel()) / np.maximum(np.bincount(ring.ravel()), 1)
        tensor = partial(torch.tensor, dtype=torch.float32, device=compute.device)
        usual = float(own.mean()), float(own.std(axis=(1, 2)).mean())
        return cls(tensor(mean), tensor(np.sqrt(by_ring)[ring]), (tensor(rows), tensor(columns)), usual)

    def films(self, frequencies: Tensor) -> Tensor:  # (n, 1, h, w) in deviations -> (n, 1, h, w)
        rows, columns = self.cosines
        return self.mean + rows.T @ (self.deviations * frequencies) @ columns


@dataclass(frozen=True)
class Descent:
    """How films are sought."""

    distance: Distance
    steps: int
    learning_rate: float  # in deviations of a frequency
    total_variation: float
    statistics: float  # what the statistics of a batch weigh, where an update tells them


def inverted(
    step: OneStep,
    update: tuple[Weights, Weights],
    films: int,
    prior: Prior,
    descent: Descent,
    rng: np.random.Generator,
    progress: Callable[[int], None],
) -> list[Films]:
    """So many films, in any order, after a quarter of the steps, half, and all of them.

    What else the step hides is sought along with them, as labels are by Zhu et al. (2019), and not shown.
    """
    told, weights = Told.by(step, *update), step.weights
    statistics = Statistics.by(step.network, *update)
    distance = DISTANCES[descent.distance]
    exposed = prior.exposure if _blind_to_exposure(step, prior, films) else None
    drawn = rng.normal(0, BEGUN, (films, 1, *prior.mean.shape)).astype(np.float32)
    sought = torch.from_numpy(drawn).to(prior.mean.device).requires_grad_()
    unknown = [sought, *step.sought]
    optimiser = optimisers.Adam(unknown, lr=descent.learning_rate)
    shown: list[Films] = []
    stops = [max(1, descent.steps // share) for share in SHARES]
    for number in range(descent.steps):
        optimiser.param_groups[0]["lr"] = descent.learning_rate * 0.5 * (1 + math.cos(math.pi * number / descent.steps))
        pictures = prior.films(sought)
        with SurrogateRelu(), statistics.followed() as seen:
            loss = step.loss(pictures)
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        misses = distance(told.gradients, told.bent(gradients)) + descent.total_variation * _variation(pictures)
        if seen:
            misses = misses + descent.statistics * statistics.missed(seen)
        for one, slope in zip(unknown, torch.autograd.grad(misses, unknown), strict=True):
            one.grad = slope
        optimiser.step()
        shown += [_developed(prior.films(sought), exposed)] * stops.count(number + 1)
        progress(number + 1)
    return [*shown, _developed(prior.films(sought), exposed)]


def _blind_to_exposure(step: OneStep, prior: Prior, films: int) -> bool:
    """Whether the network takes films in any brightness and contrast for the same: then it can tell of neither."""
    usual = prior.mean.expand(films, 1, *prior.mean.shape)
    with torch.no_grad():
        one, other = (step.loss(seen).item() for seen in (usual, 0.5 * usual + 0.25))
    return math.isclose(one, other, rel_tol=1e-2)


@torch.no_grad()
def _developed(pictures: Tensor, exposure: tuple[float, float] | None) -> Films:
    """As films are kept; with the usual brightness and contrast, where nothing is known of theirs."""
    shown = pictures[:, 0]
    if exposure is not None:
        brightness, contrast = exposure
        centred = shown - shown.mean((1, 2), keepdim=True)
        shown = brightness + contrast * centred / centred.std((1, 2), keepdim=True).clamp(min=1e-6)
    films: Films = (255 * shown).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return films


def _variation(films: Tensor) -> Tensor:
    """Between neighbouring pixels, on average: what films have little of, and noise has much of."""
    across = (films[..., 1:] - films[..., :-1]).abs().mean()
    return across + (films[..., 1:, :] - films[..., :-1, :]).abs().mean()


def _cosine(told: Sequence[Tensor], own: Sequence[Tensor]) -> Tensor:
    """Geiping et al. (2020): of directions alone, however long the gradients are."""
    along = _sum(one * other for one, other in zip(told, own, strict=True))
    return 1 - along / (_sum(one.square() for one in told) * _sum(one.square() for one in own)).sqrt().clamp(min=1e-20)


def _euclidean(told: Sequence[Tensor], own: Sequence[Tensor]) -> Tensor:
    """Zhu et al. (2019), as a share of what is told."""
    missed = _sum((one - other).square() for one, other in zip(told, own, strict=True))
    return missed / _sum(one.square() for one in told).clamp(min=1e-20)


DISTANCES: Mapping[Distance, Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]] = {
    "cosine": _cosine,
    "euclidean": _euclidean,
}


def _sum(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack([part.sum() for part in parts]).sum()


def _cosines(side: int) -> npt.NDArray[np.float32]:  # (side, side), orthonormal; row k is of frequency k
    places, k = np.arange(side) + 0.5, np.arange(side)[:, None]
    waves = np.cos(np.pi * places * k / side) * np.sqrt(2 / side)
    waves[0] /= np.sqrt(2)
    return np.asarray(waves, dtype=np.float32)
