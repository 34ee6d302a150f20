"""One training loop and one inference loop for every network of this project."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.errors import TrainingDiverged
from fedcxr.training import optimisers
from fedcxr.training.compute import Compute

Films = npt.NDArray[np.uint8]  # (n, h, w)
Network = TypeVar("Network", bound=nn.Module)
Number = TypeVar("Number", bound=np.generic)
MOMENTUM = 0.9  # of `sgd`
Offsets = npt.NDArray[np.int64]  # (2, n), down and right, in pixels


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train: linear warm-up, then cosine down to zero."""

    steps: int
    learning_rate: float
    weight_decay: float = 0.05
    warm_up: float = 0.1  # share of the steps
    average: float | None = None  # decay of a running mean of the weights that is kept instead of the last ones
    optimiser: Literal["adamw", "sgd"] = "adamw"  # sgd with momentum
    before: int = 0  # of these steps, others were taken already: of a course in several turns
    after: int = 0  # and others are to follow

    def rate(self, step: int) -> float:
        """The learning rate of a step, one of 0 ... steps - 1."""
        step, steps = self.before + step, self.before + self.steps + self.after
        warm = max(1, round(self.warm_up * steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def fit(
    network: nn.Module,
    loss: Callable[[int], Tensor],
    plan: Plan,
    compute: Compute,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Train `network` in place, on the device it is on, until the plan's last step.

    `loss(step)` draws its own batch, so that pairs, noise and augmentation can be made on the fly.
    """
    network.train()
    optimiser = _optimiser(network, plan)
    average = Average(network, plan.average) if plan.average is not None else None
    for step in range(plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(step)
        with compute.autocast():
            value = loss(step)
        if not math.isfinite(value.item()):
            raise TrainingDiverged(
                f"training stopped: the loss is {value.item()} at step {step + 1} of {plan.steps}",
                given=f"learning_rate {plan.learning_rate}",
                do="lower the learning rate",
            )
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        optimiser.step()
        if average is not None:
            average.follow(network, step)
        if progress is not None:
            progress(step + 1, plan.steps)
    if average is not None:
        average.install(network)
    network.eval()


def _optimiser(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    groups = parameter_groups(network, plan.weight_decay)
    if plan.optimiser == "adamw":
        return optimisers.AdamW(groups, lr=plan.learning_rate, fused=True)
    return optimisers.SGD(groups, lr=plan.learning_rate, momentum=MOMENTUM, fused=True)


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """What an optimiser trains, and how strongly it shrinks which of it."""
    # Shrinking a bias or a norm's scale only slows training down.
    weights = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


class Average:
    """A running mean of all weights and running statistics."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.mean = [t.detach().clone() for t in _averaged(network)]

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))  # forget the random start quickly
        torch._foreach_lerp_(self.mean, list(_averaged(network)), 1 - decay)

    @torch.no_grad()
    def install(self, network: nn.Module) -> None:
        for tensor, mean in zip(_averaged(network), self.mean, strict=True):
            tensor.copy_(mean)


def _averaged(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from (b for b in network.buffers() if b.is_floating_point())


def to_device(network: Network, compute: Compute) -> Network:
    """Move a network to where it runs; channels last is what oneDNN and tensor cores want (1.2 to 1.4x on a CPU)."""
    return network.to(device=compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def arrays_of(network: nn.Module) -> dict[str, npt.NDArray[np.generic]]:
    """What a network has learnt, ready for safetensors."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}


def loaded(network: Network, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Network:
    """The network with what an equal one has learnt."""
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    return network


def to_tensor(films: npt.NDArray[np.integer], compute: Compute) -> Tensor:  # films: (n, 1, h, w) in [0, 1]
    """Films, or codes, as a network reads them."""
    pixels = torch.from_numpy(np.ascontiguousarray(films)).to(compute.device)
    if pixels.ndim == 4:
        return pixels.to(torch.float32, memory_format=torch.channels_last)
    return pixels.unsqueeze(1).to(torch.float32, memory_format=torch.channels_last).div_(255.0)


def epochs(films: int, batch: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.intp]]:
    """Batches of row numbers without end: every film once per epoch, the incomplete last batch left out."""
    batch = min(batch, films)
    while True:
        order = rng.permutation(films)
        for start in range(0, films - batch + 1, batch):
            yield order[start : start + batch]


def shifted(films: npt.NDArray[Number], pixels: int, rng: np.random.Generator) -> npt.NDArray[Number]:
    """Each film moved by up to `pixels` in both directions, its edge repeated."""
    return moved(films, offsets(len(films), pixels, rng))


def offsets(films: int, pixels: int, rng: np.random.Generator) -> Offsets:
    """By how much to move each of so many films: up to `pixels` in both directions."""
    return rng.integers(2 * pixels + 1, size=(2, films)) - pixels


def moved(films: npt.NDArray[Number], by: Offsets) -> npt.NDArray[Number]:
    """Films, or what was drawn on them, moved by these offsets, their edges repeated."""
    n, h, w = films.shape
    most = int(np.abs(by).max(initial=0))
    padded = np.pad(films, ((0, 0), (most, most), (most, most)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(1, 2))
    down, right = by + most
    seen: npt.NDArray[Number] = windows[np.arange(n), down, right]
    return seen


def shifted_along(films: Tensor, pixels: int, rng: np.random.Generator) -> Tensor:  # (n, 1, h, w)
    """The same with films that a network has made and learns to make better: gradients pass."""
    n, _, h, w = films.shape
    padded = F.pad(films, (pixels, pixels, pixels, pixels), mode="replicate")
    down, right = rng.integers(2 * pixels + 1, size=(2, n))
    moved = [film[:, d : d + h, r : r + w] for film, d, r in zip(padded.unbind(), down, right, strict=True)]
    return torch.stack(moved).contiguous(memory_format=torch.channels_last)


def predict(
    network: nn.Module, films: npt.NDArray[np.integer], compute: Compute, batch: int = 256
) -> npt.NDArray[np.float32]:
    """What the network says about each film, (n, outputs), batch by batch."""
    network.eval()
    answers: list[npt.NDArray[np.float32]] = []
    with torch.inference_mode(), compute.autocast():
        for start in range(0, len(films), batch):
            answer: Tensor = network(to_tensor(films[start : start + batch], compute))
            answers.append(answer.float().cpu().numpy())
    return np.concatenate(answers)
