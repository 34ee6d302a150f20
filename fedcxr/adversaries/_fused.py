"""Several opinions as one: what networks and small pictures make of a film, compared in several ways and weighed.

All of it is learnt from films of one's own that are protected once more for this alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from fedcxr.adversaries import _back_end as back_end
from fedcxr.adversaries import _demographics as demographics
from fedcxr.adversaries._demographics import Demographics
from fedcxr.adversaries._examination import Scores
from fedcxr.adversaries._views import Views
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Films
from fedcxr.models.siamese import Siamese
from fedcxr.pairs.sampler import Rows
from fedcxr.training import predict
from fedcxr.training.compute import Compute

MOST = 2400  # own films at most: beyond that comparing them with each other costs more than it tells
TIMES = 4  # that each is protected
SHOWN = 2  # of these that networks look at, which takes longer than to count
AT_ONCE = 16  # films that meet one version of a mechanism


@dataclass(frozen=True)
class Practice:
    """Films of one's own, as they are and as they would be released."""

    rows: Rows  # (n,) which of one's own these are
    album: back_end.Album
    clean: Films  # (n, h, w)
    released: Sequence[Films]

    @classmethod
    def of(cls, own: Owned, views: Views, rng: np.random.Generator) -> Practice:
        """Of people held out and of others, everyone with all their films."""
        rows = _chosen(own, rng)
        portions = np.array_split(rows, max(1, len(rows) // AT_ONCE))
        released = [np.concatenate([views.released(some, rng) for some in portions]) for _ in range(TIMES)]
        clean = released[-1] if views.inner else own.films[rows]
        return cls(rows, back_end.Album(own.people[rows], own.held_out[rows]), clean, released)

    def opinion(
        self,
        networks: Sequence[Siamese],
        released: Films,
        known: Films,
        compute: Compute,
        told: Demographics | None = None,
    ) -> Scores:
        """Log-odds that a released and a known film are of one person, by networks, small pictures and what is told."""
        with compute.session():
            found = [back_end.comparisons(self._described(network, compute), self.album) for network in networks]
            found.append(self._by_pictures)
            seen = [
                [*(predict(network, films, compute) for network in networks), back_end.small_pictures(films)]
                for films in (released, known)
            ]
            if told is not None:
                found.append([demographics.comparison(told.own[self.rows], self.album)])
                seen = [[*numbers, told_of] for numbers, told_of in zip(seen, (told.released, told.known), strict=True)]
            return back_end.BackEnd.of(found, self.album).scores(*seen)

    def _described(self, network: Siamese, compute: Compute) -> back_end.Described:
        released = np.stack([predict(network, films, compute) for films in self.released[:SHOWN]])
        compare = _Comparing(network, compute)
        return back_end.Described(released, predict(network, self.clean, compute), compare, squashed=True)

    @cached_property
    def _by_pictures(self) -> list[back_end.Comparison]:
        """What needs no network, and is the same whatever networks have learnt by now."""
        released = np.stack([back_end.small_pictures(films) for films in self.released])
        return back_end.comparisons(back_end.Described(released, back_end.small_pictures(self.clean)), self.album)


@dataclass(frozen=True)
class _Comparing:
    """A network's own comparison of embeddings."""

    network: Siamese
    compute: Compute

    def __call__(self, some: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> Scores:
        with torch.inference_mode():
            first, second = (torch.from_numpy(numbers).to(self.compute.device) for numbers in (some, others))
            scores: Scores = self.network.compare(first, second).cpu().numpy()
        return scores


def _chosen(own: Owned, rng: np.random.Generator) -> Rows:
    """All films if these are few; else those of some people, held out ones first: there are fewer of them."""
    if len(own.people) <= MOST:
        return np.arange(len(own.people))
    people = np.unique(own.people)
    held_out = np.isin(people, own.people[own.held_out])
    order = people[np.lexsort((rng.random(len(people)), ~held_out))]
    place = np.empty(int(people.max()) + 1, dtype=np.intp)
    place[order] = np.arange(len(order))
    return np.sort(np.argsort(place[own.people], kind="stable")[:MOST])
