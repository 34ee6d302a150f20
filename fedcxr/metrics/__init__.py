"""Pure metric functions: scores in, plain floats out, and None where a figure is undefined (never 0)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.errors import DataError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating[Any]]
Ids = npt.NDArray[Any]  # who is who: strings or integers, compared for equality only

FALSE_POSITIVE_RATES = ("0.01", "0.001")  # as text, because they are keys of result.json
MIN_POSITIVES = 5  # a finding with fewer films of either kind has no AUC worth averaging


def auc(positive: Bools, scores: Floats) -> float:
    """The chance that a positive scores above a negative, ties counting half; nan if one class is empty."""
    positive, scores = np.asarray(positive, dtype=bool), finite_order(scores)
    if positive.shape != scores.shape:
        raise DataError("one score per item is needed", given=f"{positive.shape} and {scores.shape}")
    below = np.sort(scores[~positive])
    above = scores[positive]
    if not len(below) or not len(above):
        return math.nan
    return _mann_whitney(above, below)


def _mann_whitney(above: Floats, below: Floats) -> float:
    """Of positives, and of negatives in ascending order: negatives strictly below, plus half of those that tie."""
    twice = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
    return float(twice.sum() / (2 * len(below) * len(above)))


def stratified_auc(positive: Bools, scores: Floats, strata: Ids) -> float:
    """The chance that a positive scores above a negative of its own stratum; nan if no stratum holds both.

    For scores that mean the same within a stratum only, such as those of several networks in a cross-validation.
    Every (positive, negative) pair of one stratum counts the same, so larger strata count more.
    """
    positive, scores = np.asarray(positive, dtype=bool), np.asarray(scores)
    if not positive.shape == scores.shape == np.shape(strata):
        raise DataError("one score and one stratum per item are needed", given=f"{positive.shape}, {scores.shape}")
    wins, pairs = 0.0, 0
    for stratum in np.unique(strata):
        here = strata == stratum
        compared = int(positive[here].sum() * (~positive[here]).sum())
        if compared:
            wins += compared * auc(positive[here], scores[here])
            pairs += compared
    return wins / pairs if pairs else math.nan


def finite_order(scores: Floats) -> Floats:
    """The scores, once it is sure that they can be ordered (a diverged network answers NaN)."""
    scores = np.asarray(scores)
    if np.isnan(scores).any():
        unusable = int(np.isnan(scores).sum())
        raise DataError(
            "scores must be numbers", given=f"{unusable} NaN of {scores.size}", do="did the network diverge?"
        )
    return scores


# --- findings ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FindingAucs:
    """How well each finding is told from its absence."""

    mean_auc: float | None  # over the findings that are not skipped, each counting the same
    per_finding: dict[str, float | None]
    skipped: tuple[str, ...]  # too few films with, or too few without the finding


def finding_aucs(
    labels: Floats, scores: Floats, names: Sequence[str], min_positives: int = MIN_POSITIVES
) -> FindingAucs:
    """AUC per finding from labels (n, k) of 0, 1 or NaN (left out) and scores (n, k)."""
    if labels.shape != scores.shape or labels.shape[1:] != (len(names),):
        raise DataError(
            "labels, scores and names must agree", given=f"{labels.shape}, {scores.shape}, {len(names)} names"
        )
    per_finding: dict[str, float | None] = dict.fromkeys(names)
    scored = scored_findings(labels, min_positives)
    for column, name in enumerate(names):
        if not scored[column]:
            continue
        known = ~np.isnan(labels[:, column])
        per_finding[name] = auc(labels[known, column] == 1, scores[known, column])
    values = [value for value in per_finding.values() if value is not None]
    return FindingAucs(
        mean_auc=float(np.mean(values)) if values else None,
        per_finding=per_finding,
        skipped=tuple(name for name, use in zip(names, scored, strict=True) if not use),
    )


def scored_findings(labels: Floats, min_positives: int = MIN_POSITIVES) -> Bools:  # (k,)
    """Which findings have at least `min_positives` films with and as many without (never fewer than one)."""
    odd = ~(np.isnan(labels) | (labels == 0) | (labels == 1))
    if odd.any():
        raise DataError("labels must be known or unknown", given=labels[odd][0], allowed="0, 1 or NaN (unknown)")
    fewest = np.minimum((labels == 1).sum(axis=0), (labels == 0).sum(axis=0))
    return np.asarray(fewest >= max(min_positives, 1))


# --- verification: are these two films of one patient? ------------------------------------------------------


@dataclass(frozen=True)
class OperatingPoint:
    """What is accepted at a false positive rate that may not be exceeded, counted in pairs."""

    above: float  # a pair is accepted if it scores higher than this
    tpr: float
    fpr: float  # as realised: ties may keep it below the target
    true_positives: int
    false_positives: int
    ties: int  # pairs that score exactly `above`: accepting them, all or none, would exceed the rate


@dataclass(frozen=True)
class Verification:
    """How well genuine pairs are told from impostor pairs.

    The figures at a threshold are those of balanced pairs, as in the papers. We reach the balance by giving
    all impostors together the weight of the genuine pairs instead of sampling some: the same expectation,
    less noise.
    """

    genuine: int  # pairs
    impostors: int
    threshold: float | None = None  # a pair is called genuine if its score is at least this
    auc: float | None = None
    eer: float | None = None
    # Where the true positive rate is the largest whose false positive rate is at most the target; None if it takes
    # more impostors to observe such a rate.
    at_fpr: dict[str, OperatingPoint | None] = field(default_factory=lambda: dict.fromkeys(FALSE_POSITIVE_RATES))
    accuracy: float | None = None
    f1: float | None = None
    precision: float | None = None
    recall: float | None = None

    @property
    def tpr_at_fpr(self) -> dict[str, float | None]:
        """The true positive rates alone."""
        return {target: None if point is None else point.tpr for target, point in self.at_fpr.items()}


def verification(genuine: Floats, impostors: Floats, threshold: float | None = None) -> Verification:
    """The report on scores of genuine (p,) and impostor (m,) pairs; higher means `same patient`."""
    genuine, impostors = np.sort(finite_order(genuine).ravel()), np.sort(finite_order(impostors).ravel())
    counted = Verification(len(genuine), len(impostors), threshold)
    if not counted.genuine or not counted.impostors:
        return counted
    false_rate, true_rate = _roc(genuine, impostors)
    ranked = replace(
        counted,
        auc=_mann_whitney(genuine, impostors),
        # Where false positives are as frequent as false negatives, on straight lines between thresholds.
        eer=float(np.interp(0.0, false_rate + true_rate - 1, false_rate)),
        at_fpr={target: _point_at(float(target), genuine, impostors) for target in FALSE_POSITIVE_RATES},
    )
    if threshold is None:
        return ranked
    hit, false_alarm = float((genuine >= threshold).mean()), float((impostors >= threshold).mean())
    return replace(
        ranked,
        accuracy=(hit + 1 - false_alarm) / 2,
        f1=2 * hit / (hit + false_alarm + 1),
        precision=hit / (hit + false_alarm) if hit + false_alarm else None,
        recall=hit,
    )


def _roc(genuine: Floats, impostors: Floats) -> tuple[Floats, Floats]:
    """False and true positive rates of sorted scores, from `accept nothing` to `accept all`.

    The curve has its corners where genuine pairs begin and end to be accepted; between them it is straight.
    """
    levels = np.unique(genuine)[::-1]
    rates = []
    for scores in (impostors, genuine):
        before, after = (len(scores) - np.searchsorted(scores, levels, side) for side in ("right", "left"))
        corners = np.stack([before, after], axis=1).ravel()
        rates.append(np.concatenate([[0], corners, [len(scores)]]) / len(scores))
    return rates[0], rates[1]


def _point_at(target: float, genuine: Floats, impostors: Floats) -> OperatingPoint | None:
    """Of sorted scores."""
    slack = 1e-9  # 1 of 1000 impostors is a rate of 0.001, whatever the last bit says
    allowed = int(len(impostors) * target + slack)
    if not allowed:
        return None  # such a rate cannot be observed with so few impostors
    above = impostors[len(impostors) - 1 - allowed]
    true, false = (len(scores) - int(np.searchsorted(scores, above, "right")) for scores in (genuine, impostors))
    level = int((genuine == above).sum() + (impostors == above).sum())
    return OperatingPoint(float(above), true / len(genuine), false / len(impostors), true, false, level)


# --- retrieval: which films of the gallery are of this patient? ---------------------------------------------


@dataclass(frozen=True)
class Retrieval:
    """How well a query finds the other films of its patient, over the queries that have one in the gallery.

    Films with equal scores are taken in random order and the expected value is reported: an attacker who
    scores everything alike is at chance, in whatever order the gallery is stored.
    """

    rank1: float | None  # the best-scored film is of the right patient
    precision_at_1: float | None  # the same figure under the name it has in retrieval papers
    map_at_r: float | None  # mean average precision at R (Musgrave et al. 2020), R = the query's mates
    queries: int  # with a mate
    skipped: int  # without one


def retrieval(scores: Floats, queries: Ids, gallery: Ids, excluded: Bools | None = None) -> Retrieval:
    """The report on scores (q, g) between films of the patients `queries` (q,) and `gallery` (g,).

    `excluded` (q, g) marks pairs that must not count at all, such as a film and itself.
    """
    scores = finite_order(scores)
    given = [scores.shape, (len(queries), len(gallery))] + ([] if excluded is None else [excluded.shape])
    if len(set(given)) > 1:
        raise DataError("scores, patients and excluded pairs must agree", given=given)
    _, patients = np.unique(np.concatenate([queries, gallery]), return_inverse=True)  # fast to compare
    owners = patients[len(queries) :]
    found = []
    for row, patient in enumerate(patients[: len(queries)]):
        candidates = slice(None) if excluded is None else ~excluded[row]
        mate = (owners == patient)[candidates]
        if mate.any():
            found.append(_expected_precisions(scores[row][candidates], mate))
    rank1, map_at_r = np.mean(found, axis=0).tolist() if found else (None, None)
    return Retrieval(rank1, rank1, map_at_r, queries=len(found), skipped=len(queries) - len(found))


def _expected_precisions(scores: Floats, mate: Bools) -> tuple[float, float]:
    """Precision at 1 and average precision at R of one query, in expectation over the order of ties.

    Within a group of t equal scores with m mates every order is equally likely, so a place holds a mate with
    chance m/t, and a mate together with a given earlier place of the group with m(m-1) / t(t-1)
    (McSherry and Najork 2008).
    """
    r = int(mate.sum())
    last = len(scores) - r
    rivals = scores >= np.partition(scores, last)[last]  # the best R and all that tie with the last of them
    _, group, size = np.unique(-scores[rivals], return_inverse=True, return_counts=True)
    mates = np.bincount(group, weights=mate[rivals])
    place = np.arange(r)
    of = np.repeat(np.arange(len(size)), size)[:r]  # the group each place belongs to
    within = place - (np.cumsum(size) - size)[of]  # places of the same group before it
    earlier = (np.cumsum(mates) - mates)[of]  # mates in the groups before it
    t, m = size[of], mates[of]
    relevant = m / t
    both = m * (m - 1) / np.maximum(t * (t - 1), 1)
    precision = (relevant * (1 + earlier) + within * both) / (place + 1)
    return float(relevant[0]), float(precision.sum() / r)
