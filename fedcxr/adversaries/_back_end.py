"""What an attacker makes of films once they are described by numbers: are these two of one person?

A description is a network's embedding, or simply what a small picture of the film shows. Two comparisons are drawn from
it: the network's own, made comparable between films, and one by canonical correlations between released and clean
films. All are fused by what they tell of people who were held out.

Adaptive symmetric normalisation: Matějka et al., Interspeech 2017, with one's own films as the cohort.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries import _canonical as canonical
from fedcxr.adversaries._canonical import Bools, Numbers, People, Rows

Scores = npt.NDArray[np.float32]  # (released films, clean films)
Compare = Callable[[Numbers, Numbers], Scores]

COHORT = 200  # films of others that are most like a film: what its scores are measured by
FOLDS = 4  # of the people held out: each is scored by a comparison that was learnt without them
FEWEST = 4  # people held out: two folds of two, so that there are strangers in each
FURTHEST = 6.0  # standard deviations that a score may lie from the mean and still count for more
FAINT = 1e-3  # standard deviation of log-odds: of a score that varies less only rounding is left
RIDGE = 1e-4  # on the weight of a score, in units of its standard deviation
SIDE = 32  # pixels of a small picture
SURE = 1e-4  # how near to 0 or 1 what a sigmoid has made is taken at its word


@dataclass(frozen=True)
class Album:
    """Whose one's own films are."""

    people: People
    held_out: Bools  # (n,) whom nothing that describes films was trained on

    @property
    def judged(self) -> Rows:
        """Whose pairs tell how much a score is worth: people held out, or everybody if these are too few."""
        _, films = np.unique(self.people[self.held_out], return_counts=True)
        enough = len(films) >= FEWEST and films.max() > 1
        return np.flatnonzero(self.held_out) if enough else np.arange(len(self.people))


