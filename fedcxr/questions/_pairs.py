"""Films against films: which pairs an attacker of identities is asked about, and what only the scorer knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from fedcxr.codes.support import correlation
from fedcxr.metrics.label_baseline import LabelBaseline
from fedcxr.rng import stream
from fedcxr.view import Rows
from fedcxr.world import Roles, World

Scores = npt.NDArray[np.float32]  # (attacked films, known films): higher means more likely the same patient
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Baselines:
    """What needs no adversary: the same pairs of films, unprotected, in the eyes of who learns nothing from pixels."""

    world: World
    roles: Roles
    films: Rows  # (n,)
    known: Rows  # (m,)

    @cached_property
    def correlation(self) -> Scores:
        """Of the pixels."""
        cohort = self.world.cohort
        return correlation(cohort.films(self.films), cohort.films(self.known))

    @cached_property
    def labels(self) -> Scores:
        """Who sees both films' true labels and no pixel; it learnt on the adversary's own."""
        cohort = self.world.cohort
        own = cohort.take(~self.world.tested)  # whichever of them the adversary owns
        floor = LabelBaseline.fit(own.labels, own.patients, stream(self.world.seed, "label floor"))
        return floor.score(cohort.labels[self.films], cohort.labels[self.known])


@dataclass(frozen=True)
class ScoredPairs:
    """Every attacked film against every known one, with what only the scorer knows about them."""

    patients: npt.NDArray[np.object_]  # (n,) of the attacked films
    known_patients: npt.NDArray[np.object_]  # (m,)
    sites: npt.NDArray[np.object_]  # (n,) which hospital released them
    sources: npt.NDArray[np.object_]  # (n,)
    known_sources: npt.NDArray[np.object_]  # (m,)
    labels: npt.NDArray[np.float32]  # (n, k)
    known_labels: npt.NDArray[np.float32]  # (m, k)
    views: npt.NDArray[np.object_] | None = None  # (n,) from where the beam came: AP is how the bedridden are X-rayed
    baselines: Baselines | None = field(default=None, repr=False)
    across: bool | None = None  # None: two sides. Else both sides are the same films; True: those of two sites count
    told: Bools | None = None  # (n,) of which attacked films the adversary can read the findings; None: of all
    opened: Bools | None = None  # (n,) which of them are what opens to who has every key; None: no keys
    readers: Mapping[str, Bools] = field(default_factory=dict)  # (n,) by name, which attacked films are open to whom

    @classmethod
    def of(cls, world: World, roles: Roles) -> ScoredPairs:
        """Releases of the attacked against known films."""
        rows, known = world.rows_of(roles.attacked), np.flatnonzero(roles.known)
        return cls._between(world, roles, rows, known, None)

    @classmethod
    def among(cls, world: World, roles: Roles, across: bool) -> ScoredPairs:
        """Releases of the attacked against each other."""
        rows = world.rows_of(roles.attacked)
        return cls._between(world, roles, rows, world.released.films[rows], across)

    @classmethod
    def _between(cls, world: World, roles: Roles, rows: Bools, known: Rows, across: bool | None) -> ScoredPairs:
        films = world.released.films[rows]
        attacked, others = world.cohort.take(films), world.cohort.take(known)
        return cls(
            patients=world.patients[films],
            known_patients=world.patients[known],
            sites=world.released.sites[rows],
            sources=attacked.index["source"].to_numpy(dtype=object),
            known_sources=others.index["source"].to_numpy(dtype=object),
            labels=attacked.labels,
            known_labels=others.labels,
            views=attacked.index["view"].to_numpy(dtype=object),
            baselines=Baselines(world, roles, films, known),
            across=across,
        )

    def of_rows(self, rows: Bools) -> Self:
        """These attacked films alone, against everybody who is known."""
        assert self.across is None, "attacked films are both sides"
        of_films = {name: getattr(self, name)[rows] for name in ("patients", "sites", "sources", "labels")}
        return replace(self, **of_films, views=None, baselines=None, told=None, opened=None, readers={})

    @cached_property
    def codes(self) -> tuple[Codes, Codes]:
        """Numbers for patients, of the attacked films (n,) and of the known (m,): fast to compare."""
        _, both = np.unique(np.concatenate([self.patients, self.known_patients]), return_inverse=True)
        return both[: len(self.patients)], both[len(self.patients) :]

    @cached_property
    def genuine(self) -> Bools:  # (n, m)
        return np.asarray(self.codes[0][:, None] == self.codes[1][None, :])

    @cached_property
    def same_source(self) -> Bools:  # (n, m)
        return np.asarray(self.sources[:, None] == self.known_sources[None, :])

    @cached_property
    def allowed(self) -> Bools:  # (n, m)
        """Which pairs may be compared: never a film with itself."""
        if self.across is None:
            return np.ones(self.genuine.shape, dtype=bool)
        if self.across:
            return np.asarray(self.sites[:, None] != self.sites[None, :])
        return ~np.eye(len(self.patients), dtype=bool)

    @cached_property
    def once(self) -> Bools:  # (n, m)
        """The same, each pair once."""
        return self.allowed if self.across is None else np.triu(self.allowed)

    def fair(self, scores: Scores) -> Scores:
        """As they are compared: of the two scores of one pair of films, the mean."""
        return scores if self.across is None else np.asarray(scores / 2 + scores.T / 2, dtype=np.float32)
