"""Rates patient by patient against a case done by hand: who is found, by which films, and who is at risk."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from worlds import plain

from fedcxr.metrics import OperatingPoint
from fedcxr.metrics.identification import Search
from fedcxr.questions import Heard
from fedcxr.questions._matches import Match, Matches, matches
from fedcxr.questions._pairs import ScoredPairs
from fedcxr.questions._people import at_risk, by_person, per_patient

# Anna is attacked twice and known twice, bert once and once, cleo once and never.
PATIENTS, KNOWN = ["anna", "anna", "bert", "cleo"], ["anna", "bert", "anna"]
SCORES = np.array([[9, 1, 2], [0, 3, 1], [2, 4, 0], [5, 0, 0]], dtype=np.float32)
LABELS = np.array([[1, 0], [0, 0], [0, 0], [0, 1]], dtype=np.float32)


def texts(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)


PAIRS = ScoredPairs(
    patients=texts(*PATIENTS),
    known_patients=texts(*KNOWN),
    sites=texts("north", "south", "north", "south"),
    sources=texts("n", "s", "n", "s"),
    known_sources=texts("n", "n", "s"),
    labels=LABELS,
    known_labels=LABELS[:3],
    views=texts("PA", "AP", "PA", "PA"),
)
FOUND = Search.of(SCORES, PAIRS.genuine, PAIRS.allowed)
POINT = OperatingPoint(above=3.0, tpr=0.0, fpr=0.0, true_positives=0, false_positives=0, ties=0)


def test_rates_are_spread_over_patients() -> None:
    told = per_patient(SCORES, PAIRS, FOUND, POINT)
    # Above 3: of anna's four pairs one, of bert's one. First: one of anna's two films, bert's.
    assert told["patients"] == 2
    assert [told["tpr_at_0.01"][q] for q in ("0", "0.5", "1")] == [0.25, 0.625, 1.0]
    assert [told["rank1"][q] for q in ("0", "0.5", "1")] == [0.5, 0.75, 1.0]
    assert (told["always_found"], told["never_found"]) == (1, 0)
    assert told["worst"] == {"films": 1, "tpr_at_0.01": 1.0, "rank1": 1.0}


def test_without_an_operating_point_rank_decides_who_is_worst_off() -> None:
    told = per_patient(SCORES, PAIRS, FOUND, None)
    assert told["tpr_at_0.01"] is None
    assert told["worst"] == {"films": 1, "tpr_at_0.01": None, "rank1": 1.0}


def test_films_of_one_person_count_together() -> None:
    told = by_person(SCORES, PAIRS)
    # Against anna: 9, 1, 2, 5 by maximum and 5.5, .5, 1, 2.5 by mean; against bert: 1, 3, 4, 0.
    assert told["people"] == 2
    assert told["maximum"]["auc"] == pytest.approx((5 + 1.5 + 4) / 15)
    assert told["mean"]["auc"] == pytest.approx((5 + 1 + 5 - 0) / 15)
    assert told["maximum"]["rank1"] == told["mean"]["rank1"] == pytest.approx(2 / 3)
    assert told["mean"]["tpr_at_fpr"] == {"0.01": None, "0.001": None}


def test_traits_say_who_is_found() -> None:
    told = {(one["trait"], one["is"]): one for one in at_risk(PAIRS, FOUND, seed=0)}
    rates = {key: (one["films"], one["patients"], one["rank1"]["value"]) for key, one in told.items()}
    assert rates == {
        ("films", "at most 2"): (1, 1, 1.0),  # of 4, 2 and 1 films, those of cleo and bert
        ("films", "more than 2"): (2, 1, 0.5),
        ("devices", "one"): (1, 1, 1.0),  # bert's
        ("devices", "several"): (2, 1, 0.5),
        ("findings", "nobody else's"): (1, 1, 1.0),  # anna's first film
        ("findings", "others' too"): (2, 2, 0.5),  # her second shows what bert's does
        ("view", "PA"): (2, 2, 1.0),
        ("view", "AP"): (1, 1, 0.0),
        ("site", "north"): (2, 2, 1.0),
        ("site", "south"): (1, 1, 0.0),
    }
    assert told["site", "south"]["rank1"]["ci95"] is None  # one patient tells nothing of others
    low, high = told["findings", "others' too"]["rank1"]["ci95"]
    assert low == 0 < high == 1


def test_where_nobody_is_known_nothing_is() -> None:
    where = texts("s", "s")
    strangers = ScoredPairs(texts("x", "y"), texts("z"), where, where, where[:1], LABELS[:2], LABELS[:1])
    scores = np.zeros((2, 1), dtype=np.float32)
    found = Search.of(scores, strangers.genuine, strangers.allowed)
    assert per_patient(scores, strangers, found, None)["worst"] is None
    assert by_person(scores, strangers)["maximum"]["auc"] is None
    assert at_risk(strangers, found, seed=0) == []
    assert plain(per_patient(scores, strangers, found, None))


# Who is drawn ---------------------------------------------------------------------------------------------------------


def shown(scores: np.ndarray) -> Matches:
    entry: dict[str, Any] = {"attacker": "by_hand", "auc": {"value": 0.8}, "at_fpr": {"0.01": None}}
    found = matches(Heard(PAIRS, {"by_hand": {"scores": scores}}, 1.0), [entry], seed=0)
    assert found is not None
    return Matches.heard(json.loads(json.dumps(found.told())))  # as it is stored


def chosen(found: Matches, how: str) -> list[Match]:
    return [match for match in found.rows if match.chosen == how]


def test_the_best_recognised_come_first_each_by_their_best_film() -> None:
    found = shown(SCORES)
    assert (found.queries, found.known, found.by_chance) == (3, 3, 5 / 9)  # cleo is in nobody's album
    bert, anna = chosen(found, "recognised best")
    assert (bert.film, bert.found, bert.right, bert.score, bert.first) == (2, 1, True, 4.0, 1.0)
    assert (anna.film, anna.found, anna.right, anna.score, anna.films, anna.first) == (0, 0, True, 9.0, 2, 0.5)


def test_whoever_was_missed_is_shown_beside_the_film_that_should_have_been_matched() -> None:
    at_random = chosen(shown(SCORES), "at random")
    assert sorted(match.film for match in at_random) == [0, 1, 2]
    [missed] = [match for match in at_random if not match.right]
    assert (missed.film, KNOWN[missed.found], missed.score) == (1, "bert", 3.0)
    assert (missed.own, missed.own_score, missed.own_place) == (2, 1.0, 2)


def test_equal_scores_are_said_to_be_equal() -> None:
    found = shown(np.zeros_like(SCORES))
    assert {match.tied for match in found.rows} == {3}
    assert len({match.found for match in found.rows}) == 1  # one order of all ties, drawn from the seed


def test_an_attacker_without_a_figure_shows_nothing() -> None:
    heard = Heard(PAIRS, {"by_hand": {"scores": SCORES}}, 1.0)
    assert matches(heard, [{"attacker": "by_hand", "auc": {"value": None}}], seed=0) is None
