"""Patient-cluster bootstrap intervals of AUCs and of means: patients are drawn, never films or pairs.

A few patients own most films and most pairs, so an interval that resamples films is far too narrow. One
replicate draws as many patients as there are, with replacement; a film then counts as often as its patient
was drawn, and a pair as often as its two patients were drawn together (the product). The AUC of a replicate
is an ordinary weighted AUC, computed exactly and for many replicates at once; intervals are percentiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.errors import ConfigError, DataError
from fedcxr.metrics import MIN_POSITIVES, Bools, Floats, Ids, finite_order, scored_findings

Interval = tuple[float, float]
Indices = npt.NDArray[np.intp]
Weights = npt.NDArray[np.float32]  # small whole numbers, whose sums below 2**24 are exact in float32

MAX_NEGATIVES = 2_000_000  # more than these are thinned to a random subset, an unbiased estimate of the same AUC
_BLOCK = 256  # negatives weighed at once: three (256, 256) blocks stay in the processor's cache
_REPLICATES_AT_ONCE = 256
_TABLE_CELLS = 32_000_000  # weights held at once, 128 MB; decides how many replicates go together


@dataclass(frozen=True)
class MeanAucInterval:
    """Intervals of the AUC of every finding (None: skipped or unknown) and of their mean."""

    mean_auc: Interval | None
    per_finding: tuple[Interval | None, ...]


def auc_interval(
    scores: Floats,
    genuine: Bools,
    clusters_a: Ids,
    clusters_b: Ids,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
    strata: Ids | None = None,
) -> Interval | None:
    """Interval of the verification AUC of n pairs, each between a film of patient a and one of patient b.

    A pair within one patient counts as often as that patient was drawn, not squared. None unless each class
    holds two different pairs of patients: nothing else tells how the AUC varies between patients.
    Beyond MAX_NEGATIVES impostors a random subset is scored; the subset moves the interval by at most
    0.5 / sqrt(MAX_NEGATIVES) = .0004 (one standard deviation). With `strata` it belongs to `stratified_auc`.
    """
    _check(replicates, level)
    return _interval(_replicates([scores], genuine, (clusters_a, clusters_b), strata, rng, replicates)[0], level)


def auc_difference_interval(
    scores: Floats,
    others: Floats,
    genuine: Bools,
    clusters_a: Ids,
    clusters_b: Ids,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
    strata: Ids | None = None,
) -> Interval | None:
    """Interval of how much higher the AUC of `scores` is than that of `others` on the same pairs.

    Otherwise as `auc_interval`. Both AUCs of a replicate come from one draw of patients, so that it cancels out
    how easy the drawn patients are.
    """
    _check(replicates, level)
    ours, theirs = _replicates([scores, others], genuine, (clusters_a, clusters_b), strata, rng, replicates)
    return _interval(ours - theirs, level)


def mean_auc_interval(
    labels: Floats,
    scores: Floats,
    patients: Ids,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
    min_positives: int = MIN_POSITIVES,
) -> MeanAucInterval:
    """Intervals of the AUC per finding and of their mean: labels (n, k) of 0, 1 or NaN, scores (n, k).

    The findings that `finding_aucs` skips stay skipped. A replicate in which a finding has lost one of its
    classes ignores that finding, also in the mean. A finding with all its positives from one patient counts
    in the mean but has no interval of its own.
    """
    _check(replicates, level)
    _same_length(labels, scores, patients)
    owners, owner = np.unique(patients, return_inverse=True)
    rankings: dict[int, _Ranking] = {}
    for column in np.flatnonzero(scored_findings(labels, min_positives)).tolist():
        known = ~np.isnan(labels[:, column])
        known[known] = _kept(labels[known, column] == 1, rng)
        pair = np.stack([owner[known], owner[known]])  # a film is weighted as a pair within its patient is
        rankings[column] = _rank(scores[known, column], labels[known, column] == 1, pair, len(owners))
    aucs = np.full((replicates, labels.shape[1]), np.nan)
    done = 0
    for times in _draws(len(owners), replicates, rng, max((r.cells for r in rankings.values()), default=0)):
        for column, ranking in rankings.items():
            aucs[done : done + times.shape[1], column] = ranking.aucs(times)
        done += times.shape[1]
    own = (_interval(aucs[:, k], level) if k in rankings and rankings[k].varies else None for k in range(aucs.shape[1]))
    varies = any(ranking.varies for ranking in rankings.values())
    return MeanAucInterval(_interval(_row_means(aucs), level) if varies else None, tuple(own))


def auc_replicates(
    labels: Floats, columns: Sequence[Floats], patients: Ids, rng: np.random.Generator, replicates: int = 1000
) -> npt.NDArray[np.float64]:  # (columns, replicates, k), nan where an AUC is undefined
    """The AUC of each label (n, k) of 0, 1 or NaN by several scores (n, k) of the same films, in the same draws.

    For intervals of means over labels and of differences between scores. A label that one patient decides is undefined.
    """
    _same_length(labels, patients, *columns)
    owners, owner = np.unique(patients, return_inverse=True)
    found = np.full((len(columns), replicates, labels.shape[1]), np.nan)
    rankings: dict[tuple[int, int], _Ranking] = {}
    for label in range(labels.shape[1]):
        known = ~np.isnan(labels[:, label])
        pair, positive = np.stack([owner[known], owner[known]]), labels[known, label] == 1
        if _varies(pair[:, positive]) and _varies(pair[:, ~positive]):
            for column, scores in enumerate(columns):
                rankings[column, label] = _rank(scores[known, label], positive, pair, len(owners))
    done = 0
    for times in _draws(len(owners), replicates, rng, max((r.cells for r in rankings.values()), default=0)):
        for (column, label), ranking in rankings.items():
            found[column, done : done + times.shape[1], label] = ranking.aucs(times)
        done += times.shape[1]
    return found


def central_interval(replicates: npt.NDArray[np.float64], level: float = 0.95) -> Interval | None:
    """The interval that replicates (r,) of a figure make, without those in which it is undefined."""
    return _interval(replicates, level)


def mean_interval(
    values: Floats, patients: Ids, rng: np.random.Generator, replicates: int = 1000, level: float = 0.95
) -> Interval | None:
    """Interval of the mean of a figure per film; None unless the films are of two patients or more."""
    everybody = np.ones((len(values), 1), dtype=bool)
    return group_mean_intervals(values, everybody, patients, rng, replicates, level)[0]


def group_mean_intervals(
    values: Floats, groups: Bools, patients: Ids, rng: np.random.Generator, replicates: int = 1000, level: float = 0.95
) -> list[Interval | None]:
    """The same for several groups of films, (n, groups), that may overlap: all in the same replicates."""
    _check(replicates, level)
    _same_length(values, groups, patients)
    owners, owner = np.unique(patients, return_inverse=True)
    summed, members = np.where(groups, np.asarray(values)[:, None], 0.0).T, groups.T.astype(np.float64)
    means = [np.zeros((groups.shape[1], 0))]
    for times in _draws(len(owners), replicates, rng, len(values)) if len(owners) > 1 else ():
        drawn = times[owner].astype(np.float64)
        means.append(_share(summed @ drawn, members @ drawn))
    several = [len(np.unique(owner[groups[:, column]])) > 1 for column in range(groups.shape[1])]
    found = np.concatenate(means, axis=1)
    return [_interval(own, level) if varies else None for own, varies in zip(found, several, strict=True)]


def _replicates(
    columns: Sequence[Floats],  # scores (n,) of the same n pairs
    genuine: Bools,
    clusters: tuple[Ids, Ids],
    strata: Ids | None,
    rng: np.random.Generator,
    replicates: int,
) -> npt.NDArray[np.float64]:  # (columns, replicates), nan where an AUC is undefined
    """The AUC of every column in the same replicates."""
    _same_length(genuine, *clusters, *columns, *([] if strata is None else [strata]))
    genuine = np.asarray(genuine, dtype=bool)
    columns = [finite_order(scores) for scores in columns]
    patients, both = np.unique(np.concatenate(clusters), return_inverse=True)
    pair = both.reshape(2, -1)
    _, stratum = np.unique(np.zeros(len(genuine)) if strata is None else strata, return_inverse=True)
    compared = np.isin(stratum, np.intersect1d(stratum[genuine], stratum[~genuine]))
    undefined = np.full((len(columns), replicates), np.nan)
    if not _varies(pair[:, compared & genuine]) or not _varies(pair[:, compared & ~genuine]):
        return undefined
    compared[compared] = _kept(genuine[compared], rng)  # once, so that all columns are scored on the same pairs
    parts = [np.flatnonzero(compared & (stratum == number)) for number in np.unique(stratum[compared])]
    rankings = [
        [_rank(scores[part], genuine[part], pair[:, part], len(patients)) for part in parts] for scores in columns
    ]
    aucs, done = undefined, 0
    for times in _draws(len(patients), replicates, rng, max(r.cells for own in rankings for r in own)):
        for column, own in enumerate(rankings):
            wins, total = np.sum([ranking.tally(times) for ranking in own], axis=0)
            aucs[column, done : done + times.shape[1]] = _share(wins, total)
        done += times.shape[1]
    return aucs


@dataclass(frozen=True)
class _Ranking:
    """Scored pairs, sorted once, so that a replicate costs only sums.

    AUC = sum over negatives of (weight x weight of the positives above, ties half) / (all x all). The
    positives above a negative depend only on its `level`: its place among the positives' distinct scores.
    """

    positive: Indices  # (2, p) rows of the weight table, in ascending order of score
    negative: Indices  # (2, m) the same
    level: Indices  # (m,) ascending
    strictly_below: Indices  # (levels,) how many positives score below a negative of this level
    at_most: Indices  # (levels,) the same, and those that tie with it
    varies: bool  # each class has two different pairs of patients or more

    @property
    def cells(self) -> int:
        """Numbers that `aucs` holds at once per replicate."""
        return int(3 * (self.positive.shape[1] + len(self.strictly_below)))

    def aucs(self, times: Weights) -> npt.NDArray[np.float64]:  # (r,), nan where a class is not drawn
        """The AUC of every replicate from how many times each patient was drawn, (patients + 1, r)."""
        return _share(*self.tally(times))

    def tally(self, times: Weights) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:  # (r,) each
        """The weight of all (positive, negative) pairs in the right order, and of all such pairs."""
        positives = np.cumsum(times[self.positive[0]] * times[self.positive[1]], axis=0, dtype=np.float32)
        positives = np.concatenate([np.zeros_like(positives[:1]), positives])
        above = positives[-1] - (positives[self.strictly_below] + positives[self.at_most]) / 2  # (levels, r)
        wins, total = np.zeros(times.shape[1]), np.zeros(times.shape[1])
        for start in range(0, len(self.level), _BLOCK):
            block = slice(start, start + _BLOCK)
            weight = times[self.negative[0, block]]
            weight *= times[self.negative[1, block]]
            total += weight.sum(axis=0)
            wins += np.einsum("ir,ir->r", weight, above[self.level[block]])
        return wins, total * positives[-1]


def _share(wins: npt.NDArray[np.float64], total: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # 0 / 0: a class that was not drawn
        return np.asarray(wins / total)


def _kept(positive: Bools, rng: np.random.Generator) -> Bools:
    """Which items are ranked: all, unless there are too many negatives."""
    kept = np.ones(len(positive), dtype=bool)
    below = np.flatnonzero(~positive)
    if len(below) > MAX_NEGATIVES:
        kept[below] = False
        kept[rng.choice(below, MAX_NEGATIVES, replace=False, shuffle=False)] = True
    return kept


def _varies(pair: Indices) -> bool:  # (2, n)
    """Whether there are two different pairs of patients or more."""
    return bool(np.ptp(pair.min(axis=0)) or np.ptp(pair.max(axis=0))) if pair.size else False


def _rank(scores: Floats, positive: Bools, pair: Indices, patients: int) -> _Ranking:
    """Sort the scored pairs (2, n) of patients 0 .. patients-1."""
    scores = finite_order(scores)
    a, b = pair.min(axis=0), pair.max(axis=0)
    varies = _varies(pair[:, positive]) and _varies(pair[:, ~positive])
    rows = np.stack([a, np.where(a == b, patients, b)])  # the extra row of ones: one patient counts once
    above = np.flatnonzero(positive)
    below = np.flatnonzero(~positive)
    above = above[np.argsort(scores[above], kind="stable")]
    below = below[np.argsort(scores[below], kind="stable")]
    left = np.searchsorted(scores[above], scores[below], "left")
    right = np.searchsorted(scores[above], scores[below], "right")
    # left + right grows from each level to the next, so it names the level.
    _, first, level = np.unique(left + right, return_index=True, return_inverse=True)
    return _Ranking(rows[:, above], rows[:, below], level, left[first], right[first], varies)


def _draws(patients: int, replicates: int, rng: np.random.Generator, cells: int) -> Iterator[Weights]:
    """How often each patient is drawn, (patients + 1, r) for r replicates at a time; the last row is ones."""
    together = max(8, min(_REPLICATES_AT_ONCE, _TABLE_CELLS // (patients + cells)))
    for start in range(0, replicates, together):
        count = min(together, replicates - start)
        times = np.ones((patients + 1, count), dtype=np.float32)
        for replicate in range(count):
            drawn = rng.integers(patients, size=patients)  # as many as there are, the last one included
            times[:patients, replicate] = np.bincount(drawn, minlength=patients)
        yield times


def _row_means(aucs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean of what is defined in each row, nan where nothing is."""
    defined = ~np.isnan(aucs)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, aucs, 0).sum(axis=1) / defined.sum(axis=1))


def _interval(values: npt.NDArray[np.float64], level: float) -> Interval | None:
    """The central `level` of the replicates in which the figure is defined."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(replicates: int, level: float) -> None:
    if replicates < 1:
        raise ConfigError("a bootstrap needs replicates", given=replicates, allowed="1 or more")
    if not 0 < level < 1:
        raise ConfigError("an interval's level is a share", given=level, allowed="between 0 and 1, such as 0.95")


def _same_length(*columns: npt.NDArray[Any]) -> None:
    if len({len(column) for column in columns}) > 1:
        raise DataError("one row per item is needed in every column", given=[column.shape for column in columns])
