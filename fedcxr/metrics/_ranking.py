"""Scored pairs in order, so that an AUC under other weights of the patients costs only sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcxr.metrics import Bools, Floats, finite_order

Indices = npt.NDArray[np.intp]
Weights = npt.NDArray[np.float32]  # small whole numbers, whose sums below 2**24 are exact in float32

_BLOCK = 256  # negatives weighed at once: three (256, 256) blocks stay in the processor's cache


@dataclass(frozen=True)
class Ranking:
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
        return share(*self.tally(times))

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


def share(wins: npt.NDArray[np.float64], total: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # 0 / 0: a class that was not drawn
        return np.asarray(wins / total)


def vary(pair: Indices) -> bool:  # (2, n)
    """Whether there are two different pairs of patients or more."""
    return bool(np.ptp(pair.min(axis=0)) or np.ptp(pair.max(axis=0))) if pair.size else False


def rank(scores: Floats, positive: Bools, pair: Indices, patients: int) -> Ranking:
    """Sort the scored pairs (2, n) of patients 0 .. patients-1."""
    scores = finite_order(scores)
    a, b = pair.min(axis=0), pair.max(axis=0)
    both_vary = vary(pair[:, positive]) and vary(pair[:, ~positive])
    rows = np.stack([a, np.where(a == b, patients, b)])  # the extra row of ones: one patient counts once
    above = np.flatnonzero(positive)
    below = np.flatnonzero(~positive)
    above = above[np.argsort(scores[above], kind="stable")]
    below = below[np.argsort(scores[below], kind="stable")]
    left = np.searchsorted(scores[above], scores[below], "left")
    right = np.searchsorted(scores[above], scores[below], "right")
    # left + right grows from each level to the next, so it names the level.
    _, first, level = np.unique(left + right, return_index=True, return_inverse=True)
    return Ranking(rows[:, above], rows[:, below], level, left[first], right[first], both_vary)


def kept(positive: Bools, most: int, rng: np.random.Generator) -> Bools:
    """Which items are ranked: all, unless there are more negatives than `most`."""
    chosen = np.ones(len(positive), dtype=bool)
    below = np.flatnonzero(~positive)
    if len(below) > most:
        chosen[below] = False
        chosen[rng.choice(below, most, replace=False, shuffle=False)] = True
    return chosen


def row_means(aucs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean of what is defined in each row, nan where nothing is."""
    defined = ~np.isnan(aucs)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, aucs, 0).sum(axis=1) / defined.sum(axis=1))
