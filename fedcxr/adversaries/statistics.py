"""Whose are these releases, by what can be counted and weighed of them? Attackers that look at no picture.

What is attacked is what was released: of films their sizes when compressed, grey levels, rows and columns, spectrum,
edges, noise, and the outline of what was touched; of codes the sizes and places of their values; and complaints, which
a release tells film by film. Of each block of numbers a comparison is learnt on films of one's own, and of all of them.

Nothing else that crosses the border tells one film from another: films are released in an order drawn at random, in one
array per site, so that bytes and seconds of an answer are sums over all of a site's films, and a film that was left out
leaves no row that could be linked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import pydantic

from fedcxr.adversaries import Adversary, Leak, Progress, _code_numbers, _film_numbers
from fedcxr.adversaries._appearance import appearances, not_granted, pictures
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Films, RunContext
from fedcxr.methods import Form as Reads
from fedcxr.questions import Answers
from fedcxr.questions.linkage import Scores
from fedcxr.rng import stream
from fedcxr.view import Array, Weights

if TYPE_CHECKING:
    from fedcxr.adversaries._by_numbers import Count, Described, Form, Numbers
    from fedcxr.codes import Codes
    from fedcxr.methods._keyless import Keyless
    from fedcxr.training.compute import Compute

Attacker = Literal[
    "all",
    "sizes",
    "histogram",
    "projections",
    "spectrum",
    "noise",
    "edges",
    "masks",
    "cells",
    "complaints",
    "correlation",
]  # fmt: skip


class Statistics(Adversary):
    """Links releases to known films by what can be counted of them: blocks of numbers, each an attacker, and `all`.

    `correlation` of pictures is there for comparison: too weak to tell patients apart even on unprotected films, it
    leaves a run inconclusive, and so does each block by itself. No network is trained.
    """

    reads: ClassVar[frozenset[Reads]] = frozenset({"films", "purified"})

    attackers: tuple[Attacker, ...] = ("all",)
    studied: int = pydantic.Field(
        default=3000, ge=8, le=100_000, description="films of its own it learns from, at most"
    )
    draws: int = pydantic.Field(
        default=2, ge=1, le=64, description="how often it protects a film to guess what to expect of its release"
    )

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        return self.attackers

    def on_smoke_budget(self) -> Self:
        return self.model_copy(update={"studied": min(self.studied, 300), "draws": 1})

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        from fedcxr.adversaries import _by_numbers  # imports scipy

        rng = stream(seed, "statistics")
        own, known, done = self._studied(leak.own, rng), leak.known, 0
        shape = (len(leak.view), len(known))
        scores: dict[str, Scores] = {attacker: np.zeros(shape, dtype=np.float32) for attacker in self.attackers}
        with compute.session():
            for form in self._forms(leak, RunContext.on(compute)):
                blocks = _by_numbers.described(form, own.films, known, rng)
                blocks |= self._complaints(leak, form, own.films)
                found = _by_numbers.log_odds(blocks, own, rng) if blocks else {}
                if "correlation" in self.attackers:
                    found["correlation"] = _by_numbers.correlated(form, own, known, rng)
                for attacker in self.attackers:
                    scores[attacker][form.rows] = found.get(attacker, np.float32(0))  # no such numbers, no answer
                done += len(form.rows)
                progress("statistics", done, len(leak.view))
        if done < len(leak.view):
            progress("statistics", len(leak.view), len(leak.view))  # of the rest nothing was public
        return {attacker: {"scores": judged} for attacker, judged in scores.items()}

    def _studied(self, own: Owned, rng: np.random.Generator) -> Owned:
        """Films of as many people as are studied, all of each."""
        people = own.people[rng.permutation(len(own.people))]
        turn = {person: place for place, person in enumerate(dict.fromkeys(people.tolist()))}
        order = np.argsort([turn[person] for person in own.people.tolist()], kind="stable")
        return own.take(np.sort(order[: self.studied]))

    def _forms(self, leak: Leak, context: RunContext) -> Iterator[Form]:
        """What was released, version by version of what the method learnt."""
        return self._coded(leak, context) if "sealed" in leak.view.forms else self._shown(leak, context)

    def _shown(self, leak: Leak, context: RunContext) -> Iterator[Form]:
        from fedcxr.adversaries._by_numbers import Form

        looks = appearances(leak, context)
        if not looks:
            who = "these attackers protect films of their own, so they"
            raise not_granted(leak, who, "set knowledge.mechanism to true")
        films = pictures(leak, looks)
        for version, look in enumerate(looks):
            rows = np.flatnonzero(leak.view.versions == version)
            if len(rows):
                blocks = self._wanted(_film_numbers.BLOCKS)
                yield Form(rows, films[rows], look.protected, _as_it_is, _as_it_is, blocks, self.draws)

    def _coded(self, leak: Leak, context: RunContext) -> Iterator[Form]:
        from fedcxr.adversaries import _linking
        from fedcxr.adversaries._by_numbers import Form

        public, _ = _linking.published(leak)
        for rows, keyless in _linking.without_keys(leak, context):
            if public is not None:
                codes, blocks = public[rows], self._wanted(_code_numbers.BLOCKS)

                def hide(films: Films, rng: np.random.Generator, keyless: Keyless = keyless) -> Codes:
                    hidden = keyless.hidden(films, rng)
                    assert hidden is not None, "codes were public"
                    return hidden

                def look(shown: Codes, keyless: Keyless = keyless) -> Films:
                    return keyless.pictures(shown, len(shown))

                yield Form(rows, codes, hide, keyless.codec.encode, look, blocks, self.draws)

    def _wanted(self, blocks: Mapping[str, Count]) -> dict[str, Count]:
        """Those that somebody looks at."""
        every = "all" in self.attackers
        return {name: count for name, count in blocks.items() if every or name in self.attackers}

    def _complaints(self, leak: Leak, form: Form, own: Films) -> dict[str, Described]:
        """What the method has against films, which it tells of those that it released."""
        from fedcxr.adversaries._by_numbers import Described

        told, method = leak.view.forms.get("complaints"), leak.mechanism
        if told is None or method is None or not self._wanted({"complaints": _flags}):
            return {}
        mine, known = (_flags(method.complaints(films)) for films in (own, leak.known))
        return {"complaints": Described(_flags(told[form.rows]), [mine], [(mine, known)])}


def _as_it_is(films: Films) -> Films:
    return films


def _flags(told: Sequence[str | None] | Array) -> Numbers:  # (n, 1)
    """Whether there is a complaint about each film."""
    return np.array([[one is not None and bool(one)] for one in told], dtype=np.float32).reshape(-1, 1)
