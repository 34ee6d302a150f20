"""Is this the release of a film that one holds? By hand, and asked only where films of one's own were released too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from codes_recovered import FP32, PAIRS, answers, consortium_of, entries, ignore
from holdings import changed

from fedcxr.adversaries.support import Support
from fedcxr.questions import Answer, Heard
from fedcxr.questions.same_film import SameFilm

PEOPLE = np.array(["anna", "bert", "cleo"], dtype=object)


def scored(scores: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    heard: dict[str, Answer] = {"by_hand": {"scores": scores}}
    [entry] = SameFilm().score({"protected": Heard(patients, heard, 1.0)}, seed=0)
    return entry


def test_by_hand() -> None:
    """Own films score 3, .5 and 1; others 1, -1, 2, -2, -3 and -4: won are 6, 4, and 4 and half a tie, of 18."""
    scores = np.array([[3.0, 1.0, -1.0], [2.0, 0.5, -2.0], [-3.0, -4.0, 1.0]], dtype=np.float32)
    entry = scored(scores, PEOPLE)
    assert entry["auc"]["value"] == pytest.approx(14.5 / 18)
    assert (entry["attacker"], entry["pairs"]) == ("by_hand", 3)


def test_a_single_pair_can_be_told_from_nothing() -> None:
    assert scored(np.ones((1, 1), dtype=np.float32), PEOPLE[:1])["auc"]["value"] is None


@pytest.mark.parametrize(
    ("ambiguation", "by", "found_again"),
    [("keyed", "values", 1.0), ("published", "place", 1.0), ("padded", "values", 0.5)],
)
def test_who_has_a_film_recognises_its_code_unless_all_show_the_same(
    ambiguation: str, by: str, found_again: float
) -> None:
    consortium = consortium_of("sca", ambiguation)
    found = entries(answers(Support(), "same_film", consortium), "same_film", consortium)
    assert list(found) == [by]
    assert found[by]["auc"]["value"] == found_again
    assert found[by]["pairs"] == PAIRS


def test_whose_pairs_they_are_is_kept_for_the_scorer_alone() -> None:
    consortium = consortium_of("sca", "keyed")
    one = consortium.put["same_film"]["protected"]
    owned = consortium.experiment.cohort.take(consortium.experiment.cohort.index["split"].to_numpy() != "test")
    films = np.asarray(one.leak.holdings["pairs"].arrays["films"])
    assert one.asked.key.tolist() == owned.patients[films].tolist()
    assert one.asked.parts["scores"].shape == (PAIRS, PAIRS)
    assert len(one.leak.view) == 0  # nobody is attacked
    assert not one.roles.attacked.any()
    assert one.leak.holdings.keys() == {"own_films", "mechanism", "pairs"}


def test_where_nothing_is_public_or_known_nothing_is_asked_or_answered() -> None:
    assert consortium_of("sealed").put["same_film"] == {}
    blind = changed(consortium_of("sca", "keyed").leak("same_film"), mechanism=None)
    assert not Support().answer("same_film", blind, {}, 1, FP32, ignore)