@dataclass(frozen=True)
class Described:
    """One's own films in numbers, in the order of an album, and the comparison that came with them if one did."""

    released: npt.NDArray[np.float32]  # (v, n, d) protected v times
    clean: Numbers  # (n, d)
    compare: Compare | None = None  # of a network, which has learnt it together with its embedding
    squashed: bool = False  # whether the numbers have passed a sigmoid, which no Gaussian has

    def flat(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Numbers whose covariances mean something."""
        if not self.squashed:
            return numbers
        inside = np.clip(numbers, SURE, 1 - SURE)
        odds: npt.NDArray[np.float32] = np.log(inside / (1 - inside))
        return odds


@dataclass(frozen=True)
class Comparison:
    """One way to compare films that are described in one way, and what it says of pairs of one's own."""

    compare: Compare
    own: Scores  # (j, j) of the films judged, by a comparison that was learnt without their people; nan: by none


@dataclass(frozen=True)
class BackEnd:
    """Ready to answer for films under attack."""

    comparisons: Sequence[Sequence[Comparison]]  # of each description
    fusion: Fusion

    @classmethod
    def of(cls, found: Sequence[Sequence[Comparison]], album: Album) -> BackEnd:
        """All comparisons, weighed by what they tell of people held out."""
        genuine, apart = _pairs(album.people[album.judged])
        own = [comparison.own for each in found for comparison in each]
        usable = apart & np.isfinite(np.sum(own, axis=0))
        return cls(found, fuse([scores[usable] for scores in own], genuine[usable]))

    def scores(self, released: Sequence[Numbers], known: Sequence[Numbers]) -> Scores:
        """Log-odds at even prior odds that each released film is of the person on each known one.

        One array of each kind per description, in the order in which they were learnt.
        """
        sides = zip(self.comparisons, released, known, strict=True)
        return self.fusion([one.compare(some, others) for each, some, others in sides for one in each])


def learn(described: Sequence[Described], album: Album) -> BackEnd:
    """Every comparison that these descriptions allow."""
    return BackEnd.of([comparisons(one, album) for one in described], album)


def comparisons(one: Described, album: Album) -> list[Comparison]:
    """Every comparison that one description allows."""
    judged, found = album.judged, list[Comparison]()
    if one.compare is not None:
        normalised = _normalised(one, one.compare, ~album.held_out)
        found.append(Comparison(normalised, normalised(one.released[0][judged], one.clean[judged])))
    return [*found, Comparison(*_correlated(one, album))]


def _correlated(one: Described, album: Album) -> tuple[Compare, Scores]:
    """A comparison learnt from all films, and the scores of pairs judged by one learnt without these people.

    Pairs of people who were left out at different times have no score, nan: no one comparison is blind to both.
    """
    judged, everybody = album.judged, np.arange(len(album.people))
    first, second = one.flat(one.released[0][judged]), one.flat(one.clean[judged])
    practice = canonical.Practice.of(one.flat(one.released), one.flat(one.clean), album.people)
    others = np.setdiff1d(everybody, judged)
    genuine, _ = _pairs(album.people[judged])
    trying = practice.seen(others if len(others) else everybody)
    setting = max(
        practice.settings(), key=lambda tried: canonical.told_apart(trying.learn(tried)(first, second), genuine)
    )
    alike = np.full(genuine.shape, np.nan, dtype=np.float32)
    for fold in _folds(album.people[judged]):
        learnt = practice.seen(np.setdiff1d(everybody, judged[fold])).learn(setting)
        alike[np.ix_(fold, fold)] = learnt(first[fold], second[fold])
    compare = practice.seen(everybody).learn(setting)
    return lambda released, known: compare(one.flat(released), one.flat(known)), alike


def _pairs(people: People) -> tuple[Bools, Bools]:
    """Which pairs of films are of one person, and which are of two films at all."""
    apart = ~np.eye(len(people), dtype=bool)
    return np.asarray((people[:, None] == people[None]) & apart), apart


def _folds(people: People) -> Iterator[Rows]:
    """Rows in a few parts, everyone's films in one of them."""
    names, number = np.unique(people, return_inverse=True)
    folds = max(2, min(FOLDS, len(names) // 2))
    return (np.flatnonzero(number % folds == fold) for fold in range(folds))


# --- scores that mean the same for every film -------------------------------------------------------------------------


def as_norm(scores: Scores, released_by_cohort: Scores, known_by_cohort: Scores, top: int = COHORT) -> Scores:
    """Scores (n, m) in standard deviations from what a film's likest strangers score, (n, c) and (m, c)."""
    means, deviations = zip(*(_likest(of, top) for of in (released_by_cohort, known_by_cohort)), strict=True)
    by_released = (scores - means[0][:, None]) / deviations[0][:, None]
    by_known = (scores - means[1][None]) / deviations[1][None]
    return np.asarray((by_released + by_known) / 2, dtype=np.float32)


def _likest(scores: Scores, top: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and standard deviation of the highest of each row."""
    top = min(top, scores.shape[1])
    highest = np.partition(scores, scores.shape[1] - top, axis=1)[:, -top:]
    return highest.mean(axis=1), np.maximum(highest.std(axis=1), 1e-6)


def _normalised(one: Described, compare: Compare, strangers: Bools) -> Compare:
    released, clean = one.released[0][strangers], one.clean[strangers]
    if not len(clean):
        return compare

    def normalised(some: Numbers, others: Numbers) -> Scores:
        return as_norm(compare(some, others), compare(some, clean), compare(released, others).T)

    return normalised


# --- fusion -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fusion:
    """Several scores of the same pairs as one, in log-odds at even prior odds."""

    centres: npt.NDArray[np.float64]  # (k,)
    spreads: npt.NDArray[np.float64]  # (k,)
    weights: npt.NDArray[np.float64]  # (k,) never negative: a score that points the wrong way is chance
    bias: float

    def __call__(self, scores: Sequence[Scores]) -> Scores:
        total = np.full(scores[0].shape, self.bias)
        for one, centre, spread, weight in zip(scores, self.centres, self.spreads, self.weights, strict=True):
            total += weight * np.clip((one - centre) / spread, -FURTHEST, FURTHEST)
        return total.astype(np.float32)


def fuse(scores: Sequence[npt.NDArray[np.floating]], genuine: Bools) -> Fusion:
    """Logistic regression on pairs of one's own, genuine ones and others counting the same; (p,) scores each."""
    from scipy.optimize import minimize

    table = np.stack([np.asarray(one, dtype=np.float64) for one in scores], axis=1)
    centres, spreads = table.mean(axis=0), np.maximum(table.std(axis=0), 1e-9)
    shown = np.clip((table - centres) / spreads, -FURTHEST, FURTHEST)
    if not genuine.any() or genuine.all():
        return Fusion(centres, spreads, np.full(len(scores), 1 / len(scores)), 0.0)
    share = np.where(genuine, 0.5 / genuine.sum(), 0.5 / (~genuine).sum())
    sign = np.where(genuine, 1.0, -1.0)

    def loss(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weights, odds = parameters[:-1], shown @ parameters[:-1] + parameters[-1]
        value = float(share @ np.logaddexp(0, -sign * odds)) + RIDGE * float(weights @ weights)
        slope = -share * sign * np.exp(-np.logaddexp(0, sign * odds))
        return value, np.append(shown.T @ slope + 2 * RIDGE * weights, slope.sum())

    faint = table.std(axis=0) < FAINT
    bounds = [(0.0, 0.0 if one else None) for one in faint] + [(None, None)]
    found = minimize(loss, np.zeros(len(scores) + 1), jac=True, bounds=bounds, method="L-BFGS-B").x
    return Fusion(centres, spreads, found[:-1], float(found[-1]))


# --- several films of one person --------------------------------------------------------------------------------------


def over_people(scores: Scores, people: People, how: Literal["mean", "maximum"]) -> Scores:
    """What each known film's person scores over all their known films, (n, m) as before."""
    _, owner, films = np.unique(people, return_inverse=True, return_counts=True)
    found = np.full((len(scores), len(films)), 0.0 if how == "mean" else -np.inf)
    if how == "mean":
        np.add.at(found.T, owner, scores.T)
        found /= films
    else:
        np.maximum.at(found.T, owner, scores.T)
    return found[:, owner].astype(np.float32)


def mean_of_people(numbers: Numbers, people: People) -> Numbers:
    """Each film's numbers replaced by the mean over its person's films."""
    _, owner, films = np.unique(people, return_inverse=True, return_counts=True)
    sums = np.zeros((len(films), numbers.shape[1]))
    np.add.at(sums, owner, numbers)
    return (sums / films[:, None])[owner].astype(np.float32)


def small_pictures(films: npt.NDArray[np.uint8]) -> Numbers:
    """Films as the mean grey levels in [0, 1] of at most SIDE x SIDE cells: a description that nobody has to learn."""
    _, height, width = films.shape
    down, across = (np.arange(0, side, -(-side // SIDE)) for side in (height, width))
    sums = np.add.reduceat(np.add.reduceat(films, down, axis=1, dtype=np.float32), across, axis=2)
    pixels = np.outer(np.diff(down, append=height), np.diff(across, append=width))
    return np.asarray((sums / (255 * pixels)).reshape(len(films), -1), dtype=np.float32)
