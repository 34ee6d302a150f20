"""Training until it stops helping: a trunk that rises at a constant rate, and at each doubling a copy that ends.

A run planned for n steps ends at a rate of zero, and cannot be asked what half of it would have been worth. Here the
rate stays where it is (Hägele et al., NeurIPS 2024), and the last fifth of every rung is run by a copy alone, at a rate
that falls to zero: each rung is as good as a run that had been planned so long, and all of them together cost 1.2 times
the longest.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fedcxr.errors import TrainingDiverged
from fedcxr.training import optimisers, parameter_groups
from fedcxr.training.compute import Compute

Network = TypeVar("Network", bound=nn.Module)
Figures = tuple[float, ...]  # what held-out people say of each part of a network; more is better

RUNGS = 7  # 1/64 ... 1 of the longest run
FEWEST = 50  # steps that make a rung: with fewer, nothing has been learnt


@dataclass(frozen=True)
class Ascent:
    """How far to rise at most, how fast, and when to stop before."""

    longest: int  # steps
    learning_rate: float
    weight_decay: float = 0.05
    warm_up: int = 30  # steps
    cooling: float = 0.2  # share of a rung's steps
    gain: float = 0.01  # by which a doubling must have raised a figure, for another to be worth it
    chance: float = 0.6  # below it nothing is known yet: whoever has not begun to rise may still do so
    high: float = 0.97  # from here on one doubling without a gain is enough to stop, before it takes two in a row
    sure: float = 1 / 8  # share of the longest run before which nobody stops
    most: int = RUNGS  # rungs: with one, nobody looks at what is on the way to the longest run

    @property
    def rungs(self) -> tuple[int, ...]:
        """Steps at which a copy ends, each twice those before; the last is the longest run."""
        halved = (self.longest >> halvings for halvings in reversed(range(1, self.most)))
        return (*(steps for steps in halved if steps >= FEWEST), self.longest)

    def straight_to(self, steps: int) -> Ascent:
        """The same in so many steps, and nobody looks at what is on the way."""
        return replace(self, longest=steps, most=1)

    def level(self, rung: int) -> int:
        """The step of the trunk at which the copy leaves that ends after `rung` steps."""
        return rung - round(self.cooling * rung)

    def trunk_rate(self, step: int) -> float:
        return self.learning_rate * min(1.0, (step + 1) / min(self.warm_up, self.rungs[0]))

    def cooling_rate(self, step: int, rung: int) -> float:
        """Of a step between `level(rung)` and `rung`: down to zero, evenly."""
        left = (rung - step) / (rung - self.level(rung) + 1)
        return self.trunk_rate(step) * left

    def settled(self, rung: int, figures: Sequence[Figures]) -> bool:
        """Whether doublings have stopped helping every part of the network, by its figures at all rungs up to this.

        A few held-out people judge coarsely: where much is left to be gained, one look may be wrong.
        """
        if rung < self.sure * self.longest:
            return False
        return all(self._flat(figure) for figure in zip(*figures, strict=True))

    def _flat(self, figure: Sequence[float]) -> bool:
        now = figure[-1]
        looks = 1 if now >= self.high else 2
        if now < self.chance or len(figure) <= looks:
            return False
        return max(figure[-looks:]) - max(figure[:-looks]) < self.gain


@dataclass(frozen=True)
class Rung(Generic[Network]):
    """A copy that was brought to an end."""

    steps: int
    network: Network
    figures: Figures | None  # of held-out people, if there are any


def rise(
    network: Network,
    loss: Callable[[Network, np.random.Generator], Tensor],
    judge: Callable[[Network], Figures | None],
    ascent: Ascent,
    compute: Compute,
    streams: Callable[[str], np.random.Generator],
    progress: Callable[[int, int], None] | None = None,
) -> list[Rung[Network]]:
    """Every rung that was reached, lowest first. `network` itself is the trunk, and is left at an unfinished rate.

    `loss` draws its own batch from the generator it is given. The trunk has one of `streams`, and each copy another:
    what is looked at on the way does not change where it leads.
    """
    climb = _Climb(network, ascent, compute)
    rng, found = streams("trunk"), list[Rung[Network]]()
    for rung in ascent.rungs:
        while climb.step < ascent.level(rung):
            climb.advance(loss, ascent.trunk_rate(climb.step), rng)
            if progress is not None:
                progress(climb.step, ascent.longest)
        ending, drawn = climb.copy(), streams(f"end after {rung}")
        while ending.step < rung:
            ending.advance(loss, ascent.cooling_rate(ending.step, rung), drawn)
        ending.network.eval()
        found.append(Rung(rung, ending.network, judge(ending.network)))
        figures = [rung.figures for rung in found if rung.figures is not None]
        if figures and ascent.settled(rung, figures):
            break
    if progress is not None:
        progress(ascent.longest, ascent.longest)
    return found


def best(rungs: Sequence[Rung[Network]]) -> Rung[Network]:
    """Which of the last two its own held-out people liked best; the last one where there are none."""
    return max(rungs[-2:], key=lambda rung: (sum(rung.figures or ()), rung.steps))


class _Climb(Generic[Network]):
    """A network on its way, and what its optimiser remembers."""

    def __init__(self, network: Network, ascent: Ascent, compute: Compute) -> None:
        self.network, self._ascent, self._compute = network, ascent, compute
        self.step = 0
        groups = parameter_groups(network, ascent.weight_decay)
        self._optimiser = optimisers.AdamW(groups, lr=ascent.learning_rate, fused=True)
        network.train()

    def copy(self) -> _Climb[Network]:
        """Another that goes on from here."""
        other = _Climb(copy.deepcopy(self.network), self._ascent, self._compute)
        other._optimiser.load_state_dict(copy.deepcopy(self._optimiser.state_dict()))
        other.step = self.step
        return other

    def advance(
        self, loss: Callable[[Network, np.random.Generator], Tensor], rate: float, rng: np.random.Generator
    ) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        with self._compute.autocast():
            value = loss(self.network, rng)
        if not math.isfinite(value.item()):
            raise TrainingDiverged(
                f"training stopped: the loss is {value.item()} at step {self.step + 1}",
                given=f"learning_rate {self._ascent.learning_rate}",
                do="lower the learning rate",
            )
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        self._optimiser.step()
        self.step += 1
