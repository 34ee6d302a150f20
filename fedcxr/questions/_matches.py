"""Whom an attacker took the attacked for, film by film: a few of them, to be drawn.

Some are chosen at random, so that they stand for all, and some for the patients who are recognised best, because an
average says nothing to whoever is always found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from fedcxr.metrics.identification import Search
from fedcxr.questions import Heard
from fedcxr.questions._pairs import Bools, ScoredPairs, Scores
from fedcxr.questions._people import PerFilm, Recognised
from fedcxr.rng import stream

SHOWN = 5  # films at random, and as many patients who are recognised best

Chosen = Literal["at random", "recognised best"]


@dataclass(frozen=True)
class Match:
    """An attacked film and the known film that scored highest with it; both by their place in the question."""

    chosen: Chosen
    film: int  # among the attacked
    found: int  # among the known
    score: float
    tied: int  # known films with this very score; one of them was drawn
    own: int  # that of the patient's known films which scored highest: `found`, if that is right
    own_score: float
    own_place: int  # 1: it scored highest
    films: int  # attacked films of the patient, of those that can be found at all
    first: float  # the share of these that are found first

    @property
    def right(self) -> bool:
        """Whether the patient was recognised."""
        return self.own == self.found


@dataclass(frozen=True)
class Matches:
    """What is shown of one attacker's answers, and of how many it is a choice."""

    attacker: str
    queries: int  # attacked films whose patient is known, and can be recognised
    known: int  # films that each of them is compared with
    by_chance: float  # how often a guesser finds the patient first
    rows: tuple[Match, ...]

    def told(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def heard(cls, told: Mapping[str, Any]) -> Matches:
        """What `told` said."""
        return cls(**{**told, "rows": tuple(Match(**row) for row in told["rows"])})


def matches(heard: Heard, entries: Sequence[Mapping[str, Any]], seed: int) -> Matches | None:
    """Of the attacker with the highest AUC; None: nobody has one."""
    scored = [entry for entry in entries if entry["auc"]["value"] is not None]
    if not scored:
        return None
    best = max(scored, key=lambda entry: float(entry["auc"]["value"]))
    pairs: ScoredPairs = heard.key
    scores = pairs.fair(heard.answers[best["attacker"]]["scores"])
    mated = np.asarray((pairs.genuine & pairs.allowed).any(axis=1))
    point = best["at_fpr"]["0.01"]
    found = Search.of(scores, pairs.genuine, pairs.allowed)
    told = Recognised.of(scores, pairs, found, None if point is None else point["above"])
    return Matches(
        attacker=best["attacker"],
        queries=int(mated.sum()),
        known=scores.shape[1],
        by_chance=float(pairs.genuine[mated].mean()),
        rows=tuple(_rows(scores, pairs, mated, told, seed)),
    )


def _rows(scores: Scores, pairs: ScoredPairs, mated: Bools, told: Recognised, seed: int) -> Iterator[Match]:
    patients, _ = pairs.codes
    own = np.where(pairs.genuine, scores, -np.inf).max(axis=1, initial=-np.inf)
    queries = np.flatnonzero(mated)
    drawn = stream(seed, "shown", "films").choice(queries, min(SHOWN, len(queries)), replace=False)
    worst = told.people[told.found_most[:SHOWN]]
    # Of each of those patients the film that is recognised best: it is what they have to fear.
    theirs = [max(np.flatnonzero(mated & (patients == person)).tolist(), key=own.__getitem__) for person in worst]
    broken = np.asarray(stream(seed, "shown", "ties").random(scores.shape[1]))
    groups: dict[Chosen, list[int]] = {"at random": drawn.tolist(), "recognised best": theirs}
    for chosen, films in groups.items():
        for film in films:
            yield _match(chosen, film, scores[film], pairs.genuine[film], broken, _about(told, patients[film]))


def _about(told: Recognised, person: np.intp) -> tuple[int, float]:
    place = int(np.searchsorted(told.people, person))
    return int(told.films[place]), float(told.first[place])


def _match(
    chosen: Chosen, film: int, scores: Scores, genuine: Bools, broken: PerFilm, about: tuple[int, float]
) -> Match:
    """Known films by falling score; those with the same score in the order of `broken`."""
    order = np.lexsort((broken, -scores))
    place = int(np.argmax(genuine[order]))
    found, own = int(order[0]), int(order[place])
    return Match(
        chosen,
        film,
        found,
        float(scores[found]),
        int((scores == scores[found]).sum()),
        own,
        float(scores[own]),
        place + 1,
        *about,
    )
