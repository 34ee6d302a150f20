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

from fedcxr.codes import Codes, support
from fedcxr.methods._keyless import Keyless
from fedcxr.questions import Answer
from fedcxr.view import Films

if TYPE_CHECKING:
    from fedcxr.adversaries._support_net import Budget

Recovering = Literal["prior", "order", "llr", "net", "twice"]
EVERY: tuple[Recovering, ...] = ("prior", "order", "llr", "net", "twice")


@dataclass(frozen=True)
class Recovery:
    """Somebody without keys in front of what was released of some films."""

    keyless: Keyless
    films: int
    public: Codes | None  # (n, p, h, w)
    again: Codes | None  # (n, p, h, w)

    def guesses(
        self, attackers: Collection[Recovering], budget: Budget, rng: np.random.Generator
    ) -> dict[Recovering, Answer]:
        """What each of these attackers makes of the films; those that have nothing to work on are left out."""
        means: dict[Recovering, Callable[[], Answer | None]] = {
            "prior": lambda: self._answer(self._usual(), self.keyless.pictures(None, self.films)),
            "order": self._by_order,
            "llr": self._by_likelihood,
            "net": lambda: self._by_network(budget, rng),
            "twice": self._twice,
        }
        made = {attacker: means[attacker]() for attacker in EVERY if attacker in attackers}
        return {attacker: guess for attacker, guess in made.items() if guess is not None}

    def _by_order(self) -> Answer | None:
        scores = None if self.public is None else self.keyless.method.by_order(self.public)
        if self.public is None or scores is None:
            return None
        return self._answer(scores, self.keyless.decoded(self.public, scores))

    def _by_likelihood(self) -> Answer | None:
        practice = self.keyless.practice
        if self.public is None or practice is None:
            return None
        scores = support.likelihood_ratio(self.public, practice)
        if not practice.in_place:
            return self._answer(scores, self.keyless.pictures(self.public, self.films))
        return self._answer(scores, self.keyless.decoded(self.public, scores))

    def _by_network(self, budget: Budget, rng: np.random.Generator) -> Answer | None:
        from fedcxr.adversaries import _support_net  # imports torch

        keyless, practice = self.keyless, self.keyless.practice
        if self.public is None or practice is None:
            return None

        def hide(rows: npt.NDArray[np.intp], step: int) -> Codes:
            hidden = keyless.hidden_codes(practice.codes[rows], rng)
            assert hidden is not None
            return hidden

        codec = keyless.codec
        net = _support_net.train(practice, hide, codec.expand, budget, rng, codec.compute)
        scores, codes = net.attack(self.public)
        return self._answer(scores, codec.picture(codes, keyless.size))

    def _twice(self) -> Answer | None:
        if self.public is None or self.again is None:
            return None
        pictures = self.keyless.pictures(self.public, self.films, self.again)
        # Shuffled anew, two public codes have no place in common; their sizes of value are all there is to compare.
        scores = support.intersection(self.public, self.again) if self._in_place else self._usual()
        return self._answer(scores, pictures)

    @property
    def _in_place(self) -> bool:
        return self.keyless.practice is not None and self.keyless.practice.in_place

    def _usual(self) -> support.Scores:
        return support.prior(self.keyless.usual, self.films)

    @staticmethod
    def _answer(scores: support.Scores, pictures: Films) -> Answer:
        return {"support": scores.astype(np.float16), "pictures": pictures}
