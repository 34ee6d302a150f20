"""Patient-cluster bootstrap intervals of AUCs and of means: patients are drawn, never films or pairs.

A few patients own most films and most pairs, so an interval that resamples films is far too narrow. One
replicate draws as many patients as there are, with replacement; a film then counts as often as its patient
was drawn, and a pair as often as its two patients were drawn together (the product). The AUC of a replicate
is an ordinary weighted AUC, computed exactly and for many replicates at once; intervals are percentiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.errors import ConfigError, DataError
from fedcxr.metrics import MIN_POSITIVES, Bools, Floats, Ids, finite_order, scored_findings
from fedcxr.metrics._ranking import Ranking, Weights, kept, rank, row_means, share, vary

Interval = tuple[float, float]

MAX_NEGATIVES = 2_000_000  # more than these are thinned to a random subset, an unbiased estimate of the same AUC
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
    rankings: dict[int, Ranking] = {}
    for column in np.flatnonzero(scored_findings(labels, min_positives)).tolist():
        known = ~np.isnan(labels[:, column])
        known[known] = kept(labels[known, column] == 1, MAX_NEGATIVES, rng)
        pair = np.stack([owner[known], owner[known]])  # a film is weighted as a pair within its patient is
        rankings[column] = rank(scores[known, column], labels[known, column] == 1, pair, len(owners))
    aucs = np.full((replicates, labels.shape[1]), np.nan)
    done = 0
    for times in _draws(len(owners), replicates, rng, max((r.cells for r in rankings.values()), default=0)):
        for column, ranking in rankings.items():
            aucs[done : done + times.shape[1], column] = ranking.aucs(times)
        done += times.shape[1]
    own = (_interval(aucs[:, k], level) if k in rankings and rankings[k].varies else None for k in range(aucs.shape[1]))
    varies = any(ranking.varies for ranking in rankings.values())
    return MeanAucInterval(_interval(row_means(aucs), level) if varies else None, tuple(own))


def auc_replicates(
    labels: Floats, columns: Sequence[Floats], patients: Ids, rng: np.random.Generator, replicates: int = 1000
) -> npt.NDArray[np.float64]:  # (columns, replicates, k), nan where an AUC is undefined
    """The AUC of each label (n, k) of 0, 1 or NaN by several scores (n, k) of the same films, in the same draws.

    For intervals of means over labels and of differences between scores. A label that one patient decides is undefined.
    """
    _same_length(labels, patients, *columns)
    owners, owner = np.unique(patients, return_inverse=True)
    found = np.full((len(columns), replicates, labels.shape[1]), np.nan)
    rankings: dict[tuple[int, int], Ranking] = {}
    for label in range(labels.shape[1]):
        known = ~np.isnan(labels[:, label])
        pair, positive = np.stack([owner[known], owner[known]]), labels[known, label] == 1
        if vary(pair[:, positive]) and vary(pair[:, ~positive]):
            for column, scores in enumerate(columns):
                rankings[column, label] = rank(scores[known, label], positive, pair, len(owners))
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
        means.append(share(summed @ drawn, members @ drawn))
    several = [len(np.unique(owner[groups[:, column]])) > 1 for column in range(groups.shape[1])]
    found = np.concatenate(means, axis=1)
    return [_interval(own, level) if varies else None for own, varies in zip(found, several, strict=True)]


def replicates_of(
    figures: Callable[[Weights], npt.NDArray[np.float64]],
    patients: Ids,
    rng: np.random.Generator,
    replicates: int = 1000,
) -> npt.NDArray[np.float64]:  # (replicates, k)
    """Any k figures of n films, from how often each film counts: (n, r) of r replicates make (r, k)."""
    owners, owner = np.unique(patients, return_inverse=True)
    return np.concatenate([figures(times[owner]) for times in _draws(len(owners), replicates, rng, len(owner))])


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
    if not vary(pair[:, compared & genuine]) or not vary(pair[:, compared & ~genuine]):
        return undefined
    # Once, so that all columns are scored on the same pairs.
    compared[compared] = kept(genuine[compared], MAX_NEGATIVES, rng)
    parts = [np.flatnonzero(compared & (stratum == number)) for number in np.unique(stratum[compared])]
    rankings = [
        [rank(scores[part], genuine[part], pair[:, part], len(patients)) for part in parts] for scores in columns
    ]
    aucs, done = undefined, 0
    for times in _draws(len(patients), replicates, rng, max(r.cells for own in rankings for r in own)):
        for column, own in enumerate(rankings):
            wins, total = np.sum([ranking.tally(times) for ranking in own], axis=0)
            aucs[column, done : done + times.shape[1]] = share(wins, total)
        done += times.shape[1]
    return aucs


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
