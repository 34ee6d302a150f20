"""How sure a model is of what is known of a film: what membership attacks are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]


def margins(log_odds: Floats, labels: Floats) -> Doubles:
    """Log-odds of what is true, for each film and finding of any shape (..., k); NaN where that is not known.

    This is the logit-scaled confidence log(p / (1 - p)) of Carlini et al. 2022, with p the probability of the truth.
    """
    return np.where(np.isnan(labels), np.nan, np.where(labels == 1, 1.0, -1.0) * log_odds.astype(np.float64))


def losses(margin: Doubles) -> Doubles:
    """Cross-entropy of each finding, from its margin."""
    return np.where(np.isnan(margin), np.nan, np.logaddexp(0.0, -np.nan_to_num(margin)))


def mean_known(values: Doubles) -> Doubles:  # (..., k) to (...)
    """The mean over the findings that are known of a film; 0 where none is."""
    known = ~np.isnan(values)
    return np.asarray(np.where(known, values, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1))


def sum_known(values: Doubles) -> Doubles:  # (..., k) to (...)
    """The sum over the findings that are known of a film."""
    return np.asarray(np.where(np.isnan(values), 0.0, values).sum(axis=-1))
