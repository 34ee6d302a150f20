"""How sure a model is of what is known: against scikit-learn's cross-entropy, and without what is not known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss  # type: ignore[import-untyped, unused-ignore]

from fedcxr.metrics.confidence import losses, margins, mean_known, sum_known
from fedcxr.rng import stream


def test_the_loss_is_cross_entropy() -> None:
    rng = stream(1)
    log_odds, labels = rng.normal(0, 3, 40), (rng.random(40) < 0.5).astype(np.float32)
    loss = losses(margins(log_odds, labels)).mean()
    assert loss == pytest.approx(log_loss(labels, 1 / (1 + np.exp(-log_odds))))


def test_what_is_not_known_counts_nowhere() -> None:
    margin = margins(np.array([[2.0, -1.0, 5.0], [1.0, 1.0, 1.0]]), np.array([[1, 0, np.nan], [np.nan] * 3]))
    np.testing.assert_array_equal(margin[0, :2], [2.0, 1.0])
    np.testing.assert_array_equal(mean_known(margin), [1.5, 0.0])
    np.testing.assert_array_equal(sum_known(margin), [3.0, 0.0])
