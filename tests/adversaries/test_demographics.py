"""What sex and age say of two films: counted by hand, and nothing where nothing is told."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr.adversaries._back_end import Album
from fedcxr.adversaries._demographics import YEARS, comparison

NAN = np.nan
# Four people with two films each: two men and two women, all films of one person within a year.
TOLD = np.array([[0, 40], [0, 41], [0, 70], [0, 70], [1, 40], [1, 40], [1, 60], [1, 61]], dtype=np.float32)
PEOPLE = np.repeat(np.arange(4), 2)
NOBODY = Album(PEOPLE, np.zeros(8, dtype=bool))


def said(one: list[float], other: list[float], told: np.ndarray = TOLD) -> float:
    """The log-likelihood ratio of these two films."""
    some, others = (np.array([film], dtype=np.float32) for film in (one, other))
    return float(comparison(told, NOBODY).compare(some, others)[0, 0])


def test_sex_by_hand() -> None:
    # All 8 genuine pairs agree; of 48 pairs of strangers 16 do. Half a pair is added to each count.
    assert said([0, NAN], [0, NAN]) == pytest.approx(np.log((8.5 / 9) / (16.5 / 49)))
    assert said([0, NAN], [1, NAN]) == pytest.approx(np.log((0.5 / 9) / (32.5 / 49)))


def test_age_by_hand_and_independent_of_sex() -> None:
    bins = len(YEARS) + 1
    # Of 8 genuine pairs 4 are of the same year; of 48 pairs of strangers 2 x 2: 40 and 40 of either sex.
    same = np.log(((4 + 0.5) / (8 + bins / 2)) / ((4 + 0.5) / (48 + bins / 2)))
    assert said([NAN, 50], [NAN, 50]) == pytest.approx(same)
    assert said([1, 50], [1, 50]) == pytest.approx(same + said([1, NAN], [1, NAN]))


def test_nothing_is_said_where_nothing_is_told() -> None:
    assert said([NAN, NAN], [0, 50]) == 0
    assert said([0, 50], [0, 50], np.full_like(TOLD, NAN)) == 0


def test_people_judged_do_not_teach_what_judges_them() -> None:
    """Held out are people whose sex changes; who learns from the others alone has never seen that."""
    told, people = np.tile(TOLD, (2, 1)), np.repeat(np.arange(8), 2)
    told[8:, 0] = np.tile([0, 1], 4)
    found = comparison(told, Album(people, people >= 4))
    assert found.own.shape == (8, 8)
    assert found.own[0, 1] < found.compare(told[8:9], told[9:10])[0, 0]
