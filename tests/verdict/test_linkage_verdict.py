"""What is said of attackers is never better news than their figures are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.verdict.linkage import NEAR, level, linkage

SAFE = ("safe", "hidden", "private", "anonymous", "protected", "cannot be", "secure")


def entry(
    auc: float | None, ci95: list[float] | None = None, smallest: float | None = 0.55, **changes: Any
) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "adversary": "verifier",
        "attacker": "retrained",
        "auc": {"value": auc, "ci95": ci95},
        "smallest_auc": smallest,
        "rank1": None if auc is None else 0.5,
        "per_patient": {"patients": 34, "always_found": 16, "never_found": 9},
        "pairs": {"genuine": 512, "impostor": 13188, "queries": 95},
        "control_raw_auc": 0.97,
        "conclusive": True,
        "inconclusive_because": None,
        "converged": True,
        "trust": {"reasons": []},
    }
    return usual | changes


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    ends = sorted(draw(st.lists(st.floats(0, 1), min_size=3, max_size=3)))
    conclusive = draw(st.booleans())
    return entry(
        draw(st.sampled_from([None, ends[1]])),
        draw(st.sampled_from([None, [ends[0], ends[2]]])),
        draw(st.none() | st.floats(0.5, 1)),
        attacker=draw(st.sampled_from(["naive", "retrained"])),
        conclusive=conclusive,
        inconclusive_because=None if conclusive else "on unprotected films it reaches 0.7, below 0.9",
        converged=draw(st.sampled_from([True, False, None])),
        control_raw_auc=draw(st.none() | st.floats(0, 1)),
        trust={"reasons": draw(st.lists(st.just("its own validation still rises"), max_size=1))},
    )


FLOORS = st.none() | st.floats(0, 1).map(lambda value: {"auc": {"value": value, "ci95": [value, value]}})


@settings(max_examples=60)
@given(st.lists(entries(), min_size=1, max_size=3), FLOORS)
def test_nothing_is_said_that_is_better_news_than_the_figures(told: list[dict[str, Any]], floor: Any) -> None:
    reached, (headline, *others) = level(told), linkage(told, floor)
    scored = [one for one in told if one["auc"]["value"] is not None]
    if reached == "not found":
        for one in scored:
            assert one["conclusive"]
            assert one["auc"]["ci95"][1] <= NEAR
            assert one["converged"] is not False
            assert not one["trust"]["reasons"]
    if reached != "linked":
        assert not any(one["conclusive"] and beyond_chance(one) for one in scored)
    assert reached == "unknown" or scored
    said = " ".join([headline, *others])
    assert not [word for word in SAFE if word in headline.replace("can be re-identified", "")]
    for one in told:
        if scored and not one["conclusive"]:
            assert "Inconclusive" in said
            assert "What to do" in said
    if scored:
        assert "34 patients" in said
        assert "13,188" in said
        assert "95 queries" in said


def beyond_chance(one: dict[str, Any]) -> bool:
    value, ends = one["auc"]["value"], one["auc"]["ci95"]
    return ends is not None and ends[0] > 0.5 and value > (one["smallest_auc"] or 0.5)


@settings(max_examples=60)
@given(entries(), st.floats(0, 1))
def test_a_better_attacker_is_never_better_news(one: dict[str, Any], by: float) -> None:
    value, ends = one["auc"]["value"], one["auc"]["ci95"]
    if value is None or ends is None:
        return
    better = one | {"auc": {"value": min(1.0, value + by), "ci95": [min(1.0, end + by) for end in ends]}}
    news = ["not found", "open", "linked"]
    before, after = level([one]), level([better])
    assert before == after == "no conclusion" or news.index(after) >= news.index(before)


@pytest.mark.parametrize(
    ("told", "reached"),
    [
        (entry(0.96, [0.94, 0.98]), "linked"),
        (entry(0.53, [0.47, 0.59]), "not found"),
        (entry(0.53, [0.45, 0.61]), "open"),
        (entry(0.54, [0.51, 0.58]), "not found"),  # of so few patients chance reaches as much
        (entry(0.62, [0.55, 0.68], smallest=0.65), "open"),
        (entry(0.53, [0.47, 0.59], converged=False), "open"),
        (entry(0.53, [0.47, 0.59], trust={"reasons": ["from two seeds it reaches 0.5 and 0.6"]}), "open"),
        (entry(0.53, [0.47, 0.59], conclusive=False), "no conclusion"),
        (entry(0.96, [0.94, 0.98], conclusive=False), "no conclusion"),
        (entry(0.53), "no conclusion"),
        (entry(None), "unknown"),
    ],
)
def test_the_rule_by_hand(told: dict[str, Any], reached: str) -> None:
    assert level([told]) == reached


def test_a_figure_is_told_as_what_it_is() -> None:
    said = " ".join(linkage([entry(0.963, [0.939, 0.981])], {"auc": {"value": 0.7, "ci95": [0.63, 0.77]}}))
    assert said.startswith("Patients can be re-identified from what was released.")
    assert "(verifier, retrained) picks the right one in 96 of 100 (94 to 98); guessing gets 50" in said
    assert "first guess was right for 50% of the 95 asked about: always for 16 of 34 patients, never for 9" in said
    assert "On unprotected films it is right in 97 of 100: the protection stops hardly anything." in said
    assert "right in 70 of 100 (63 to 77): what was released of films gives away more than that" in said


def test_what_findings_give_away_is_told_where_attackers_find_nothing() -> None:
    said = " ".join(linkage([entry(0.53, [0.47, 0.59])], {"auc": {"value": 0.7, "ci95": [0.63, 0.77]}}))
    assert "people are linked by them, whatever is done to films" in said


def test_a_high_figure_whose_control_failed_is_no_good_news() -> None:
    doubt = "on unprotected films it reaches 0.850, below 0.9"
    said = linkage([entry(0.84, [0.8, 0.88], conclusive=False, inconclusive_because=doubt)], None)
    assert said[0].startswith("No conclusion")
    assert f"Inconclusive (verifier, retrained): {doubt}." in said
    assert any("take it that patients are found as often as the figures say" in one for one in said)
