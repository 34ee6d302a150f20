"""Pictures along the way: which films are followed, and by hand when an attacker has stopped rising."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.questions import _film_curve as curves


@given(st.integers(1, 5000))
def test_few_films_are_followed_each_once(films: int) -> None:
    rows = curves.followed(films)
    assert len(set(rows.tolist())) == len(rows) == min(films, curves.FOLLOWED)
    assert 0 <= rows.min() <= rows.max() < films


def test_what_is_told_is_what_is_asked_for() -> None:
    shape = (300, 2, 2)
    rungs = [np.zeros((curves.FOLLOWED, 2, 2), dtype=np.uint8)] * 3
    told = {"pictures": np.zeros(shape, dtype=np.uint8), **curves.told(rungs, 800, [None, 1.0, 2.0, 3.0])}
    parts = curves.parts(shape)
    assert told.keys() == {"pictures", "pictures at 1/2", "pictures at 1/4", "pictures at 1/8", "steps", "held_out"}
    for name, array in told.items():
        assert array.shape == parts[name].shape
        assert array.dtype == parts[name].dtype
    assert told["held_out"][-3:].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(told["held_out"][:-3]).all()


@pytest.mark.parametrize(
    ("gains", "ci95", "converged"),
    [
        ((1.0, 2.0, 3.0), (2.5, 3.5), False),
        ((1.0, 2.95, 3.0), (2.5, 3.5), True),
        ((3.2, 2.95, 3.0), (2.5, 3.5), False),  # it was better before: this is no end
        ((0.0, 0.0, 0.0), (-0.1, 0.1), None),  # a flat line at the mean film
        ((1.0, 2.0, 3.0), None, None),
        ((3.0,), (2.5, 3.5), None),
    ],
)
def test_the_rule_by_hand(gains: Sequence[float], ci95: tuple[float, float] | None, converged: bool | None) -> None:
    """Each rung's pictures are of one grey level, which stands for what they gained."""
    levels = [np.full((5, 1, 1), round(20 * gain), dtype=np.uint8) for gain in gains]
    answer = {"pictures": levels[-1], **curves.told(levels[:-1], 400, list(gains))}
    found = curves.curve(answer, lambda pictures, rows: float(pictures.mean()) / 20, ci95)
    assert found["converged"] is converged
    assert [rung["over_mean_db"] for rung in found["curve"]] == pytest.approx(list(gains))
    assert [rung["held_out"] for rung in found["curve"]] == pytest.approx(list(gains))
    assert [rung["budget"] for rung in found["curve"]] == [400 >> n for n in reversed(range(len(gains)))]


def test_who_does_not_train_has_no_curve() -> None:
    nothing = {"pictures": np.zeros((5, 1, 1), dtype=np.uint8)}
    assert curves.curve(nothing, lambda pictures, rows: 0.0, (1.0, 2.0)) == {"converged": None, "curve": []}
