"""Who is asked whether two films are of one patient: a correlation, and a verifier that goes on with other films."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcxr.adversaries._sampler import OwnPairSampler
from fedcxr.adversaries._shipped import Verifier, prepared
from fedcxr.knowledge.own_films import Owned
from fedcxr.models.siamese import partner_loss
from fedcxr.training import Plan, fit, to_tensor
from fedcxr.training.augmentation import Augmentation

Films = npt.NDArray[np.uint8]  # (n, h, w)
Matrix = npt.NDArray[np.float32]  # (n, n) a score for every pair; higher means more likely the same patient


def among(verifier: Verifier, films: Films) -> Matrix:
    """All pairs of these films; nan where a film meets itself."""
    scores = verifier.scores(films, films)
    np.fill_diagonal(scores, np.nan)
    return scores


@dataclass(frozen=True)
class Corpus:
    """Films to learn from, and how many people of them stand in a batch."""

    films: Films
    patients: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]
    people: int

    def album(self) -> OwnPairSampler:
        return OwnPairSampler.owned(
            Owned(self.films, self.patients, self.sources, np.zeros(len(self.films), dtype=np.bool_))
        )


@dataclass(frozen=True)
class Recipe:
    """How a verifier goes on with real films; docs/results.md says on which this was chosen."""

    augmentation: Augmentation = field(default_factory=Augmentation)
    sharpness: float = 8.0
    same_source: float = 0.5
    lone: float = 0.3
    plan: Plan = field(default_factory=lambda: Plan(400, 4e-3))

    def tuned(self, start: Verifier, corpora: Sequence[Corpus], rng: np.random.Generator) -> Verifier:
        """A copy of `start`, gone on with other films."""
        network, compute = copy.deepcopy(start.network), start.compute
        albums = [(corpus, corpus.album()) for corpus in corpora]

        def loss(step: int) -> Tensor:
            drawn = [(corpus, album.draw(corpus.people, self.same_source, rng, self.lone)) for corpus, album in albums]
            films = np.concatenate([corpus.films[rows] for corpus, pair in drawn for rows in pair])
            embedded = network.embed(prepared(self.augmentation(to_tensor(films, compute), rng)))
            parts = embedded.split([len(rows) for _, pair in drawn for rows in pair])
            # Each corpus by itself: telling an adult from a child is no verification.
            losses = [
                partner_loss(network.compare(a, b), self.sharpness)
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
            return torch.stack(losses).mean()

        fit(network, loss, self.plan, compute)
        return replace(start, network=network)
