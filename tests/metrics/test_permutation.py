"""What chance makes of an AUC: against a loop that exchanges patients one draw at a time, and against guessers."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr.metrics import auc
from fedcxr.metrics.permutation import LEVEL, PERMUTATIONS, smallest_auc


def people(rng: np.random.Generator, patients: int, films: int) -> tuple[np.ndarray, np.ndarray]:
    """Of attacked and of known films; some of the attacked are in nobody's album."""
    return rng.integers(0, patients, films), rng.integers(0, patients - 2, films // 2)


@pytest.mark.parametrize("half", [False, True])
def test_the_same_as_exchanging_patients_one_draw_at_a_time(half: bool) -> None:
    rng = np.random.default_rng(1)
    patients, known = people(rng, 8, 24)
    scores = np.round(rng.normal(size=(24, 12)), 1)
    counted = rng.random(scores.shape) < 0.5 if half else np.ones(scores.shape, dtype=bool)
    both = np.intersect1d(patients, known)
    draws, found = np.random.default_rng(5), []
    for _ in range(PERMUTATIONS):
        taken_for = dict(zip(both.tolist(), draws.permutation(both).tolist(), strict=True))
        genuine = np.array([taken_for.get(p, -1) for p in patients.tolist()])[:, None] == known[None]
        found.append(auc(genuine[counted], scores[counted]))
    expected = np.quantile(found, LEVEL)
    assert smallest_auc(scores, patients, known, np.random.default_rng(5), counted) == pytest.approx(expected)


def test_a_guesser_stays_below_it_in_95_of_100_tries() -> None:
    """Also one whose scores depend on whose films they are, as those of networks do."""
    rng, above = np.random.default_rng(2), 0
    for _ in range(150):
        patients, known = people(rng, 15, 50)
        scores = rng.normal(size=(15, 15))[patients][:, known] + rng.normal(size=(50, 25))
        limit = smallest_auc(scores, patients, known, rng)
        assert limit is not None
        above += auc((patients[:, None] == known[None]).ravel(), scores.ravel()) > limit
    assert 1 <= above <= 17  # 7.5 expected


def test_fewer_patients_can_show_less() -> None:
    limits: list[float] = []
    for patients in (6, 30, 150):
        rng = np.random.default_rng(3)
        own = np.repeat(np.arange(patients), 2)
        found = smallest_auc(rng.normal(size=(2 * patients, 2 * patients)), own, own, rng)
        assert found is not None
        limits.append(found)
    assert limits[0] > limits[1] > limits[2] > 0.5


@pytest.mark.parametrize(
    ("scores", "patients", "known"),
    [
        (np.zeros((4, 4)), [0, 0, 1, 1], [0, 0, 1, 1]),  # all alike
        (np.eye(4), [0, 0, 1, 1], [1, 1, 1, 1]),  # one patient on both sides
        (np.eye(4), [0, 0, 1, 1], [2, 2, 3, 3]),
        (np.zeros((0, 4)), [], [2, 2, 3, 3]),
        (np.zeros((0, 0)), [], []),
    ],
)
def test_where_nothing_can_be_exchanged_it_is_unknown(
    scores: np.ndarray, patients: list[int], known: list[int]
) -> None:
    own, others = (np.array(side, dtype=np.intp) for side in (patients, known))
    assert smallest_auc(scores, own, others, np.random.default_rng(0)) is None
