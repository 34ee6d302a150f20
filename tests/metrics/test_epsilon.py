"""A lower bound on epsilon: by hand, and never above a guarantee that holds."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr.errors import DataError
from fedcxr.metrics.epsilon import epsilon_at_least
from fedcxr.rng import stream


def test_by_hand() -> None:
    """Half of twenty: all ten found, none of ten accused; of ten of ten, the bound of Clopper and Pearson is simple."""
    bound = epsilon_at_least(np.arange(20) + 100.0, np.arange(20.0), 0.0, stream(1))
    assert bound is not None
    least = 0.025 ** (1 / 10)
    assert bound.value == bound.provable == pytest.approx(np.log(least / (1 - least)))
    assert (bound.people, bound.confidence, bound.delta) == (20, 0.95, 0.0)


def test_whoever_is_surely_no_member_counts_as_well() -> None:
    """A third of the others gives itself away, and no member does: from the members' side that is hardly anything."""
    others = np.where(np.arange(300) % 3 == 0, -1.0, 0.0)
    bound = epsilon_at_least(np.zeros(300), others, 0.0, stream(1))
    assert bound is not None
    assert bound.value > 2 > np.log(1 / (1 - 1 / 3))


def test_what_delta_allows_proves_nothing() -> None:
    bounds = [epsilon_at_least(np.arange(60) + 50.0, np.arange(60.0), delta, stream(1)) for delta in (0.0, 0.2, 0.99)]
    values = [bound.value for bound in bounds if bound is not None]
    assert values[0] > values[1] > values[2] == 0


def test_a_guarantee_that_holds_is_contradicted_in_few_of_many_draws() -> None:
    """Randomised response of epsilon 1, which is exactly that private; 95 % confidence allows 10 in 200."""
    truth = np.e / (1 + np.e)
    above = 0
    for draw in range(200):
        rng = stream(draw)
        members, others = (rng.random(200) < share for share in (truth, 1 - truth))
        bound = epsilon_at_least(members.astype(float), others.astype(float), 0.0, rng)
        assert bound is not None
        above += bound.value > 1
    assert above <= 10


def test_too_few_people_prove_nothing() -> None:
    assert epsilon_at_least(np.arange(3.0), np.arange(50.0), 0.0, stream(1)) is None
    small = epsilon_at_least(np.full(8, 2.0), np.zeros(8), 0.0, stream(1))
    assert small is not None
    assert small.value == 0.0  # four of four are no proof of anything


@pytest.mark.parametrize(("delta", "confidence"), [(1.0, 0.95), (-0.1, 0.95), (0.0, 1.0), (0.0, 0.0)])
def test_what_is_no_share_is_refused(delta: float, confidence: float) -> None:
    with pytest.raises(DataError, match="are shares"):
        epsilon_at_least(np.zeros(9), np.ones(9), delta, stream(1), confidence)
