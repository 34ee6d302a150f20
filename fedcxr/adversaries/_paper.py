"""The published attacker, as it was published: how much privacy does a method seem to have by its authors' own measure?

Protocol: Packhaeuser et al., MICCAI 2023: a fresh network learns from 10,000 fixed, balanced pairs of two protected
films with one label per pair, until 2,000 pairs of others have not got better for five epochs; it is then tested on
protected against real films. Every film is protected once.
Our deviations: where the network is narrow it starts from nothing instead of from ImageNet, and is ten times as fast.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from fedcxr.adversaries._training import Streams
from fedcxr.adversaries._views import Views
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Films
from fedcxr.models.siamese import Siamese
from fedcxr.pairs.sampler import PairSampler, Rows
from fedcxr.training import epochs, optimisers, to_tensor
from fedcxr.training.compute import Compute

AT_ONCE = 64  # films that are protected together
MOST_EPOCHS = 100


@dataclass(frozen=True)
class Protocol:
    """The numbers of the paper."""

    learning_rate: float = 1e-4
    pairs: int = 10_000
    validation_pairs: int = 2_000
    batch: int = 32  # pairs
    patience: int = 5  # epochs


@dataclass(frozen=True)
class Pairs:
    """Rows of two films each, and whether they are of one person."""

    first: Rows
    second: Rows
    genuine: npt.NDArray[np.bool_]

    @classmethod
    def drawn(
        cls, people: npt.NDArray[np.int64], among: npt.NDArray[np.bool_], number: int, rng: np.random.Generator
    ) -> Pairs | None:
        """As many genuine as others; None where there are no two people with two films."""
        rows = np.flatnonzero(among)
        sampler = PairSampler.of(people[rows].astype(object))
        if sampler.paired < 2:
            return None
        several = np.flatnonzero(sampler.count > 1)
        a, b = sampler.two_each(rng.choice(several, number // 2), rng)
        c, d = rng.integers(len(rows), size=(2, 4 * number))
        strangers = np.flatnonzero(people[rows[c]] != people[rows[d]])[: number // 2]
        first, second = np.concatenate([a, c[strangers]]), np.concatenate([b, d[strangers]])
        return cls(rows[first], rows[second], np.arange(len(first)) < len(a))


def published(
    network: Siamese,
    own: Owned,
    views: Views,
    protocol: Protocol,
    compute: Compute,
    streams: Streams,
    progress: Callable[[int, int], None],
) -> Siamese:
    """The network that did best on the pairs it was not trained on."""
    films = _protected_once(own, views, streams("protection"))
    learnt = Pairs.drawn(own.people, ~own.held_out, protocol.pairs, streams("pairs"))
    judged = Pairs.drawn(own.people, own.held_out, protocol.validation_pairs, streams("validation"))
    assert learnt is not None  # what a verifier of clean films could learn from is enough
    optimiser = optimisers.Adam(network.parameters(), lr=protocol.learning_rate, fused=True)
    batches = epochs(len(learnt.genuine), protocol.batch, streams("batches"))
    loss = partial(_loss, network, films, compute)
    best, kept, waited = np.inf, copy.deepcopy(network.state_dict()), 0
    with compute.session():
        for epoch in range(MOST_EPOCHS):
            network.train()
            for _ in range(max(1, len(learnt.genuine) // protocol.batch)):
                value = loss(learnt, next(batches))
                optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(value)
                optimiser.step()
            network.eval()
            progress(epoch + 1, MOST_EPOCHS)
            now = _mean_loss(loss, judged or learnt, protocol.batch)
            best, waited = (now, 0) if now < best else (best, waited + 1)
            if waited == 0:
                kept = copy.deepcopy(network.state_dict())
            if waited == protocol.patience:
                break
    network.load_state_dict(kept)
    return network.eval()


def _protected_once(own: Owned, views: Views, rng: np.random.Generator) -> Films:
    portions = np.array_split(np.arange(len(own.films)), max(1, len(own.films) // AT_ONCE))
    return np.concatenate([views.released(portion, rng) for portion in portions])


def _loss(network: Siamese, films: Films, compute: Compute, pairs: Pairs, chosen: Rows) -> Tensor:
    """Binary cross-entropy, one label per pair."""
    first, second = pairs.first[chosen], pairs.second[chosen]
    with compute.autocast():
        embedded = network.embed(to_tensor(np.concatenate([films[first], films[second]]), compute))
    apart = (embedded[: len(first)] - embedded[len(first) :]).abs()
    genuine = torch.from_numpy(pairs.genuine[chosen].astype(np.float32)).to(compute.device)
    return F.binary_cross_entropy_with_logits(network.head(apart)[:, 0].float(), genuine)


@torch.inference_mode()
def _mean_loss(loss: Callable[[Pairs, Rows], Tensor], pairs: Pairs, batch: int) -> float:
    portions: Sequence[Rows] = np.array_split(np.arange(len(pairs.genuine)), max(1, len(pairs.genuine) // batch))
    return sum(float(loss(pairs, portion)) * len(portion) for portion in portions) / len(pairs.genuine)
