"""The Frechet distance by hand, and against a root of matrices where these are regular."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from fedcxr.metrics.frechet import frechet


def test_of_one_feature_by_hand() -> None:
    """Means 0 and 3, standard deviations 1 and 2: 9 + 1 + 4 - 2 x 2."""
    ours = np.array([[-1.0], [0.0], [1.0]])
    assert frechet(ours, 2 * ours + 3) == pytest.approx(10**0.5)


def test_with_many_vectors_it_is_the_usual_formula() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(size=(60, 5)), rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5)) + 0.5
    s, t = np.cov(ours.T), np.cov(theirs.T)
    squared = ((ours.mean(0) - theirs.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet(ours, theirs) == pytest.approx(squared**0.5)
    assert frechet(theirs, ours) == pytest.approx(squared**0.5)


def test_with_fewer_vectors_than_features_it_is_exact_too() -> None:
    rng = np.random.default_rng(2)
    ours = rng.normal(size=(6, 40))
    assert frechet(ours, ours[::-1]) == pytest.approx(0, abs=1e-6)
    assert frechet(ours, ours + 2) == pytest.approx((4 * 40) ** 0.5)
