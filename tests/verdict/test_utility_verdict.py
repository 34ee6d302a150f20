"""What is said of usefulness, of pictures and of what else is given away: never better news than the figures."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.verdict import Figure, times
from fedcxr.verdict.recovery import attributes, pictures, same_film
from fedcxr.verdict.utility import Level, fidelity, findings, level, segmentation

CEILING = Figure(0.8, 0.75, 0.85)


def around(value: float, by: float = 0.03) -> Figure:
    return Figure(value, value - by, value + by)


@pytest.mark.parametrize(
    ("shared", "ceiling", "reached"),
    [
        (around(0.8), CEILING, "as useful"),
        (around(0.75), CEILING, "useful"),
        (around(0.65), CEILING, "less useful"),
        (around(0.6), CEILING, "hardly useful"),
        (around(0.52), CEILING, "useless"),
        (Figure(0.7), CEILING, "useless"),  # nobody knows how sure that is
        (around(0.8), around(0.52), "no conclusion"),
        (around(0.8), Figure(None), "no conclusion"),
        (around(0.8), None, "something"),
        (around(0.52), None, "useless"),
    ],
)
def test_usefulness_by_hand(shared: Figure, ceiling: Figure | None, reached: str) -> None:
    assert level(shared, ceiling) == reached


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.3))
def test_less_is_never_more_useful(one: float, other: float, by: float) -> None:
    order = get_args(Level)
    reached = [order.index(level(around(value, by), CEILING)) for value in sorted((one, other))]
    assert reached == sorted(reached)


@given(st.floats(0, 1))
def test_no_rounding_makes_a_certainty(value: float) -> None:
    assert (float(times(value)) in (0.0, 100.0)) <= (value < 0.0005 or value > 0.9995)


def arm(value: float, low: float, high: float) -> dict[str, Any]:
    per = {
        "Mass": {"value": value + 0.1, "ci95": [0.6, 0.9], "positives": 9},
        "Hernia": {"value": value - 0.1, "ci95": [0.5, 0.7], "positives": 7},
        "Edema": None,
    }
    return {"mean_auc": {"value": value, "ci95": [low, high]}, "per_finding": per, "skipped": ["Edema"]}


def test_where_nobody_holds_all_films_nothing_is_said_of_unprotected_ones() -> None:
    said = findings({"trained": arm(0.75, 0.71, 0.78), "raw": None})
    assert said[0].startswith("Better than guessing")
    assert "unprotected films in" not in said[1]
    assert "75 of 100 (71 to 78)" in said[1]


def test_findings_are_told_beside_unprotected_films_with_the_worst_of_them() -> None:
    figures = {"trained": arm(0.75, 0.71, 0.78), "raw": arm(0.79, 0.75, 0.82), "unauthorised": arm(0.52, 0.47, 0.56)}
    said = " ".join(findings(figures))
    assert said.startswith("Useful, if less than unprotected films.")
    assert "right one in 75 of 100 (71 to 78)" in said
    assert "in 79 of 100 (75 to 82)" in said
    assert "mean of 2 findings, each on 7 to 9 films that have it; worst for Hernia" in said
    assert "Without a key none was read off beyond doubt" in said
    assert findings({"trained": None, "raw": arm(0.8, 0.7, 0.9), "unauthorised": None})[0].startswith(
        "Nothing is known"
    )


def likeness(ssim: float | None, exact: int = 0) -> str:
    return fidelity({"films": 9, "exact": exact, "ssim": {"value": ssim}, "mae": {"value": 5.0}})[0]


def test_likeness_by_hand() -> None:
    assert "exactly" in likeness(1.0, exact=9)
    assert "exactly" not in likeness(1.0, exact=8)
    assert "hardly differ" in likeness(0.96)
    assert "can be recognised" in likeness(0.8)
    assert "look little like" in likeness(0.3)
    assert "unknown" in likeness(None)


def picture(gain: float | None, low: float = 0.0, **changes: Any) -> dict[str, Any]:
    about = {"adversary": "support", "attacker": "net", "films": 9, "link_rate": {"value": 0.1}, "converged": None}
    ends = None if gain is None else [low, gain + 1]
    gained = {"over_mean_db": {"value": gain, "ci95": ends}, "conclusive": None, "inconclusive_because": None}
    return about | gained | changes


@pytest.mark.parametrize(
    ("clean", "released", "said"),
    [
        (around(0.96, 0.01), around(0.955, 0.01), "The anatomy survives"),
        (around(0.96, 0.01), around(0.94, 0.01), "Most of the anatomy survives"),
        (around(0.96, 0.01), around(0.88, 0.01), "Part of the anatomy survives"),
        (around(0.96, 0.01), around(0.81, 0.02), "The anatomy was not shown to survive"),
        (around(0.81, 0.02), around(0.81, 0.02), "No conclusion about the anatomy"),
        (around(0.96, 0.01), None, "Whether the anatomy survives is unknown"),
    ],
)
def test_what_is_left_of_the_anatomy_is_told_beside_a_guess(clean: Figure, released: Figure | None, said: str) -> None:
    """Of a Dice of .8 that the average outline gets without any film, nothing is a method's merit."""
    arms = {"clean": outlined(clean), "released": outlined(released), "unauthorised": None}
    told = segmentation({"clean": arms, "released": arms, "unauthorised": None, "guess": outlined(around(0.8))})
    assert told[0].startswith(said)


def outlined(dice: Figure | None) -> dict[str, Any] | None:
    return None if dice is None else {"dice": {"value": dice.value, "ci95": [dice.low, dice.high]}}


def test_pictures_are_recovered_whatever_a_control_says_and_not_shown_only_where_controls_held() -> None:
    doubted = {"conclusive": False, "inconclusive_because": "on unprotected films it reaches 20 dB, below 30"}
    for one, said in (
        (picture(3.0, 2.0), "partly recovered"),
        (picture(3.0, 2.0, **doubted), "partly recovered"),
        (picture(0.1, -1.0, **doubted), "No conclusion"),
        (picture(0.1, -1.0, converged=False), "No conclusion"),
        (picture(0.1, -1.0), "made out nothing of films beyond doubt"),
    ):
        assert said in pictures([one], one)[0]
    one, other = picture(0.1, -1.0), picture(0.0, -1.0, converged=False)
    assert "No conclusion" in pictures([one, other], one)[0]


def test_who_holds_a_film_recognises_it_unless_its_interval_reaches_chance() -> None:
    def said(*ends: float) -> str:
        return same_film([{"attacker": "values", "pairs": 8, "auc": {"value": 0.7, "ci95": list(ends) or None}}])[0]

    assert "can tell" in said(0.6, 0.8)
    assert "can tell" in said()  # of few films: a figure without an interval is no good news
    assert "not ruled out" in said(0.4, 0.9)


def trait(gain: float, conclusive: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    over = {"value": gain, "ci95": [gain - 0.1, gain + 0.1]}
    one = {"auc": over, "labels_alone": over, "over_labels": over, "known": 9, "conclusive": conclusive}
    return {}, one | {"inconclusive_because": None if conclusive else "too few films with it"}


def test_what_else_is_given_away() -> None:
    said = attributes({"sex": trait(0.3), "age": trait(0.2), "source": trait(0.0), "Mass": trait(0.0, False)})
    assert said[0] == "More than the findings is given away about people: sex and age."
    assert "Not shown, nor ruled out: source." in said
    assert "Inconclusive (Mass): too few films with it." in said
    assert attributes({"Mass": trait(0.0, False)})[0].startswith("No conclusion")
    assert "does not prove" in attributes({"sex": trait(0.0)})[0]
