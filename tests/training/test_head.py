"""A linear layer on features that do not change: which epoch is kept, and what it is shown."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr.errors import TrainingDiverged
from fedcxr.metrics import auc
from fedcxr.rng import stream
from fedcxr.training.compute import Compute
from fedcxr.training.head import Head, Recipe, teach

FP32 = Compute.choose("cpu", "fp32")
FILMS, HELD_OUT = 200, 50


def made() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of which two tell a finding each, in two views; the last films are held out."""
    rng = stream(1, "features")
    labels = (rng.random((FILMS, 2)) < 0.4).astype(np.float32)
    features = rng.standard_normal((2, FILMS, 8)).astype(np.float32)
    features[:, :, :2] += 2 * labels
    labels[::7, 1] = np.nan
    return features, labels, np.arange(FILMS) >= FILMS - HELD_OUT


def taught(recipe: Recipe, features: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> Head:
    return teach(features, labels, held_out, recipe, stream(2), FP32)


def test_findings_are_learnt_and_the_same_again() -> None:
    features, labels, held_out = made()
    heads = [taught(Recipe(learning_rate=0.02), features, labels, held_out) for _ in range(2)]
    scores = heads[0].scores(features[0])
    np.testing.assert_array_equal(scores, heads[1].scores(features[0]))
    for finding in range(2):
        known = held_out & ~np.isnan(labels[:, finding])
        assert auc(labels[known, finding] == 1, scores[known, finding]) > 0.85


def test_the_epoch_is_kept_after_which_held_out_films_had_the_lowest_loss() -> None:
    """Where held-out films say the contrary, every epoch makes it worse: the first is kept, and learning stops."""
    features, labels, held_out = made()
    misled = np.where(held_out[:, None], 1 - labels, labels)
    rising = taught(Recipe(learning_rate=0.02, stop=4), features, misled, held_out)
    assert (rising.best, rising.epochs) == (1, 5)
    np.testing.assert_array_equal(
        rising.scores(features[0]),
        taught(Recipe(epochs=1, learning_rate=0.02), features, misled, held_out).scores(features[0]),
    )


def test_a_plateau_leaves_a_tenth_of_the_rate() -> None:
    features, labels, held_out = made()
    misled = np.where(held_out[:, None], 1 - labels, labels)
    for patience, tenths in ((0, 5), (1, 2), (9, 0)):
        head = taught(Recipe(6, learning_rate=0.02, patience=patience, stop=9), features, misled, held_out)
        assert head.rate == pytest.approx(0.02 * 0.1**tenths), "every epoch but the first has a higher loss"


def test_both_views_are_shown() -> None:
    """A view that tells the contrary of the other leaves nothing to learn."""
    features, labels, held_out = made()
    contrary = features.copy()
    contrary[1, :, :2] *= -1
    alone, both = (taught(Recipe(learning_rate=0.02, stop=50), f, labels, held_out) for f in (features[:1], contrary))
    known = held_out & ~np.isnan(labels[:, 1])
    told = [auc(labels[known, 0] == 1, head.scores(features[0])[known, 0]) for head in (alone, both)]
    assert told[0] > 0.85 > told[1] + 0.1


def test_features_that_are_no_numbers_end_in_one_line() -> None:
    features, labels, held_out = made()
    features[:, 3] = np.nan
    with pytest.raises(TrainingDiverged, match="after epoch 1 of"):
        taught(Recipe(), features, labels, np.where(np.arange(FILMS) == 3, True, held_out))
