"""Replicates that two runs can subtract: the same patients count equally often, whoever else is there."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr.metrics import auc
from fedcxr.metrics.bootstrap import auc_interval
from fedcxr.metrics.paired import MOST_NEGATIVES, REPLICATES, _weights, of_findings, of_means, of_pairs
from fedcxr.rng import stream

PEOPLE = np.array([f"p{number:03}" for number in range(120)], dtype=object)


def scored(noise: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """One film of everybody: whether a finding is there, and a score of it."""
    rng = stream(seed, "scored")
    labels = (np.arange(len(PEOPLE)) % 3 == 0).astype(np.float32)[:, None]
    return labels, labels + rng.normal(0, noise, labels.shape).astype(np.float32)


def test_how_often_somebody_is_drawn_depends_on_nobody_else() -> None:
    [all_of_them], [some] = _weights(PEOPLE, 1), _weights(PEOPLE[40:60], 1)
    np.testing.assert_array_equal(all_of_them[40:60], some[:-1])
    assert (all_of_them[-1] == 1).all()  # a pair within a patient counts once
    assert all_of_them[:-1].mean() == pytest.approx(1.0, abs=0.02)
    assert all_of_them[:-1].var() == pytest.approx(1.0, abs=0.03)


def test_a_replicate_is_the_auc_of_whoever_was_drawn_as_often() -> None:
    labels, scores = scored(1.0)
    found = of_findings(labels, scores, PEOPLE)
    assert found is not None
    [times] = _weights(PEOPLE, 1)
    for replicate in (0, 1, REPLICATES - 1):
        drawn = np.repeat(np.arange(len(PEOPLE)), times[:-1, replicate].astype(int))
        assert found.values[replicate] == pytest.approx(auc(labels[drawn, 0] == 1, scores[drawn, 0]), abs=1e-5)


def test_they_spread_as_those_of_the_ordinary_bootstrap_do() -> None:
    labels, scores = scored(1.5)
    place = np.arange(len(PEOPLE))
    found = of_pairs(scores[:, 0], labels[:, 0] == 1, np.stack([place, place]), PEOPLE)
    ends = auc_interval(scores[:, 0], labels[:, 0] == 1, place, place, stream(0, "ordinary"))
    assert found is not None
    assert ends is not None
    low, high = np.quantile(np.array(found.values, dtype=float), [0.025, 0.975])
    assert high - low == pytest.approx(ends[1] - ends[0], rel=0.15)
    assert found.patients == len(PEOPLE)


def test_films_in_another_order_give_the_same() -> None:
    labels, scores = scored(1.0)
    order = stream(3, "order").permutation(len(PEOPLE))
    assert of_findings(labels, scores, PEOPLE) == of_findings(labels[order], scores[order], PEOPLE[order])


def test_what_one_patient_decides_has_none() -> None:
    labels, scores = scored(1.0)
    assert of_findings(labels, scores, np.repeat(PEOPLE[:1], len(PEOPLE))) is None
    assert len(labels) < MOST_NEGATIVES


def test_a_mean_is_that_of_whoever_was_drawn_as_often() -> None:
    """A film without the figure counts for nobody, and a patient with several as often for each."""
    values = np.append(stream(2, "figures").random(len(PEOPLE)), [0.5, np.nan])
    patients = np.append(PEOPLE, PEOPLE[:2])
    found = of_means(values, patients)
    assert found is not None
    [times] = _weights(PEOPLE, 1)
    often = np.append(times[:-1, 7], [times[0, 7], 0]).astype(int)
    drawn = np.repeat(np.arange(len(values)), often)
    assert found.values[7] == pytest.approx(values[drawn].mean(), abs=1e-5)
    assert found.patients == len(PEOPLE)
    assert of_means(values[:2], patients[[0, 0]]) is None
    assert of_means(np.full(3, np.nan), PEOPLE[:3]) is None
