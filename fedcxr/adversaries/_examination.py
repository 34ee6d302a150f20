"""What an attacker knows of its own strength: one's own people whom it never learns from are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedcxr.adversaries._views import Views
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Films
from fedcxr.metrics import auc
from fedcxr.models.siamese import Siamese
from fedcxr.rng import stream
from fedcxr.training import predict
from fedcxr.training.compute import Compute
from fedcxr.training.rising import Figures

Scores = npt.NDArray[np.float32]  # (released, known)

JUDGED = 300  # held-out people at most: beyond that a look costs more than it tells
FEWEST_JUDGES = 8  # held-out people with two films, with whom an AUC begins to mean something
HELD_BACK = 0.1  # share of one's own people, where nobody is held out already


@dataclass(frozen=True)
class Examination:
    """Pairs of one's own people whom nobody has learnt from: one film as released, and another."""

    released: Films
    known: Films
    people: npt.NDArray[np.int64]  # whose each film is

    @classmethod
    def of(cls, own: Owned, views: Views, rng: np.random.Generator) -> Examination | None:
        """None where too few are held out."""
        rows = np.flatnonzero(own.held_out)
        people, films = np.unique(own.people[rows], return_counts=True)
        several = rng.permutation(people[films > 1])[:JUDGED]
        if len(several) < FEWEST_JUDGES:
            return None
        rows = rows[np.isin(own.people[rows], several)]
        # In small portions, so that films meet all versions of a mechanism.
        portions = np.array_split(rows, max(1, len(rows) // 16))
        released = np.concatenate([views.released(portion, rng) for portion in portions])
        return cls(released, released if views.inner else own.films[rows], own.people[rows])

    @property
    def apart(self) -> npt.NDArray[np.bool_]:  # (n, n)
        """Nobody is asked about a film that they have."""
        return ~np.eye(len(self.people), dtype=bool)

    @property
    def genuine(self) -> npt.NDArray[np.bool_]:  # (n, n)
        return np.asarray(self.people[:, None] == self.people[None])

    def figures(self, networks: Sequence[Siamese], compute: Compute) -> Figures:
        """Every network's AUC."""
        apart, genuine = self.apart, self.genuine
        scores = [compared(network, self.released, self.known, compute) for network in networks]
        return tuple(auc(genuine[apart], each[apart]) for each in scores)


def with_held_out(own: Owned) -> Owned:
    """The same films with people held out: those who were already, or else every tenth, if so many can be spared."""
    people, films = np.unique(own.people[own.held_out], return_counts=True)
    if (films > 1).sum() >= FEWEST_JUDGES:
        return own
    people, films = np.unique(own.people[~own.held_out], return_counts=True)
    several = people[films > 1]
    most = round(HELD_BACK * len(several))
    if most < FEWEST_JUDGES:
        return own
    held_back = stream(len(several), "held back").permutation(several)[:most]
    return Owned(own.films, own.people, own.sources, own.held_out | np.isin(own.people, held_back))


def compared(network: Siamese, released: Films, known: Films, compute: Compute) -> Scores:
    """The logit of every (released, known) pair: each film is embedded once."""
    with compute.session(), torch.inference_mode():
        first, second = (
            torch.from_numpy(predict(network, films, compute)).to(compute.device) for films in (released, known)
        )
        scores: Scores = network.compare(first, second).cpu().numpy()
    return scores
