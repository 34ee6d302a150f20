"""A method small enough to check by hand: it learns the mean grey of its training films, and takes it away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fedcxr.cohort import Cohort
from fedcxr.errors import DataError, StorageError
from fedcxr.learning import Guarantee, Learning, Report
from fedcxr.learning.spending import Spending
from fedcxr.methods import FilmMethod, Films, Protect, Round, RunContext, Weights, to_eight_bits


class Greyer(FilmMethod):
    """Films around the middle grey."""

    fit: Literal["local", "federated", "public"] = "local"
    rounds: int = 3
    fails_with: int = 0  # films; a site of so many cannot learn
    numbers_films: bool = False  # among its weights is a whole number that differs from site to site
    lies: bool = False  # sends back other weights than it was sent
    strategy: str = "fedavg"
    options: dict[str, int | float] = {}  # noqa: RUF012  pydantic copies it
    tells: bool = False  # what it spent in each round, for its guarantee
    worth: float = 1.0

    @property
    def learning(self) -> Learning:
        if self.fit != "federated":
            return Learning(self.fit)
        return Learning(self.fit, self.rounds, self.strategy, self.options)

    def guarantee(self, reported: Sequence[Report] = ()) -> Guarantee | None:
        """A sum over the films each site told of, which is nobody's accounting but can be checked."""
        if not self.tells:
            return None
        spent = sum(report.facts["spent"] * report.films for report in reported)
        return Guarantee(epsilon=spent * self.worth, delta=0.0, unit="record", accountant="addition")

    def initial(self, rng: np.random.Generator) -> Weights:
        return {"grey": np.zeros(1, dtype=np.float32), "turns": np.zeros(1, dtype=np.int64)}

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
        start: Weights | None = None,
        turn: Round = Round(),  # noqa: B008
    ) -> Weights:
        if len(cohort) == self.fails_with:
            raise DataError("cannot learn")
        context.progress("greying", 1, 1)
        if self.tells:
            context.report({"spent": turn.number + 1})
        before = self.initial(rng) if start is None else start
        step = (cohort.films().mean() - before["grey"]) / (turn.of - turn.number)
        learnt: Weights = {"grey": (before["grey"] + step).astype(np.float32), "turns": before["turns"]}
        if self.numbers_films:
            learnt["turns"] = np.array([cohort.films().sum()], dtype=np.int64)
        return {"gray": learnt["grey"]} if self.lies else learnt

    def protector(self, weights: Weights, context: RunContext) -> Protect:
        def protect(films: Films, rng: np.random.Generator) -> Films:
            return to_eight_bits(np.subtract(films, weights["grey"]) / 255.0 + 0.5)

        return protect


class Frugal(Greyer):
    """Says that each of its turns was ten steps with noise, on a tenth of the patients."""

    noise: float = 1.0

    def spending(self, turn: Round) -> Spending:
        return Spending(unit="patient", noise_multiplier=self.noise, sample_rate=0.1, steps=10)


class Hoarder(Greyer):
    """Leaves films in its workshop before it learns, or fails to."""

    full: bool = False  # the disk

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
        start: Weights | None = None,
        turn: Round = Round(),  # noqa: B008
    ) -> Weights:
        assert context.folder is not None
        context.folder.mkdir(parents=True, exist_ok=True)
        np.save(context.folder / "films.npy", cohort.films())
        if self.full:
            raise StorageError("the disk is full")
        return super().learn(cohort, rng, context, start, turn)
