"""Whose films are these codes, and what do they show? Attackers without a key who know codec and mechanism."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.adversaries import Adversary, Auxiliary, Guess, Leak, Progress, Scores, _linking, _recovery, _support
from fedcxr.errors import DataError
from fedcxr.methods import Weights, Workshop
from fedcxr.methods._coded import CodeMethod
from fedcxr.release import Kind
from fedcxr.rng import stream

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

# Torch, scipy and scikit-learn are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second.


class Support(Adversary):
    """`attackers` link codes to known films (`_linking`); `recovery` names attacks on the support, which end in a
    picture of each film (`_recovery`).

    `learned` sees all that `values` and `decoded` see, and learns what to make of it. Those two stay for comparison:
    too weak to tell patients apart even by unprotected codes, they leave a run inconclusive.
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"codes"})

    attackers: tuple[Literal["learned", "values", "decoded"], ...] = ("learned",)
    recovery: tuple[_recovery.Recovering, ...] = _recovery.EVERY
    studied: int = pydantic.Field(
        default=3000, ge=4, le=100_000, description="films of its own that `learned` learns from, at most"
    )
    own: int = pydantic.Field(
        default=300, ge=2, le=10_000, description="films of its own that `values` and `decoded` practise on, at most"
    )
    steps: int = pydantic.Field(default=150, ge=1, description="training steps of `net`")
    width: int = pydantic.Field(default=64, ge=1, description="channels of `net`")

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        return (*self.attackers, *self.recovery)

    def briefly(self) -> Self:
        return self.model_copy(update={"recovery": ()})

    def attack(
        self, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Mapping[str, Scores]:
        rng = stream(seed, "support")
        practice, album = self._practice(leak.auxiliary, rng), self._album(leak.auxiliary, rng)
        scores: dict[str, Scores] = {
            attacker: np.zeros((len(leak.released), len(leak.known)), dtype=np.float32) for attacker in self.attackers
        }
        done = 0
        with compute.session():
            for view in _linking.views(leak, rng, Workshop.on(compute)):
                for attacker in self.attackers:
                    if attacker == "learned":
                        judged = _linking.learned(view, leak.known, album, rng)
                    else:
                        judged = _linking.compared(attacker, view, leak.known, practice)
                    scores[attacker][view.rows] = judged
                done += len(view.rows)
                progress("support", done, len(leak.released))
        return scores

    def recover(self, leak: Leak, seed: int, compute: Compute, progress: Progress) -> Mapping[str, Guess]:
        from fedcxr.adversaries._support_net import Budget

        if leak.coded is None or not self.recovery:
            return {}
        coded, rng = leak.coded, stream(seed, "support", "recovery")
        budget = Budget(steps=self.steps, width=self.width)
        parts: list[tuple[npt.NDArray[np.intp], dict[_recovery.Recovering, Guess]]] = []
        with compute.session():
            for rows, onlooker in _linking.onlookers(leak, Workshop.on(compute)):
                public, again = (None if codes is None else codes[rows] for codes in (coded.public, coded.again))
                recovery = _recovery.Recovery(onlooker, len(rows), public, again)
                parts.append((rows, recovery.guesses(self.recovery, budget, rng)))
                progress("support, recovery", sum(len(own) for own, _ in parts), len(leak.released))
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))

        def together(attacker: _recovery.Recovering) -> Guess:
            own = [guesses[attacker] for _, guesses in parts]
            support, pictures = (np.concatenate([getattr(g, part) for g in own])[order] for part in vars(own[0]))
            return Guess(support, pictures)

        return {attacker: together(attacker) for attacker in parts[0][1]}

    def recognise(self, leak: Leak, compute: Compute) -> Mapping[str, Scores]:
        """By where its numbers stand, or by how often each size occurs if they were shuffled."""
        pairs, method = leak.coded.pairs if leak.coded else None, leak.mechanism
        if pairs is None or not isinstance(method, CodeMethod):
            return {}
        films = leak.auxiliary.films[pairs.films]
        scores = np.zeros((len(films), len(films)), dtype=np.float32)
        in_place = False
        for version, weights in enumerate(leak.learnt or ({},)):
            rows = np.flatnonzero(pairs.versions == version)
            if len(rows):
                candidates = method.codec(weights, Workshop.on(compute)).encode(films)
                in_place = pairs.public.shape[1:] == candidates.shape[1:]
                compare = _support.candidates_in_place if in_place else _support.candidates_by_values
                scores[rows] = compare(pairs.public[rows], candidates)
        return {"place" if in_place else "values": scores}

    def _practice(self, auxiliary: Auxiliary, rng: np.random.Generator) -> Auxiliary:
        """Films of people who have two or more, a person's films together."""
        people, films = np.unique(auxiliary.people, return_counts=True)
        several = rng.permutation(people[films > 1])
        rows = [np.flatnonzero(auxiliary.people == person) for person in several[: self.own // 2]]
        if len(rows) < 2:
            raise DataError("this attack practises on people with two films or more, and needs two such people")
        return _of(auxiliary, np.sort(np.concatenate(rows)[: self.own]))

    def _album(self, auxiliary: Auxiliary, rng: np.random.Generator) -> Auxiliary:
        """Films of anybody, as many as are studied."""
        people = rng.permutation(len(auxiliary.people))[: self.studied]
        return _of(auxiliary, np.sort(people))


def _of(auxiliary: Auxiliary, rows: npt.NDArray[np.intp]) -> Auxiliary:
    return Auxiliary(*(array[rows] for array in vars(auxiliary).values()))
