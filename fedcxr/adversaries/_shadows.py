"""Shadow models: what the method learns from halves of the films that are asked about and of one's own.

They come in pairs, one of each half, so that every film was learnt from by half of all shadows. People are divided,
never films: who takes part does so with all films.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import Cohort
from fedcxr.methods import Method, Round, RunContext
from fedcxr.rng import stream
from fedcxr.view import Weights

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Shadow:
    """A model of one's own, whose films it was learnt from, and what it was on its way."""

    inside: Bools  # (n,)
    turns: tuple[Weights, ...]  # after those turns that were asked for, and after the last

    @property
    def model(self) -> Weights:
        """As it was in the end."""
        return self.turns[-1]


@dataclass(frozen=True)
class Training:
    """How shadows are learnt: each as by one site, in all the turns the method has."""

    method: Method
    begun: Weights | None  # where a federation's learning began; None: that is not known
    films: Cohort
    kept: Collection[int]  # turns
    seed: int
    context: RunContext

    def shadow(self, number: int) -> Shadow:
        """The shadow of this number: 0 and 1 are a pair, 2 and 3 are."""
        pair, side = divmod(number, 2)
        half = _half(self.films, stream(self.seed, "membership", "half", pair))
        inside = half if side == 0 else ~half
        films, rng = self.films.take(inside), stream(self.seed, "membership", "shadow", number)
        return Shadow(inside, tuple(self._learnt(films, rng)))

    def _learnt(self, films: Cohort, rng: np.random.Generator) -> Iterator[Weights]:
        learning, turns, weights = self.method.learning, turns_of(self.method), self.begun
        if weights is None and learning is not None and learning.place == "federated":
            weights = self.method.initial(rng)
        for number in range(turns):
            weights = self.method.learn(films, rng, self.context, weights, Round(number, turns))
            if number + 1 in self.kept or number + 1 == turns:
                yield weights


def turns_of(method: Method) -> int:
    """In how many turns a method learns."""
    return 1 if method.learning is None else method.learning.rounds


def _half(films: Cohort, rng: np.random.Generator) -> Bools:  # (n,)
    """The films of half of the people of each source."""
    people, first, number = np.unique(films.patients, return_index=True, return_inverse=True)
    source = films.index["source"].to_numpy(dtype=object)[first]
    chosen: Bools = np.zeros(len(people), dtype=np.bool_)
    for name in np.unique(source):
        drawn = rng.permutation(np.flatnonzero(source == name))
        chosen[drawn[: (len(drawn) + 1) // 2]] = True
    return np.asarray(chosen[number])
