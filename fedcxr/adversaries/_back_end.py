"""What an attacker makes of films once they are described by numbers: are these two of one person?

A description is a network's embedding, or simply what a small picture of the film shows. Two comparisons are drawn from
it: the network's own, made comparable between films, and one by the canonical correlations between films as they are
released and as they are. All are fused on people who were held out.

Adaptive symmetric normalisation: Matějka et al., Interspeech 2017, with one's own films as the cohort.
Canonical correlations: Hotelling 1936; the likelihood ratio is that of the two-covariance model of `_metric`, except
that the two films need not differ from their person in the same way, of which one is protected and the other not.
Our deviations: every film counts the same, not every pair, or people with many films would be all that is learnt;
both covariances are drawn towards a multiple of the identity, as far as serves people who were held out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float32]  # (n, d)
Scores = npt.NDArray[np.float32]  # (released films, films as they are)
People = npt.NDArray[np.int64]  # (n,)
Bools = npt.NDArray[np.bool_]
Compare = Callable[[Numbers, Numbers], Scores]

COHORT = 200  # films of others that are most like a film: what its scores are measured by
COMPONENTS = (40, 80, 160, 320)  # principal components tried
SHRINKAGE = (0.003, 0.03, 0.1)
FOLDS = 4  # of the people held out: each is scored by a comparison that was learnt without them
CLOSEST = 0.995  # canonical correlation: from a few films one of 1 is easily had
FURTHEST = 6.0  # standard deviations that a score may lie from the mean and still count for more
RIDGE = 1e-3  # on the weight of a score, in units of its standard deviation
SIDE = 32  # pixels of a small picture


@dataclass(frozen=True)
class Album:
    """One's own films, of which all are in the order of `people`."""

    people: People
    held_out: Bools  # (n,) whom nothing was trained on that describes films

    @property
    def judged(self) -> Bools:
        """Whose pairs tell how much a score is worth: people held out, or everybody if these make no pair."""
        _, films = np.unique(self.people[self.held_out], return_counts=True)
        return self.held_out if len(films) > 1 and (films > 1).any() else np.ones_like(self.held_out)


@dataclass(frozen=True)
class Described:
    """One's own films in numbers, and the comparison that came with them if one did."""

    released: npt.NDArray[np.float32]  # (v, n, d) protected v times
    clean: Numbers  # (n, d)
    compare: Compare | None = None  # of a network, which has learnt it together with its embedding


@dataclass(frozen=True)
class BackEnd:
    """Ready to answer for films under attack."""

    comparisons: tuple[tuple[int, Compare], ...]  # each with the place of the description it compares
    fusion: Fusion

    def scores(self, released: Sequence[Numbers], known: Sequence[Numbers]) -> Scores:
        """Log-odds at even prior odds that each released film is of the person on each known one.

        One array of each kind per description, in the order in which they were learnt.
        """
        return self.fusion([compare(released[which], known[which]) for which, compare in self.comparisons])


def learn(described: Sequence[Described], album: Album) -> BackEnd:
    """Every comparison that these descriptions allow, weighed by what it tells of people held out."""
    judged = np.flatnonzero(album.judged)
    genuine, others = _pairs(album.people[judged])
    comparisons: list[tuple[int, Compare]] = []
    own: list[Scores] = []
    for which, one in enumerate(described):
        first, second = one.released[0][judged], one.clean[judged]
        if one.compare is not None:
            normalised = _normalised(one, one.compare, ~album.held_out)
            comparisons.append((which, normalised))
            own.append(normalised(first, second))
        components, shrinkage = _chosen(one, album)
        comparisons.append((which, _moments(one, album.people).canonical(components, shrinkage)))
        # Pairs across folds are left out: they come from comparisons that were learnt from other films.
        alike = np.full(genuine.shape, np.nan, dtype=np.float32)
        for fold in _folds(album.people[judged]):
            rest = np.ones(len(album.people), dtype=bool)
            rest[judged[fold]] = False
            compare = _moments(one, album.people, rest).canonical(components, shrinkage)
            alike[np.ix_(fold, fold)] = compare(first[fold], second[fold])
        own.append(alike)
    usable = others & np.isfinite(np.sum(own, axis=0))
    return BackEnd(tuple(comparisons), fuse([scores[usable] for scores in own], genuine[usable]))


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


# --- canonical correlations -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Canonical:
    """Released films and films as they are, each in coordinates of their own that agree as far as people do."""

    centres: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # (d,) of released and of clean films
    axes: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # (d, k)
    correlation: npt.NDArray[np.float64]  # (k,) between two films of one person

    def __call__(self, released: Numbers, clean: Numbers) -> Scores:
        """The log-likelihood ratio of one person against two, up to what is the same for every pair."""
        sides = zip((released, clean), self.centres, self.axes, strict=True)
        a, b = ((numbers - centre) @ axes for numbers, centre, axes in sides)
        cross = self.correlation / (1 - self.correlation**2)
        alone = -0.5 * cross * self.correlation
        ratio = (a * cross) @ b.T + ((a * a) @ alone)[:, None] + ((b * b) @ alone)[None]
        return np.asarray(ratio, dtype=np.float32)


