"""What is said of membership attacks is never better news than their figures are."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.verdict.membership import NEAR, level, membership

SAFE = ("safe", "hidden", "private", "anonymous", "protected", "secure")


def entry(auc: float | None, ci95: list[float] | None = None, **changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "adversary": "membership",
        "attacker": "rmia",
        "auc": {"value": auc, "ci95": ci95},
        "film": {"auc": {"value": auc, "ci95": ci95}},
        "people": {"members": 80, "others": 75},
        "at_fpr": {"0.01": {"true_positives": 20, "false_positives": 0, "tpr": 0.25}, "0.001": None},
        "epsilon_at_least": {"value": 1.25, "provable": 2.5, "unit": "patient"},
        "epsilon_formal": None,
        "contradicts_epsilon": None,
        "conclusive": True,
        "inconclusive_because": None,
    }
    return usual | changes


def guaranteed(epsilon: float, unit: str = "patient", contradicted: bool | None = False) -> dict[str, Any]:
    return {"epsilon_formal": {"epsilon": epsilon, "unit": unit}, "contradicts_epsilon": contradicted}


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    ends = sorted(draw(st.lists(st.floats(0, 1), min_size=3, max_size=3)))
    contradicted = draw(st.sampled_from([None, False, True]))
    conclusive = draw(st.booleans()) and not contradicted
    return entry(
        draw(st.sampled_from([None, ends[1]])),
        draw(st.sampled_from([None, [ends[0], ends[2]]])),
        conclusive=conclusive,
        inconclusive_because=None if conclusive else "between members and members it reaches 0.7, not chance",
        **({} if contradicted is None else guaranteed(1.0, contradicted=contradicted)),
    )


@settings(max_examples=60)
@given(st.lists(entries(), min_size=1, max_size=3))
def test_nothing_is_said_that_is_better_news_than_the_figures(told: list[dict[str, Any]]) -> None:
    reached, (headline, *others) = level(told), membership(told)
    assert not [word for word in SAFE if word in headline]
    assert (reached == "contradicted") == any(one["contradicts_epsilon"] for one in told)
    if reached == "not found":
        for one in told:
            assert one["conclusive"]
            assert one["auc"]["ci95"][1] <= NEAR
    if reached not in ("found", "contradicted"):
        assert not any(one["conclusive"] and surely(one) for one in told if one["auc"]["value"] is not None)
    said = " ".join(others)
    if reached != "unknown":
        assert "80 patients" in said
        for one in told:
            assert one["conclusive"] or "not chance" in said


def surely(one: dict[str, Any]) -> bool:
    return one["auc"]["ci95"] is not None and one["auc"]["ci95"][0] > 0.5


def test_a_guarantee_that_does_not_hold_comes_first() -> None:
    broken = entry(
        0.9, [0.8, 1.0], conclusive=False, inconclusive_because="it is wrong", **guaranteed(1, "patient", True)
    )
    headline, *said = membership([entry(0.99, [0.98, 1.0], attacker="lira"), broken])
    assert headline == "The formal guarantee does not hold: more is found out than it allows."
    assert "membership, rmia picks the right one in 90 of 100 (80 to 100)" in said[0]
    assert "Inconclusive (membership, rmia): it is wrong." in said


def test_epsilons_stand_beside_each_other_in_their_units() -> None:
    alone, held, other = (
        " ".join(membership([entry(0.6, [0.55, 0.65], **told)]))
        for told in ({}, guaranteed(8.0), guaranteed(3.0, "site", None))
    )
    assert "epsilon is at least 1.25 (95 % confidence); so few people could have shown 2.50 at most." in alone
    assert "The method guarantees nothing formally." in alone
    assert "The method guarantees 8 per patient." in held
    assert "guarantees 3 per site, which people cannot be compared with." in other
    assert "Accusing 0 of 75 wrongly, it finds 20 of 80 (25%)." in alone
