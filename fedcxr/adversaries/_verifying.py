"""One leak in a verifier's hands: what each of its attackers makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries import Progress, _metric
from fedcxr.adversaries import _front_end as front_end
from fedcxr.adversaries._demographics import Demographics
from fedcxr.adversaries._examination import Scores, compared
from fedcxr.adversaries._fused import Practice
from fedcxr.adversaries._paper import Protocol, published
from fedcxr.adversaries._registration import registered
from fedcxr.adversaries._rungs import told
from fedcxr.adversaries._training import Lessons, Team, learn
from fedcxr.adversaries._views import Look, Views
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Films, Masks
from fedcxr.models.siamese import Siamese
from fedcxr.pairs.sampler import Rows
from fedcxr.questions import Answer
from fedcxr.questions._rising import SCORES, WITHOUT_EFFORT
from fedcxr.rng import stream
from fedcxr.training import Plan
from fedcxr.training.compute import Compute
from fedcxr.training.rising import Ascent, Rung

FEWEST_COMPARED, MOST_COMPARED = 30, 300  # own films that tell what a likeness is worth
LOOKED_BACK = 2  # rungs at which `fused` answers: it costs more to ask than a network


@dataclass(frozen=True)
class Case:
    """What is asked about, and what there is to learn from."""

    own: Owned
    look: Look  # of what is released
    shift: int  # pixels, of films that are looked at
    released: Films
    known: Films
    told: Demographics | None  # of all these films
    inner: bool  # whether `known` are releases themselves
    seed: int
    compute: Compute
    progress: Progress

    @property
    def all_alike(self) -> bool:
        """Whether every release looks the same and nothing else is told: no training helps, and none is begun."""
        looks_alike = len(self.released) > 1 and not np.ptp(self.released, axis=0).any()
        return looks_alike and self.told is None

    @property
    def silence(self) -> Answer:
        """Of every pair the same, and no steps: of pictures that are all alike there is nothing to learn."""
        scores = np.zeros((len(self.released), len(self.known)), dtype=np.float32)
        return {SCORES: scores, **WITHOUT_EFFORT}

    @cached_property
    def views(self) -> Views:
        return Views.protected(self.own.films, self.look, self.shift, inner=self.inner)

    @cached_property
    def _practice(self) -> Practice:
        return Practice.of(self.own, self.views, stream(self.seed, "verifier", "fused"))

    def clean(self, rungs: Sequence[Rung[Team]]) -> Answer:
        """By networks that have never seen a protected film."""
        return told(rungs, self._first, _of_first)

    def again(self, team: Team, lessons: Lessons, ascent: Ascent) -> list[Rung[Team]]:
        """Go on from what was learnt of clean films, with films that are protected anew every time."""
        streams, said = partial(stream, self.seed, "verifier", "retrained"), self._said("retrained")
        return learn(team, self.own, self.views, lessons, ascent, self.compute, streams, said)

    def retrained(self, rungs: Sequence[Rung[Team]]) -> Answer:
        """By the first network alone."""
        return told(rungs, self._first, _of_first)

    def linear(self) -> Answer:
        """By small pictures alone, without any network."""
        return {SCORES: self._practice.opinion((), self.released, self.known, self.compute)}

    def fused(self, rungs: Sequence[Rung[Team]]) -> Answer:
        """By all networks, everything that can be made of their embeddings, small pictures, and sex and age if told."""

        def score(team: Team) -> Scores:
            return self._practice.opinion(team.members, self.released, self.known, self.compute, self.told)

        return told(rungs[-LOOKED_BACK:], score, _mean)

    def restored(self, team: Team, lessons: Lessons, ascent: Ascent, plan: Plan) -> Answer:
        """By a network that is shown what could be undone of the protection."""
        streams, said = partial(stream, self.seed, "verifier", "restored"), self._said("restored")
        learnt_from = self.own.films[~self.own.held_out]
        protected = Views.protected(learnt_from, self.look, shift=0).released
        restore = front_end.learn(protected, learnt_from, streams("front end"), self.compute, plan)
        released = restore(self.released)
        case = replace(
            self, look=_Undone(self.look, restore), released=released, known=released if self.inner else self.known
        )
        rungs = learn(team, self.own, case.views, lessons, ascent, self.compute, streams, said)
        return case.retrained(rungs)

    def published(self, network: Siamese, protocol: Protocol) -> Answer:
        """By the protocol of the paper, which tells nothing of the way there."""
        streams, said = partial(stream, self.seed, "verifier", "paper"), self._said("paper")
        learnt = published(network, self.own, self.views, protocol, self.compute, streams, said)
        return {SCORES: compared(learnt, self.released, self.known, self.compute)}

    def registered(self) -> Answer:
        """Part by part, without a network; what a likeness is worth, some of one's own films say as they are."""
        # As many as are compared under attack, as far as there are: scores are relative to all others.
        several = _several(self.own.people)[: min(MOST_COMPARED, max(FEWEST_COMPARED, len(self.known)))]
        with self.compute.session():
            alike = registered(self.released, None if self.inner else self.known, self.compute)
            among = registered(self.own.films[several], None, self.compute) if len(several) else None
        scores = np.nan_to_num(alike)  # nobody is asked about a film and itself
        if among is None or np.unique(self.own.people[several]).size < 2:
            return {SCORES: scores}
        return {SCORES: _metric.calibrated(among, self.own.people[several])(scores)}

    def _first(self, team: Team) -> Scores:
        return compared(team.members[0], self.released, self.known, self.compute)

    def _said(self, stage: str) -> Callable[[int, int], None]:
        return lambda step, steps: self.progress(f"verifier {stage}", step, steps)


@dataclass(frozen=True)
class _Undone:
    """A mechanism, and what was learnt to undo it."""

    look: Look
    restore: front_end.Restore

    def marks(self, films: Films) -> Masks | None:
        return self.look.marks(films)

    def protected(self, films: Films, rng: np.random.Generator, marks: Masks | None = None) -> Films:
        return self.restore(self.look.protected(films, rng, marks))


def _several(people: npt.NDArray[np.int64]) -> Rows:
    """Films of people who have two or more, person by person."""
    order = np.argsort(people, kind="stable")
    _, owner, films = np.unique(people[order], return_inverse=True, return_counts=True)
    rows: Rows = order[films[owner] > 1]
    return rows


def _of_first(rung: Rung[Team]) -> float | None:
    return None if rung.figures is None else rung.figures[0]


def _mean(rung: Rung[Team]) -> float | None:
    return None if rung.figures is None else sum(rung.figures) / len(rung.figures)
