"""What a membership attack works on: the shared model, films that are asked about and films of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fedcxr.adversaries import Leak
from fedcxr.adversaries._membership_signals import Losses, Margins
from fedcxr.adversaries._shadows import turns_of
from fedcxr.cohort import COLUMNS, Cohort
from fedcxr.data._vocabulary import align_cohort, union
from fedcxr.errors import ConfigError
from fedcxr.knowledge import Holding
from fedcxr.knowledge.own_records import records_in
from fedcxr.methods import Method, RunContext
from fedcxr.metrics.confidence import losses, margins, mean_known
from fedcxr.rng import stream
from fedcxr.view import Films, Rows, Weights

ASKED, OWN = "asked", "own"  # where films are from, in place of a hospital


@dataclass(frozen=True)
class Case:
    """One shared model and all films, those first that are asked about."""

    method: Method
    model: Weights
    films: Cohort
    asked: int  # how many of the films
    begun: Weights | None  # where a federation began; None: that is not known
    rounds: tuple[tuple[Weights, ...], ...]  # of a federation, the models of each round, as far as they were granted
    shift: int  # pixels
    seed: int
    context: RunContext

    @classmethod
    def of(cls, leak: Leak, studied: int, shift: int, seed: int, context: RunContext) -> Case:
        """From what leaked; so many of one's own films at most."""
        method, model, given = leak.mechanism, leak.view.model, leak.given
        if method is None or model is None or given is None:
            raise ConfigError("attackers on a model must be granted the method", do="set knowledge.mechanism to true")
        asked = _cohort(ASKED, given.arrays["films"], given.arrays["people"], given.arrays["labels"], given.facts)
        films = _together(asked, _own(leak, studied, stream(seed, "membership", "own")))
        rounds = _by_round(leak.holdings.get("updates"))
        begun = next(iter(rounds.pop(0, ())), None)
        return cls(method, model, films, len(asked), begun, tuple(rounds.values()), shift, seed, context)

    def sure(self, model: Weights) -> Margins:  # (n, k)
        """How sure a model is of what is known of each film."""
        judged = [self.method.judged(one, model, self.context) for one in _queries(self.films, self.shift)]
        return margins(np.mean([one.scores for one in judged], axis=0), judged[0].labels)

    def errs(self, model: Weights) -> Losses:  # (asked,)
        """How much it errs on films that are asked about."""
        judged = self.method.judged(self.films.take(np.arange(self.asked)), model, self.context)
        return mean_known(losses(margins(judged.scores, judged.labels)))

    def places(self, most: int) -> list[tuple[int, int]]:
        """Rounds of the shared model whose models are known, each with the round of a shadow that is as far."""
        count = min(len(self.rounds), turns_of(self.method), most)
        return list(zip(_spread(len(self.rounds), count), _spread(turns_of(self.method), count), strict=True))

    def seen(self, numbers: Sequence[int]) -> Losses:  # (r, asked)
        """How little the models of these rounds err on each film: of the models of one round, that which errs least."""
        return np.stack([np.min([self.errs(model) for model in self.rounds[one - 1]], axis=0) for one in numbers])


def _spread(of: int, count: int) -> list[int]:
    """So many of the numbers 1 to `of`, evenly, and the last among them."""
    return [-(-of * place // count) for place in range(1, count + 1)]


def _cohort(where: str, films: Any, people: Any, labels: Any, facts: Any) -> Cohort:
    """Films of people of whom nothing is known but findings, and which films are one person's."""
    names, findings = np.char.add(f"{where} ", np.asarray(people).astype(str)), list(facts["findings"])
    unknown = pd.DataFrame({column: [""] * len(films) for column in COLUMNS})
    known = unknown.assign(image=[f"{where} {row}" for row in range(len(films))], patient=names.astype(object))
    known = known.assign(source=where, split="train", visit=0, age=np.nan)
    told = pd.DataFrame(np.asarray(labels, dtype=np.float32), columns=findings)
    return Cohort.whole(np.asarray(films, dtype=np.uint8), pd.concat([known, told], axis=1), tuple(findings))


def _own(leak: Leak, studied: int, rng: np.random.Generator) -> Cohort:
    """Films of one's own people, all of each, until there are enough."""
    records = leak.holdings.get("own_records")
    if records is None:
        raise ConfigError("shadow models are learnt from findings of one's own films", do="grant knowledge.own_records")
    own, told = leak.own, records_in(records)
    turn = rng.permutation(int(own.people.max()) + 1)[own.people] if len(own.people) else own.people
    rows: Rows = np.sort(np.argsort(turn, kind="stable")[:studied])
    return _cohort(OWN, own.films[rows], own.people[rows], told.labels[rows], {"findings": told.names})


def _together(first: Cohort, second: Cohort) -> Cohort:
    """All films of both."""
    vocabulary = union(first.findings, second.findings)
    index = pd.concat([align_cohort(one, vocabulary).index for one in (first, second)])
    return Cohort.whole(np.concatenate([first.films(), second.films()]), index, vocabulary)


def _queries(films: Cohort, shift: int) -> list[Cohort]:
    """The films as they are, and moved in four directions."""
    if not shift:
        return [films]
    pixels = films.films()
    moved = (_moved(pixels, *by) for by in ((0, 0), (shift, 0), (-shift, 0), (0, shift), (0, -shift)))
    return [Cohort.whole(one, films.index, films.findings) for one in moved]


def _moved(films: Films, down: int, right: int) -> Films:
    """With the border's grey where nothing is known."""
    rows, columns = (np.clip(np.arange(n) - by, 0, n - 1) for n, by in zip(films.shape[1:], (down, right), strict=True))
    return films[:, rows][:, :, columns]


def _by_round(updates: Holding | None) -> dict[int, tuple[Weights, ...]]:
    """The models of each round, in order, from what was granted of it: arrays by round, sender and weight."""
    found: dict[str, dict[str, Weights]] = {}
    for name, array in (updates.arrays if updates is not None else {}).items():
        number, sender, weight = name.split("/", 2)
        found.setdefault(number, {}).setdefault(sender, {})[weight] = np.asarray(array)
    return {int(number): tuple(found[number].values()) for number in sorted(found)}
