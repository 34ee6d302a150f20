"""Differences between policies: told where they are there, not where they are not, and as often as is promised."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from fedcxr.metrics.paired import Replicates, of_findings
from fedcxr.rng import stream
from fedcxr.runs.differences import NO_REPLICATES, SURE, BySeed, Measured, Policy, compared, difference, holm, others


def test_holm_by_hand() -> None:
    # In ascending order .01 x 4, .02 x 3, .03 x 2 and .04 x 1; no value below one before it.
    assert holm([0.04, 0.01, None, 0.03, 0.02]) == pytest.approx([0.06, 0.04, None, 0.06, 0.06], nan_ok=True)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([None]) == [None]


def drawn(seed: int, level: float, patients: int, training: float = 0.0, rng_of: str = "own") -> Measured:
    """A figure that is a mean over patients, each easier or harder under every policy; replicates weigh patients."""
    ease = stream(seed, "ease").normal(0, 1, patients)
    own = stream(seed, rng_of).normal(0, 0.3, patients)
    figures = level + ease + own
    off = training * float(stream(seed, rng_of, "training").normal())
    weights = stream(seed, "weights").poisson(1.0, (500, patients)).astype(float)
    return Measured(figures.mean() + off, patients, weights @ figures / weights.sum(axis=1) + off)


@pytest.mark.parametrize(("seeds", "training"), [(1, 0.0), (3, 0.0), (3, 0.1)])
def test_intervals_hold_the_true_difference_as_often_as_they_say(seeds: int, training: float) -> None:
    """Of 300, 95 % are 285, with a standard deviation of 3.8; with training in them, intervals err to the wide side."""
    truth, held, false = 0.1, 0, 0
    for trial in range(300):
        numbers = range(10 * trial, 10 * trial + seeds)
        right = {seed: drawn(seed, 0.0, 60, training, "right") for seed in numbers}
        left = {seed: drawn(seed, truth, 60, training, "left") for seed in numbers}
        low, high = difference(left, right)["difference"]["ci95"]
        held += low <= truth <= high
        alike = {seed: drawn(seed, 0.0, 60, training, "left") for seed in numbers}
        false += difference(alike, right)["p"] <= SURE
    assert 270 <= held <= 300
    assert false <= 30


def spread(one: Measured) -> float:
    assert one.replicates is not None
    return float(np.std(one.replicates))


def test_what_patients_have_in_common_cancels_out() -> None:
    left, right = {0: drawn(0, 0.2, 100, rng_of="left")}, {0: drawn(0, 0.0, 100, rng_of="right")}
    paired = difference(left, right)
    alone = sum(spread(one) for side in (left, right) for one in side.values())
    low, high = paired["difference"]["ci95"]
    assert high - low < alone  # a quarter of what two unpaired figures leave open
    assert paired["p"] < 0.01


def test_the_same_patients_under_three_seeds_are_not_three_times_as_many() -> None:
    one = {0: drawn(0, 0.1, 50, rng_of="left")}, {0: drawn(0, 0.0, 50, rng_of="right")}
    left, right = (dict.fromkeys(range(3), side[0]) for side in one)
    assert difference(left, right)["difference"]["ci95"] == pytest.approx(difference(*one)["difference"]["ci95"])


def test_as_many_patients_as_are_asked_for_would_tell() -> None:
    """Of 200 studies with so many patients, four in five tell a difference as large as the one observed."""
    seen = difference({0: drawn(5, 0.05, 40, rng_of="left")}, {0: drawn(5, 0.0, 40, rng_of="right")})
    value, needed = seen["difference"]["value"], seen["patients_needed"]
    assert needed is not None
    told = sum(
        difference({0: drawn(n, value, needed, rng_of="left")}, {0: drawn(n, 0.0, needed, rng_of="right")})["p"] <= SURE
        for n in range(100, 300)
    )
    assert told / 200 == pytest.approx(0.8, abs=0.1)


def test_no_number_of_patients_tells_nothing_or_makes_up_for_seeds() -> None:
    same = {0: drawn(0, 0.0, 40)}
    assert difference(same, same)["patients_needed"] is None
    assert difference(same, same)["p"] == 1.0
    apart = {seed: drawn(seed, 0.0, 40, training=1.0, rng_of="left") for seed in range(3)}
    others = {seed: drawn(seed, 0.0, 40, training=1.0, rng_of="right") for seed in range(3)}
    assert difference(apart, others)["patients_needed"] is None


def test_older_runs_cannot_tell() -> None:
    old: BySeed = {0: Measured(0.9)}
    policies: list[Policy] = [{"trained": old}, {"trained": {0: drawn(0, 0.0, 40)}}, {}]
    [one] = compared(["a", "b", "c"], policies)
    assert (one["figure"], one["left"], one["right"]) == ("trained", "b", "a")
    assert (one["told"], one["p"], one["p_adjusted"], one["patients_needed"]) == (False, None, None, None)
    assert one["difference"]["ci95"] is None
    assert one["because"] == f"cannot tell: {NO_REPLICATES}"


def test_each_is_compared_with_the_first_and_with_the_best_that_will_do() -> None:
    policies = [{"trained": {0: drawn(0, level, 40, rng_of=str(level))}} for level in (0.0, 0.5, 1.0)]
    pairs = [(one["left"], one["right"]) for one in compared(["a", "b", "c"], policies, best=1)]
    assert pairs == [("b", "a"), ("c", "a"), ("c", "b")]
    assert [(one["left"], one["right"]) for one in compared(["a", "b", "c"], policies)] == [("b", "a"), ("c", "a")]
    assert [(one["left"], one["right"]) for one in compared(["a", "b", "c"], policies, 0)] == [("b", "a"), ("c", "a")]
    adjusted = [one["p_adjusted"] for one in compared(["a", "b", "c"], policies, best=1)]
    assert all(one is not None and math.isfinite(one) for one in adjusted)


def test_every_other_pair_is_compared_once_and_corrected_among_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    names = list("abcde")
    policies = [{"trained": {0: drawn(0, 0.02 * n, 40, rng_of=name)}} for n, name in enumerate(names)]
    shown, rest = compared(names, policies, best=3), others(names, policies, best=3)
    assert rest is not None
    pairs = [frozenset((one["left"], one["right"])) for one in (*shown, *rest)]
    assert len(shown) == 7
    assert sorted(map(sorted, pairs)) == sorted(map(list, itertools.combinations(names, 2)))
    assert [one["p_adjusted"] for one in rest] == holm([one["p"] for one in rest])
    assert [one["p_adjusted"] for one in shown] == holm([one["p"] for one in shown])
    monkeypatch.setattr("fedcxr.runs.differences.MOST", len(rest) - 1)
    assert others(names, policies, best=3) is None


def heard(found: Replicates | None) -> Measured:
    assert found is not None
    values = np.array(found.values, dtype=np.float64)
    return Measured(float(values.mean()), found.patients, values)


def test_two_classifiers_are_compared_on_the_same_patients() -> None:
    """From scores to a verdict: one hears better than the other, and nobody needs to say who was drawn."""
    people = np.array([f"p{number}" for number in range(150)], dtype=object)
    labels = (np.arange(150) % 2).astype(np.float32)[:, None]
    noise = stream(0, "noise").normal(0, 1.2, (150, 1)).astype(np.float32)
    clear, dull = labels + noise * 0.5, labels + noise
    left, right = (heard(of_findings(labels, scores, people)) for scores in (clear, dull))
    told = difference({0: left}, {0: right})
    assert told["difference"]["value"] > 0
    assert told["p"] < 0.001
