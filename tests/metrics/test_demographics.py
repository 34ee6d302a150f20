"""Sex and age as evidence: what is likelier of one person counts for them, and what is unknown counts nothing."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr.errors import DataError
from fedcxr.metrics import auc
from fedcxr.metrics.demographics import YEARS, DemographicBaseline, People

NAN = np.nan


def people(sex: object, age: object) -> People:
    return People(np.asarray(sex, dtype=np.float32), np.asarray(age, dtype=np.float32))


def drawn(persons: int, rng: np.random.Generator) -> tuple[People, np.ndarray]:
    """Three films each, a year apart or so; one sex in a thousand is mistaken."""
    owner = np.repeat(np.arange(persons), 3)
    age = rng.uniform(20, 80, persons)[owner] + np.tile([0.0, 0.7, 1.9], persons)
    sex = rng.integers(0, 2, persons)[owner].astype(float)
    mistaken = rng.random(len(sex)) < 0.001
    return people(np.where(mistaken, 1 - sex, sex), age), owner


def test_by_hand() -> None:
    """Four films of two people: two genuine pairs, both of equal sex and at most a year apart."""
    fitted = DemographicBaseline.fit(people([0, 0, 1, 1], [30, 30, 60, 60]), np.array([0, 0, 1, 1]), _FirstRows())
    # Laplace: equal sex in 3 of 4 genuine pairs, in 1 of 4 of the others; unknown says nothing.
    assert fitted.sex == pytest.approx([np.log(3), -np.log(3), 0])
    assert fitted.age[0] == pytest.approx(np.log(3))  # 3 to 1 of as many
    assert fitted.age[len(YEARS)] == pytest.approx(-np.log(3))  # beyond the last
    assert fitted.age[-1] == 0
    assert fitted.score(people([0], [30]), people([0, 1, NAN], [30, 90, NAN])) == pytest.approx(
        np.array([[2 * np.log(3), -2 * np.log(3), 0]])
    )


class _FirstRows(np.random.Generator):
    """Whoever is drawn, it is a pair of film 0 and film 2."""

    def __init__(self) -> None:
        super().__init__(np.random.Philox(0))

    def integers(self, *args: object, **kwargs: object) -> np.ndarray:  # type: ignore[override]
        return np.array([[0, 0], [2, 2]])


def test_it_tells_people_apart_and_means_odds() -> None:
    rng = np.random.default_rng(0)
    fitted = DemographicBaseline.fit(*drawn(1500, rng), rng)
    there, owner = drawn(400, rng)
    same = owner[:, None] == owner[None]
    scores = fitted.score(there, there)
    ours, theirs = scores[same & ~np.eye(len(owner), dtype=bool)], scores[~same]
    assert auc(np.repeat([True, False], [len(ours), len(theirs)]), np.r_[ours, theirs]) > 0.9
    for value in np.unique(ours.round(4)):  # where it says three to one, it is: three of four at even odds
        one, two = ((of.round(4) == value).mean() for of in (ours, theirs))
        if min(one, two) > 0.005:
            assert np.log(one / two) == pytest.approx(value, abs=0.3)


def test_order_does_not_matter_and_rows_must_fit() -> None:
    rng = np.random.default_rng(1)
    fitted = DemographicBaseline.fit(*drawn(50, rng), rng)
    some, others = people([0, 1, NAN], [30, NAN, 50]), people([1, 0], [31, 70])
    np.testing.assert_array_equal(fitted.score(some, others), fitted.score(others, some).T)
    with pytest.raises(DataError, match="one number per film"):
        people([0, 1], [30])


def test_where_identities_mean_nothing_neither_do_sex_and_age() -> None:
    rng = np.random.default_rng(2)
    there, owner = drawn(400, rng)
    fitted = DemographicBaseline.fit(there, rng.permutation(owner), rng)
    assert np.abs(np.r_[fitted.sex, fitted.age]).max() < 0.4
