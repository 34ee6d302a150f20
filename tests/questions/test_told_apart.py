"""What is found of single people, by hand; by luck alone, of one film in a hundred."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr.questions._told_apart import ToldApart
from fedcxr.rng import stream


def test_by_hand() -> None:
    """Of 100 films of others one may be told: the second highest of them, 98, is what a film must exceed."""
    others = np.arange(100.0)
    scores = np.concatenate([[98.5, 200.0, 98.0, 150.0, 3.0, 7.0], others])
    people = np.array([0, 0, 1, 1, 2, 2, *range(3, 103)])
    true = np.array([1.0, 1, 1, 1, 1, np.nan, *np.zeros(100)])
    told = ToldApart.of_films([(scores, true)], people).told()
    assert told is not None
    assert (told["patients"], told["always_found"], told["never_found"]) == (3, 1, 1)
    assert told["worst"] == {"films": 2, "tpr_at_0.01": 1.0}
    assert told["tpr_at_0.01"]["0.5"] == 0.5
    # Asked a second thing, of which nothing is true but of the third: both count.
    second = (np.where(people == 2, 500.0, 0.0), np.where(people == 2, 1.0, 0.0))
    both = ToldApart.of_films([(scores, true), second], people)
    assert both.right.tolist()[:3] == [2, 1, 2]
    assert both.of.tolist()[:3] == [2, 2, 3]


def test_where_others_are_too_few_nothing_is_known() -> None:
    people, true = np.arange(60), np.arange(60) % 2.0
    assert ToldApart.of_films([(true, true)], people).told() is None
    assert ToldApart.of_films([], people).told() is None


def test_by_luck_one_film_in_a_hundred_is_told() -> None:
    people = np.repeat(np.arange(4000), 2)
    found = ToldApart.of_films([(stream(0, "luck").normal(size=8000), people % 2.0)], people)
    assert len(found.rates) == 2000
    assert found.rates.mean() == pytest.approx(0.01, abs=0.006)
