"""Attacks that end in a picture: which numbers of an ambiguated code are true, and what film do they show?

    prior   looks at nothing: how often numbers are kept among films of one's own, and their mean
    order   no learning: in the published mechanism fakes lie beyond true values (only where values are in place)
    llr     by channel, how often such a value is true; of shuffled values, only their sizes are left to use
    net     a network that has seen many codes hidden as these are
    twice   two releases of one film: a number that stands in both is true

An attack that does no better than `prior` has learnt nothing about the film.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries import Guess, _support
from fedcxr.adversaries._outsider import Onlooker
from fedcxr.codes import Codes
from fedcxr.methods import Films
from fedcxr.methods.sca import Sca

if TYPE_CHECKING:
    from fedcxr.adversaries._support_net import Budget

Recovering = Literal["prior", "order", "llr", "net", "twice"]
EVERY: tuple[Recovering, ...] = ("prior", "order", "llr", "net", "twice")


@dataclass(frozen=True)
class Recovery:
    """An onlooker in front of what was released of some films."""

    onlooker: Onlooker
    films: int
    public: Codes | None  # (n, p, h, w)
    again: Codes | None  # (n, p, h, w)

    def guesses(
        self, attackers: Collection[Recovering], budget: Budget, rng: np.random.Generator
    ) -> dict[Recovering, Guess]:
        """What each of these attackers makes of the films; those that have nothing to work on are left out."""
        means: dict[Recovering, Callable[[], Guess | None]] = {
            "prior": lambda: self._guess(self._usual(), self.onlooker.pictures(None, self.films)),
            "order": self._by_order,
            "llr": self._by_likelihood,
            "net": lambda: self._by_network(budget, rng),
            "twice": self._twice,
        }
        made = {attacker: means[attacker]() for attacker in EVERY if attacker in attackers}
        return {attacker: guess for attacker, guess in made.items() if guess is not None}

    def _by_order(self) -> Guess | None:
        method = self.onlooker.method
        if self.public is None or not self._in_place or not isinstance(method, Sca):
            return None
        scores = _support.exact_order(self.public, method.s_n)
        return self._guess(scores, self.onlooker.decoded(self.public, scores))

    def _by_likelihood(self) -> Guess | None:
        practice = self.onlooker.practice
        if self.public is None or practice is None:
            return None
        scores = _support.likelihood_ratio(self.public, practice)
        if not practice.in_place:
            return self._guess(scores, self.onlooker.pictures(self.public, self.films))
        return self._guess(scores, self.onlooker.decoded(self.public, scores))

    def _by_network(self, budget: Budget, rng: np.random.Generator) -> Guess | None:
        from fedcxr.adversaries import _support_net  # imports torch

        onlooker, practice = self.onlooker, self.onlooker.practice
        if self.public is None or practice is None:
            return None

        def hide(rows: npt.NDArray[np.intp], step: int) -> Codes:
            hidden = onlooker.hidden_codes(practice.codes[rows], rng)
            assert hidden is not None
            return hidden

        codec = onlooker.codec
        net = _support_net.train(practice, hide, codec.expand, budget, rng, codec.compute)
        scores, codes = net.attack(self.public)
        return self._guess(scores, codec.picture(codes, onlooker.size))

    def _twice(self) -> Guess | None:
        if self.public is None or self.again is None:
            return None
        pictures = self.onlooker.pictures(self.public, self.films, self.again)
        # Shuffled anew, two public codes have no place in common; their sizes of value are all there is to compare.
        scores = _support.intersection(self.public, self.again) if self._in_place else self._usual()
        return self._guess(scores, pictures)

    @property
    def _in_place(self) -> bool:
        return self.onlooker.practice is not None and self.onlooker.practice.in_place

    def _usual(self) -> _support.Scores:
        return _support.prior(self.onlooker.usual, self.films)

    @staticmethod
    def _guess(scores: _support.Scores, pictures: Films) -> Guess:
        return Guess(scores.astype(np.float16), pictures)
