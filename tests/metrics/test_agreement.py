"""ICC and relative errors by hand, and against the analysis of variance that defines the ICC."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr.metrics.agreement import class_of, constant, icc, relative_errors


def test_three_things_by_hand() -> None:
    """All are shifted by 1: mean squares 2 between things, 0 of error, 1.5 between readings; 2 / (2 + 2 / 3 x 1.5)."""
    ours = np.array([[1.0], [2.0], [3.0]])
    assert icc(ours, ours + 1)[0] == pytest.approx(2 / 3)
    assert icc(ours, ours)[0] == pytest.approx(1)
    assert icc(ours, ours[::-1])[0] < 0
    mean, size = relative_errors(ours, ours - np.array([[1.0], [-2.0], [0.0]]))
    assert (mean[0], size[0]) == (pytest.approx(0), pytest.approx(2 / 3))


def test_it_is_the_icc_of_a_two_way_analysis_of_variance() -> None:
    rng = np.random.default_rng(3)
    ours = rng.normal(size=(17, 4)) * [1, 10, 1e4, 1e-4] + [0, 5, -1e6, 1]
    theirs = ours + rng.normal(size=ours.shape) * [0.3, 10, 3e4, 1e-5] + [0.5, 0, 0, 1e-5]
    found = icc(ours, theirs)
    n, k = len(ours), 2
    for column in range(4):
        table = np.stack([ours[:, column], theirs[:, column]], axis=1)
        mean, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
        between = k * ((rows - mean) ** 2).sum() / (n - 1)
        readings = n * ((columns - mean) ** 2).sum() / (k - 1)
        left = ((table - rows[:, None] - columns + mean) ** 2).sum() / ((n - 1) * (k - 1))
        expected = (between - left) / (between + (k - 1) * left + k * (readings - left) / n)
        assert found[column] == pytest.approx(expected, rel=1e-6)


def test_a_weight_is_so_many_copies() -> None:
    rng = np.random.default_rng(4)
    ours, theirs = rng.normal(size=(2, 6, 3))
    times = np.array([[1, 0, 3, 2, 1, 0], [1, 0, 0, 0, 0, 0]]).T
    twice = icc(ours, theirs, times)
    copied = np.repeat(np.arange(6), times[:, 0])
    np.testing.assert_allclose(twice[0], icc(ours[copied], theirs[copied]))
    assert np.isnan(twice[1]).all()  # one thing alone agrees with nothing


def test_what_does_not_vary_is_named_and_has_no_icc() -> None:
    ours = np.array([[7.0, 1.0, 1e8], [7.0, 2.0, 1e8 + 1e-3]])
    assert constant(ours).tolist() == [True, False, True]
    assert np.isnan(icc(ours[:, :1], ours[:, :1])[0])
    assert np.isnan(relative_errors(np.zeros((2, 1)), np.ones((2, 1)))).all()


@pytest.mark.parametrize(
    ("value", "name"),
    [(-0.2, "poor"), (0.40, "poor"), (0.41, "fair"), (0.60, "fair"), (0.75, "good"), (0.76, "excellent")],
)
def test_classes_end_where_the_paper_says(value: float, name: str) -> None:
    assert class_of(value) == name