@dataclass(frozen=True)
class Moments:
    """What a canonical correlation is worked out from, in principal components, the largest first."""

    components: npt.NDArray[np.float64]  # (d, k)
    centres: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # (d,)
    released: npt.NDArray[np.float64]  # (k, k) covariance
    clean: npt.NDArray[np.float64]  # (k, k)
    across: npt.NDArray[np.float64]  # (k, k) of a released film with other, clean films of its person

    def canonical(self, components: int, shrinkage: float) -> Canonical:
        some = slice(components)
        roots = [_inverse_root(c[some, some], shrinkage) for c in (self.released, self.clean)]
        left, correlation, right = np.linalg.svd(roots[0] @ self.across[some, some] @ roots[1])
        main = self.components[:, some]
        axes = main @ roots[0] @ left, main @ roots[1] @ right.T
        return Canonical(self.centres, axes, np.minimum(correlation, CLOSEST))


def _moments(one: Described, people: People, among: Bools | None = None) -> Moments:
    chosen = np.ones(len(people), dtype=bool) if among is None else among
    released, clean = one.released[:, chosen].astype(np.float64), one.clean[chosen].astype(np.float64)
    centres = released.mean(axis=(0, 1)), clean.mean(axis=0)
    clean = clean - centres[1]
    values, vectors = np.linalg.eigh(clean.T @ clean / len(clean))
    largest = np.argsort(-values)[: min(max(COMPONENTS), len(clean))]
    components = vectors[:, largest]
    first = (released - centres[0]) @ components
    second = clean @ components
    _, owner, films = np.unique(people[chosen], return_inverse=True, return_counts=True)
    sums = np.zeros((len(films), second.shape[1]))
    np.add.at(sums, owner, second)
    paired = films[owner] > 1
    # A released film against the mean of its person's others: never against itself, which nobody would have to ask.
    rest = (sums[owner] - second)[paired] / (films[owner][paired] - 1)[:, None]
    across = first[:, paired].mean(axis=0).T @ rest / max(len(rest), 1)
    flat = first.reshape(-1, first.shape[-1])
    return Moments(components, centres, flat.T @ flat / len(flat), second.T @ second / len(second), across)


def _chosen(one: Described, album: Album) -> tuple[int, float]:
    """As many components and as much shrinkage as serves people held out."""
    judged = np.flatnonzero(album.judged)
    learnt = ~album.judged if not album.judged.all() else album.judged
    moments = _moments(one, album.people, learnt)
    most = moments.components.shape[1]
    counts = [count for count in COMPONENTS if count < most] + [min(most, max(COMPONENTS))]
    genuine, others = _pairs(album.people[judged])

    def worth(components: int, shrinkage: float) -> float:
        alike = moments.canonical(components, shrinkage)(one.released[0][judged], one.clean[judged])
        return _told_apart(alike, genuine, others)

    return max(((c, s) for c in counts for s in SHRINKAGE), key=lambda choice: worth(*choice))


def _told_apart(scores: Scores, genuine: Bools, others: Bools) -> float:
    """The AUC in which every film counts the same, of however many its person has."""
    strangers = np.sort(scores[others & ~genuine])
    if not len(strangers) or not genuine.any():
        return 0.5
    above = np.where(genuine, np.searchsorted(strangers, scores) / len(strangers), 0).sum(axis=1)
    partners = genuine.sum(axis=1)
    return float((above[partners > 0] / partners[partners > 0]).mean())


def _inverse_root(covariance: npt.NDArray[np.float64], shrinkage: float) -> npt.NDArray[np.float64]:
    k = len(covariance)
    drawn = (1 - shrinkage) * covariance + (shrinkage * np.trace(covariance) / k + 1e-12) * np.eye(k)
    values, vectors = np.linalg.eigh(drawn)
    root: npt.NDArray[np.float64] = vectors / np.sqrt(np.maximum(values, 1e-12)) @ vectors.T
    return root


def _pairs(people: People) -> tuple[Bools, Bools]:
    """Which pairs of films are of one person, and which are of two films at all."""
    others = ~np.eye(len(people), dtype=bool)
    return np.asarray((people[:, None] == people[None]) & others), others


def _folds(people: People) -> Iterator[npt.NDArray[np.intp]]:
    """Rows in a few parts, everyone's films in one of them; parts without a pair of films are left out."""
    number = np.unique(people, return_inverse=True)[1]
    for fold in range(FOLDS):
        rows = np.flatnonzero(number % FOLDS == fold)
        if len(rows) > 1:
            yield rows


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

    bounds = [(0.0, None)] * len(scores) + [(None, None)]
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
