"""How verifiers learn: from pairs of a film as it was released and another, clean film of the same person.

Several networks learn side by side from the same pairs: protecting a film often costs more than looking at it. None
notices the others: each has its own part of the loss, and its optimiser scales every weight by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from fedcxr.adversaries._examination import Examination
from fedcxr.adversaries._sampler import OwnPairSampler
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Films, Protect
from fedcxr.models.siamese import Siamese, partner_loss
from fedcxr.pairs.sampler import Rows
from fedcxr.training import shifted, to_tensor
from fedcxr.training.compute import Compute
from fedcxr.training.rising import Ascent, Figures, Rung, rise

Shown = Callable[[Rows, np.random.Generator], Films]
Streams = Callable[[str], np.random.Generator]


@dataclass(frozen=True)
class Views:
    """One's own films as they are and as they would be released, moved a little each time they are looked at.

    `released` runs a mechanism, or looks up what somebody else's mechanism made of these very films.
    """

    clean: Films  # (n, h, w)
    released: Shown
    shift: int = 1  # pixels
    inner: bool = False  # whether releases are compared with each other, and not with clean films

    def known(self, rows: Rows, rng: np.random.Generator) -> Films:
        """The other film of a pair."""
        return self.released(rows, rng) if self.inner else shifted(self.clean[rows], self.shift, rng)

    @classmethod
    def unprotected(cls, films: Films, shift: int) -> Views:
        return cls.protected(films, _untouched, shift)

    @classmethod
    def protected(cls, films: Films, protect: Protect, shift: int, *, inner: bool = False) -> Views:
        """Protected anew every time they are looked at."""

        def released(rows: Rows, rng: np.random.Generator) -> Films:
            # Moved first and protected second, as a release would be: a grid of cells stays where it was.
            return protect(shifted(films[rows], shift, rng), rng)

        return cls(films, released, shift, inner)


def any_of(versions: Sequence[Protect]) -> Protect:
    """Hospitals that learnt by themselves protect in as many versions, of which each call meets one."""

    def protect(films: Films, rng: np.random.Generator) -> Films:
        return versions[int(rng.integers(len(versions))) if len(versions) > 1 else 0](films, rng)

    return protect if versions else _untouched


def _untouched(films: Films, rng: np.random.Generator) -> Films:
    return films


class Team(nn.ModuleList):
    """Networks that learn from the same pairs."""

    @property
    def members(self) -> list[Siamese]:
        return [network for network in self if isinstance(network, Siamese)]


@dataclass(frozen=True)
class Lessons:
    """What the pairs of a batch are."""

    people: int = 24  # in a batch, with two films each
    same_source: float = 0.9  # share of batches from one hospital
    lone: float = 0.0  # chance that somebody with a single film takes part, with that film twice
    sharpness: float = 8.0  # factor on logits inside the softmax

    def loss(
        self, sampler: OwnPairSampler, views: Views, compute: Compute, team: Team, rng: np.random.Generator
    ) -> Tensor:
        first, second = sampler.draw(self.people, self.same_source, rng, self.lone)
        shown = np.concatenate([views.released(first, rng), views.known(second, rng)])
        films = to_tensor(shown, compute)
        losses = []
        for network in team.members:
            embedded = network.embed(films)
            logits = network.compare(embedded[: len(first)], embedded[len(first) :])
            losses.append(partner_loss(logits, self.sharpness))
        return torch.stack(losses).sum()


def learn(
    team: Team,
    own: Owned,
    views: Views,
    lessons: Lessons,
    ascent: Ascent,
    compute: Compute,
    streams: Streams,
    progress: Callable[[int, int], None] | None = None,
) -> list[Rung[Team]]:
    """Rise with one's own people, and stop by those of them who are held out."""
    examination = Examination.of(own, views, streams("examination"))

    def judge(team: Team) -> Figures | None:
        return None if examination is None else examination.figures(team.members, compute)

    loss = partial(lessons.loss, OwnPairSampler.owned(own), views, compute)
    with compute.session():
        return rise(team, loss, judge, ascent, compute, streams, progress)
