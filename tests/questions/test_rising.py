"""When an attacker has stopped rising, by hand; and whatever an answer says of the way there, nothing is believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import plain

from fedcxr.questions import Part, _rising
from fedcxr.questions._rising import AGAIN, HELD_OUT, SHARES, STEPS, Rung, at, curve, parts, verdict

ABOVE, AROUND = [0.6, 0.8], [0.45, 0.6]


def answer(*aucs: float, steps: int = 640, held_out: list[float] | None = None) -> dict[str, Any]:
    """An answer whose scores are its AUC, and those before it at the budgets before it."""
    shares = SHARES[len(SHARES) - len(aucs) :]
    told: dict[str, Any] = {at(share): np.full(1, auc) for share, auc in zip(shares, aucs, strict=True)}
    if held_out is not None:
        told[HELD_OUT] = np.array([np.nan] * (len(SHARES) - len(held_out)) + held_out, dtype=np.float32)
    return {**told, STEPS: np.array(steps)}


def curve_of(told: dict[str, Any], ci95: list[float] | None = ABOVE) -> _rising.Curve:
    return curve(told, float(told["scores"][0]), ci95, lambda scores: float(scores[0]))


@pytest.mark.parametrize(
    ("aucs", "ci95", "converged"),
    [
        ((0.6, 0.7), ABOVE, False),
        ((0.6, 0.7, 0.7), ABOVE, True),
        ((0.6, 0.7, 0.709), ABOVE, True),
        ((0.6, 0.7, 0.711), ABOVE, False),
        ((0.6, 0.7, 0.695), ABOVE, True),
        ((0.6, 0.7, 0.68), ABOVE, False),  # it has been better: what it answers is not the most that it can do
        ((0.7, 0.6, 0.605), ABOVE, False),
        ((0.5, 0.51, 0.512), AROUND, None),  # flat at chance
        ((0.5, 0.52, 0.56), AROUND, None),
        ((0.5, 0.51, 0.51), None, None),
        ((0.7,), ABOVE, None),  # nothing before it
    ],
)
def test_the_rule(aucs: tuple[float, ...], ci95: list[float] | None, converged: bool | None) -> None:
    assert curve_of(answer(*aucs), ci95).converged is converged


def test_the_curve_is_what_each_budget_was_worth() -> None:
    told = curve_of(answer(0.6, 0.65, 0.7, steps=1000, held_out=[0.8, 0.85, 0.87]))
    assert [(rung.budget, rung.auc) for rung in told.rungs] == [(250, 0.6), (500, 0.65), (1000, 0.7)]
    assert [rung.held_out for rung in told.rungs] == pytest.approx([0.8, 0.85, 0.87])
    assert told.rising is True  # by its own people: .87 after .85
    assert curve_of(answer(0.6, 0.7, held_out=[0.85, 0.855])).rising is False
    assert curve_of(answer(0.6, 0.7, held_out=[0.855])).rising is None
    assert plain(told.figures)


def test_without_an_answer_at_half_of_the_steps_the_last_doubling_is_unknown() -> None:
    told = answer(0.7, 0.7, 0.7)
    del told[at(2)]
    assert curve_of(told).converged is None
    assert [rung.budget for rung in curve_of(told).rungs] == [160, 640]


def test_who_does_not_train_has_no_curve() -> None:
    told = {"scores": np.full(1, 0.7)}
    assert curve_of(told) == _rising.Curve()
    assert curve_of(told).figures == {"converged": None, "effort": None, "curve": []}
    assert curve_of({**told, STEPS: np.array(-1)}).effort is None


def test_who_takes_no_steps_has_no_effort_that_could_be_raised() -> None:
    told = curve_of({**answer(0.6, 0.7), STEPS: np.array(0)})
    assert told.figures == {"converged": None, "effort": False, "curve": []}
    assert curve_of(answer(0.6, 0.7)).effort is True


@pytest.mark.parametrize(
    ("aucs", "ci95", "said"),
    [
        ((0.6, 0.7), ABOVE, "still rising"),
        ((0.7, 0.7), ABOVE, ""),
        ((0.5, 0.5), AROUND, "never rose"),
        ((0.5,), AROUND, ""),
    ],
)
def test_in_a_word(aucs: tuple[float, ...], ci95: list[float], said: str) -> None:
    told = curve_of(answer(*aucs), ci95)
    assert verdict(told.figures) == said


def test_all_but_the_answer_may_be_left_out() -> None:
    told = parts(Part((3, 2), np.float32))
    assert {name for name, part in told.items() if not part.optional} == {"scores"}
    assert {name for name, part in told.items() if part.gaps} == {HELD_OUT}
    assert {told[at(share)].shape for share in SHARES} == {told[AGAIN].shape} == {(3, 2)}


LIES = st.fixed_dictionaries(
    {"scores": st.floats(0, 1)},
    optional={
        **{at(share): st.floats(0, 1) | st.none() for share in SHARES[:-1]},
        STEPS: st.integers(-(2**63), 2**63 - 1) | st.integers(0, 100),
        HELD_OUT: st.lists(st.floats(width=32), min_size=len(SHARES), max_size=len(SHARES)),
    },
)


@settings(max_examples=80, deadline=None)
@given(LIES, st.sampled_from([ABOVE, AROUND, None]))
def test_whatever_an_answer_tells_its_curve_is_one(lies: dict[str, Any], ci95: list[float] | None) -> None:
    """Plain figures at ascending budgets, and never converged while something before was better."""
    auc = lies["scores"]
    told = curve({name: np.asarray(lie) for name, lie in lies.items()}, auc, ci95, lambda scores: scores.item())
    budgets = [rung.budget for rung in told.rungs]
    assert budgets == sorted(set(budgets))
    assert all(budget >= 1 for budget in budgets)
    assert all(rung.held_out is None or 0 <= rung.held_out <= 1 for rung in told.rungs)
    assert plain(told.figures)
    if told.rungs:
        assert told.rungs[-1] == Rung(int(lies[STEPS]), auc, told.rungs[-1].held_out)
    if told.converged:
        known = [rung.auc for rung in told.rungs if rung.auc is not None]
        assert max(known) - auc < _rising.TOLERANCE
        assert ci95 == ABOVE
