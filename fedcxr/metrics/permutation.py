"""What chance alone makes of an AUC: the same scores, with each patient's films on one side taken for another's."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.metrics import Bools, Floats, finite_order

Codes = npt.NDArray[np.intp]

PERMUTATIONS = 1000
LEVEL = 0.95


def smallest_auc(
    scores: Floats, patients: Codes, known: Codes, rng: np.random.Generator, counted: Bools | None = None
) -> float | None:
    """The AUC that a guesser stays below in 95 of 100 draws: less than this does not tell an attacker from chance.

    Scores (n, m) of films of patients 0, 1, ... against known ones. Patients are exchanged as wholes, so that what
    films of one person have in common stays together, and among those who are on both sides, so that as many are
    there to be recognised. The scores are ranked once; an exchange costs a sum over patients. None where fewer than
    two patients are on both sides, or where all scores are equal.
    """
    counted = np.ones(scores.shape, dtype=bool) if counted is None else counted
    people = int(max(patients.max(initial=-1), known.max(initial=-1))) + 1
    a, b = np.nonzero(counted)
    block = patients[a] * people + known[b]
    ranks = _mean_ranks(finite_order(scores)[a, b])
    pairs = np.bincount(block, minlength=people**2).reshape(people, people)
    sums = np.bincount(block, ranks, minlength=people**2).reshape(people, people)
    both = np.intersect1d(patients, known)
    if len(both) < 2 or not len(ranks) or ranks.min() == ranks.max():
        return None
    drawn = np.array([rng.permutation(both) for _ in range(PERMUTATIONS)])
    genuine = pairs[both, drawn].sum(axis=1).astype(np.float64)
    wins = sums[both, drawn].sum(axis=1) - genuine * (genuine + 1) / 2
    possible = genuine * (len(ranks) - genuine)
    aucs = wins[possible > 0] / possible[possible > 0]
    return float(np.quantile(aucs, LEVEL)) if len(aucs) else None


def _mean_ranks(scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """From 1, the mean of their places for those that tie."""
    order = np.argsort(scores)
    ordered = scores[order]
    starts = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(scores)]
    first = np.flatnonzero(starts)
    size = np.diff(np.append(first, len(scores)))
    ranks = np.empty(len(scores))
    ranks[order] = np.repeat(first + (size + 1) / 2, size)
    return ranks


def expected_smallest_auc(genuine: npt.NDArray[np.integer[Any]]) -> float | None:
    """About what `smallest_auc` will be, before there are scores: from how many pairs of films (p,) each patient gives.

    As if a guesser gave all pairs of two patients one score: the AUC is then a mean of uniform draws, one per patient,
    weighted by the patient's pairs, among very many impostors. Whoever scores films of one patient apart comes closer
    to one half, so that a run's own figure is usually smaller. None for fewer than two patients.
    """
    weights = genuine[genuine > 0].astype(np.float64)
    if len(weights) < 2:
        return None
    patients = weights.sum() ** 2 / (weights**2).sum()  # as many that all give the same number of pairs
    return float(min(1.0, 0.5 + NormalDist().inv_cdf(LEVEL) * np.sqrt(1 / (12 * patients))))
