"""How verifiers learn: from pairs of a film as it was released and another, clean film of the same person.

Several networks learn side by side from the same pairs: protecting a film often costs more than looking at it. None
notices the others: each has its own part of the loss, and its optimiser scales every weight by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from fedcxr.adversaries._examination import Examination
from fedcxr.adversaries._sampler import OwnPairSampler
from fedcxr.adversaries._views import Views
from fedcxr.knowledge.own_films import Owned
from fedcxr.models.siamese import Siamese, partner_loss
from fedcxr.training import to_tensor
from fedcxr.training.compute import Compute
from fedcxr.training.rising import Ascent, Figures, Rung, rise

Streams = Callable[[str], np.random.Generator]


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
