"""Searching a gallery: against every order of ties by hand, and against a loop over thresholds."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.errors import DataError
from fedcxr.metrics import retrieval
from fedcxr.metrics.identification import RANKS, Search


def literal_within(scores: np.ndarray, mate: np.ndarray, rank: int) -> float:
    """The share of all orders of the candidates, best first, in which a mate is among the first so many."""
    orders = [o for o in itertools.permutations(range(len(scores))) if (np.diff(scores[list(o)]) <= 0).all()]
    return float(np.mean([mate[list(order[:rank])].any() for order in orders]))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ties_are_taken_in_every_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, mate = rng.integers(0, 3, (1, 6)).astype(float), rng.random((1, 6)) < 0.4
    found = Search.of(scores, mate)
    for rank in (1, 2, 4, 6, 9):
        assert found.within(rank)[0] == pytest.approx(literal_within(scores[0], mate[0], rank))


def test_by_hand() -> None:
    """Three probes of people who are known, the last of whom is found third; two of strangers."""
    genuine = np.zeros((5, 4), dtype=bool)
    genuine[[0, 1, 2], [0, 1, 2]] = True
    scores = np.array([[9, 1, 1, 1], [0, 5, 1, 1], [7, 6, 2, 1], [8, 0, 0, 0], [0, 0, 0, 4]], dtype=float)
    found = Search.of(scores, genuine)
    assert found.first.tolist() == [1, 1, 0, 0, 0]
    assert found.rank_curve == {"1": 2 / 3, "5": 1, "10": 1, "20": 1, "50": 1}
    assert found.open_set == {"mated": 3, "unknown": 2, "at_false_alarms": {"0.01": None, "0.1": None}}


def crowd(strangers: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    genuine = np.concatenate([np.eye(60, dtype=bool), np.zeros((strangers, 60), dtype=bool)])
    return np.round(rng.normal(size=genuine.shape) + 3 * genuine, 1), genuine


def test_an_open_set_counts_what_is_accepted_of_strangers() -> None:
    scores, genuine = crowd(strangers=150)
    found = Search.of(scores, genuine)
    told = found.open_set["at_false_alarms"]
    tops, mated = scores.max(axis=1), genuine.any(axis=1)
    for rate in ("0.01", "0.1"):
        alarms = {above: (tops[~mated] > above).sum() for above in [-np.inf, *np.unique(scores)]}
        above = min(above for above, count in alarms.items() if count <= 150 * float(rate))
        expected = (found.first * (tops > above))[mated].mean()
        assert told[rate]["rate"] == pytest.approx(expected)
        assert told[rate]["false_alarms"] == alarms[above]
        assert told[rate]["realised"] == alarms[above] / 150 <= float(rate)
    assert told["0.1"]["rate"] > told["0.01"]["rate"] > 0.1


def test_what_may_not_be_compared_is_no_candidate() -> None:
    """A film is not found by itself, and one that may be compared with nothing is not searched for."""
    people = np.array([0, 0, 1, 2])
    genuine = people[:, None] == people[None]
    allowed = ~np.eye(4, dtype=bool)
    allowed[2] = False
    found = Search.of(np.eye(4) * 9 + genuine, genuine, allowed)
    assert found.mated.tolist() == [True, True, False]
    assert found.rank_curve["1"] == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_rank_1_is_that_of_retrieval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q, g = rng.integers(0, 6, 40), rng.integers(0, 6, 20)
    scores = np.round(rng.normal(size=(40, 20)), 1)
    curve = Search.of(scores, q[:, None] == g[None]).rank_curve
    assert curve["1"] == pytest.approx(retrieval(scores, q, g).rank1)
    assert list(curve) == [str(rank) for rank in RANKS]
    assert list(curve.values()) == sorted(v for v in curve.values() if v is not None)


def test_nobody_to_be_found_leaves_figures_unknown() -> None:
    for shape in ((3, 2), (0, 2), (3, 0), (0, 0)):
        found = Search.of(np.zeros(shape), np.zeros(shape, dtype=bool))
        assert set(found.rank_curve.values()) == {None}
        json.dumps(found.open_set, allow_nan=False)
    with pytest.raises(DataError, match="NaN"):
        Search.of(np.full((1, 1), np.nan), np.ones((1, 1), dtype=bool))
