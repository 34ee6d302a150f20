"""Scores of pairs beside what the same films score with everybody else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def relative(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:  # (n, m), nan where a pair does not count
    """Deviations from what both films score with all others, in standard deviations, averaged over the two.

    A film that is like every other, or like none, says less by its score than by what that is beside its others: on
    real films this is worth more than any network. Needs no labels, for nearly all pairs are of two patients.
    """
    result = np.zeros(scores.shape)
    for axis in (0, 1):
        counted = np.isfinite(scores)
        films = np.maximum(counted.sum(axis, keepdims=True), 1)
        mean = np.where(counted, scores, 0).sum(axis, keepdims=True) / films
        variance = np.where(counted, scores - mean, 0).astype(np.float64) ** 2
        deviation = np.sqrt(variance.sum(axis, keepdims=True) / films)
        result += (scores - mean) / np.maximum(deviation, 1e-6) / 2
    return result.astype(np.float32)
