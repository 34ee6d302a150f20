"""Whose films are these codes, and what do they show? Attackers without a key who know codec and mechanism."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self, cast

import numpy as np
import pydantic

from fedcxr.adversaries import Adversary, Leak, Progress, _linking, _recovery
from fedcxr.codes import support
from fedcxr.errors import DataError
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Form, RunContext
from fedcxr.questions import Answer, Answers
from fedcxr.questions._rising import WITHOUT_EFFORT
from fedcxr.questions.linkage import Scores
from fedcxr.rng import stream
from fedcxr.view import Rows, Weights

if TYPE_CHECKING:
    from fedcxr.methods._coded import CodeMethod
    from fedcxr.training.compute import Compute

# Torch, scipy and scikit-learn are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second.


class Support(Adversary):
    """Without a key, from what is public of codes: whose are they, and what do they show?

    `attackers` link codes to known films, and `learned` also codes to each other (`_linking`); `recovery` names attacks
    on the support, which end in a picture of each film (`_recovery`).

    `learned` sees all that `values` and `decoded` see, and learns what to make of it. Those two stay for comparison:
    too weak to tell patients apart even by unprotected codes, they leave a run inconclusive.
    """

    answers: ClassVar[tuple[str, ...]] = ("linkage", "inner_linkage", "reconstruction", "same_film")
    reads: ClassVar[frozenset[Form]] = frozenset({"purified"})

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

    def on_smoke_budget(self) -> Self:
        return self.model_copy(update={"recovery": ()})

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        answers = {
            "linkage": self._link,
            "inner_linkage": self._join,
            "reconstruction": self._reconstruct,
            "same_film": self._recognise,
        }
        with compute.session():
            return answers[question](leak, seed, compute, progress)

    def _link(self, leak: Leak, seed: int, compute: Compute, progress: Progress) -> Answers:
        rng = stream(seed, "support")
        practice, album = self._practice(leak.own, rng), self._album(leak.own, rng)
        known = leak.known
        scores: dict[str, Scores] = {
            attacker: np.zeros((len(leak.view), len(known)), dtype=np.float32) for attacker in self.attackers
        }
        done = 0
        for seen in _linking.versions(leak, rng, RunContext.on(compute)):
            for attacker in self.attackers:
                if attacker == "learned":
                    judged = _linking.learned(seen, known, album, rng)
                else:
                    judged = _linking.compared(attacker, seen, known, practice)
                scores[attacker][seen.rows] = judged
            done += len(seen.rows)
            progress("support", done, len(leak.view))
        return {attacker: self._at_once(attacker, found, leak.own) for attacker, found in scores.items()}

    def _at_once(self, attacker: str, scores: Scores, own: Owned) -> Answer:
        """`learned` follows in closed form from all films that it owns, if it studied them all."""
        whole = attacker == "learned" and len(own.people) <= self.studied
        return {"scores": scores, **(WITHOUT_EFFORT if whole else {})}

    def _join(self, leak: Leak, seed: int, compute: Compute, progress: Progress) -> Answers:
        """Codes with each other, which takes a learnt metric."""
        if "learned" not in self.attackers or leak.given is None:
            return {}
        rng = stream(seed, "support", "inner")
        seen = list(_linking.versions(leak, rng, RunContext.on(compute)))
        sites = np.asarray(leak.given.arrays["sites"], dtype=np.int64)
        scores = _linking.joined(seen, sites, self._album(leak.own, rng), rng)
        progress("support, inner", len(scores), len(scores))
        return {"learned": self._at_once("learned", scores, leak.own)}

    def _reconstruct(self, leak: Leak, seed: int, compute: Compute, progress: Progress) -> Answers:
        from fedcxr.adversaries._support_net import Budget

        if "sealed" not in leak.view.forms:
            return self._read(leak, RunContext.on(compute))
        if not self.recovery:
            return {}
        rng = stream(seed, "support", "recovery")
        budget = Budget(steps=self.steps, width=self.width)
        parts: list[tuple[Rows, dict[_recovery.Recovering, Answer]]] = []
        for rows, keyless in _linking.without_keys(leak, RunContext.on(compute)):
            public, again = (None if codes is None else codes[rows] for codes in _linking.published(leak))
            recovery = _recovery.Recovery(keyless, len(rows), public, again)
            parts.append((rows, recovery.guesses(self.recovery, budget, rng)))
            progress("support, recovery", sum(len(own) for own, _ in parts), len(leak.view))
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))

        def joined(attacker: _recovery.Recovering) -> Answer:
            own = [guesses[attacker] for _, guesses in parts]
            return {part: np.concatenate([guess[part] for guess in own])[order] for part in own[0]}

        return {attacker: joined(attacker) for attacker in parts[0][1]}

    def _read(self, leak: Leak, context: RunContext) -> Answers:
        """In the control on unprotected films no number of a code is hidden, and whoever looks sees the film.

        That costs nothing, so that every attack has it on any budget.
        """
        from fedcxr.methods.sca import Sca

        codec, films = Sca().codec({}, context), np.asarray(leak.view.forms["films"], dtype=np.uint8)
        shown = codec.decode(codec.encode(films), (films.shape[1], films.shape[2]))
        usual = np.broadcast_to(np.round(leak.own.films.mean(axis=0)).astype(np.uint8), films.shape)
        return {attacker: {"pictures": usual if attacker == "prior" else shown} for attacker in _recovery.EVERY}

    def _recognise(self, leak: Leak, seed: int, compute: Compute, progress: Progress) -> Answers:
        """By where its numbers stand, or by how often each size occurs if they were shuffled."""
        paired, method = leak.holdings["pairs"].arrays, leak.mechanism
        if method is None:
            return {}
        public = np.asarray(paired["codes"], dtype=np.int8)
        films = leak.own.films[np.asarray(paired["films"])]
        scores = np.zeros((len(films), len(films)), dtype=np.float32)
        in_place = cast("CodeMethod", method).in_place
        for version, weights in enumerate(leak.taught):
            rows = np.flatnonzero(paired["versions"] == version)
            if not len(rows):
                continue
            candidates = np.asarray(method.clean("purified", films, weights, RunContext.on(compute)), dtype=np.int8)
            compare = support.candidates_in_place if in_place else support.candidates_by_values
            scores[rows] = compare(public[rows], candidates)
        return {"place" if in_place else "values": {"scores": scores}}

    def _practice(self, own: Owned, rng: np.random.Generator) -> Owned:
        """Films of people who have two or more, a person's films together."""
        people, films = np.unique(own.people, return_counts=True)
        several = rng.permutation(people[films > 1])
        rows = [np.flatnonzero(own.people == person) for person in several[: self.own // 2]]
        if len(rows) < 2:
            raise DataError("this attack practises on people with two films or more, and needs two such people")
        return own.take(np.sort(np.concatenate(rows)[: self.own]))

    def _album(self, own: Owned, rng: np.random.Generator) -> Owned:
        """Films of anybody, as many as are studied."""
        people = rng.permutation(len(own.people))[: self.studied]
        return own.take(np.sort(people))
