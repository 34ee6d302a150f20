"""The learned metric against a case it must solve, the formula it stands for, and one with nothing to learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from fedcxr.adversaries import _metric
from fedcxr.metrics import auc
from fedcxr.rng import stream


def crowd(people: int, each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three numbers in ten are the patient's, and drown in what differs from film to film."""
    rng, owner = stream(seed, "crowd"), np.repeat(np.arange(people), each)
    patient = np.zeros((people, 10))
    patient[:, :3] = rng.normal(size=(people, 3))
    return (patient[owner] + rng.normal(size=(len(owner), 10)) * ([0.3] * 3 + [5.0] * 7)).astype(np.float32), owner


def split(people: np.ndarray) -> np.ndarray:
    return np.asarray(people % 5 == 0)


def test_what_is_the_patients_is_found_among_what_is_not() -> None:
    numbers, people = crowd(200, 3, 1)
    metric = _metric.learn(numbers, people, split(people), stream(1, "fit"))
    others, owner = crowd(60, 2, 2)
    alike, genuine = metric(others[::2], others[1::2]), owner[::2, None] == owner[None, 1::2]
    plain = -np.square(others[::2, None] - others[None, 1::2]).sum(axis=2)
    assert auc(genuine.ravel(), alike.ravel()) > 0.9
    assert auc(genuine.ravel(), plain.ravel()) < 0.65


def test_the_ratio_is_that_of_two_gaussians() -> None:
    metric = _metric.Metric(np.zeros(1), np.eye(1), np.array([3.0]))
    a, b = 0.7, -1.2
    together = multivariate_normal(cov=[[4, 3], [3, 4]]).logpdf([a, b])
    apart = multivariate_normal(cov=[4]).logpdf(a) + multivariate_normal(cov=[4]).logpdf(b)
    # Up to what is the same for every pair.
    constant = -0.5 * np.log((16 - 9) / 16)
    assert metric(np.array([[a]]), np.array([[b]]))[0, 0] == pytest.approx(together - apart - constant, rel=1e-5)


def test_where_identities_mean_nothing_nothing_is_learnt() -> None:
    numbers, people = crowd(200, 3, 1)
    shuffled = stream(3, "lot").permutation(people)
    metric = _metric.learn(numbers, shuffled, split(shuffled), stream(1, "fit"))
    others, _ = crowd(60, 2, 2)
    by_lot = stream(4, "lot").permutation(60)
    alike = metric(others[::2], others[1::2])
    assert 0.4 < auc(np.eye(60, dtype=bool)[by_lot].ravel(), alike.ravel()) < 0.6


def test_nobody_held_out_is_no_error() -> None:
    numbers, people = crowd(20, 2, 1)
    metric = _metric.learn(numbers, people, np.zeros(40, dtype=bool), stream(1, "fit"))
    assert np.isfinite(metric(numbers, numbers)).all()


def test_calibrated_scores_are_log_odds_at_even_prior_odds() -> None:
    rng, people = stream(1, "odds"), np.repeat(np.arange(150), 2)
    genuine = people[:, None] == people[None]
    alike = (rng.normal(size=genuine.shape) + 2 * genuine).astype(np.float32)
    judge = _metric.calibrated(alike, people)
    # Two Gaussians two apart: log-odds are 2 x - 2.
    np.testing.assert_allclose(judge(np.array([[0.0, 1.0, 2.0]], dtype=np.float32))[0], [-2, 0, 2], atol=0.4)
