"""The scorer joins answers with who is who, question by question; the worst case is the best attacker's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from codes_recovered import PAIRS, consortium_of
from consortium import Consortium

from fedcxr.questions import Answers, Heard
from fedcxr.simulation.threat import Put
from server import scorer
from server.attack import Attack
from server.scorer import worst_case

# An attack's entries --------------------------------------------------------------------------------------------------


class Silent(Attack):
    """An adversary that answers noughts to whatever it is asked."""

    def __init__(self, consortium: Consortium, *questions: str) -> None:
        self._threat, self.name, self._questions = consortium.threat, "noughts", questions
        self.put = consortium.put

    @property
    def questions(self) -> tuple[str, ...]:
        return self._questions

    @property
    def fence(self) -> str:
        return "none"

    def heard(self, question: str, put: Any) -> dict[str, Heard]:
        assert put is self.put[question]
        return {where: self._answered(one) for where, one in put.items()}

    def _answered(self, one: Put) -> Heard:
        answers: Answers = {"by_hand": {name: np.zeros(p.shape, p.dtype) for name, p in one.asked.parts.items()}}
        return Heard(one.asked.key, answers, 1.5)


def test_entries_lie_by_section_and_name_question_and_adversary() -> None:
    consortium = consortium_of("sca", "published")
    attack = Silent(consortium, "linkage", "reconstruction", "same_film")
    found = scorer.score(consortium.threat, consortium.put, attack)
    assert list(found["entries"]) == ["attacks", "recovery", "same_film"]
    told = [entry for entries in found["entries"].values() for entry in entries]
    assert [entry["question"] for entry in told] == ["linkage", "reconstruction", "same_film"]
    assert {(entry["adversary"], entry["attacker"]) for entry in told} == {("noughts", "by_hand")}
    assert found["entries"]["same_film"][0]["pairs"] == PAIRS
    assert found["seconds"] == 1.5 * 6  # linkage is asked in three worlds, reconstruction in two
    assert found["fence"] == "none"


def test_what_was_not_asked_has_no_entry() -> None:
    consortium = consortium_of("sealed")
    found = scorer.score(consortium.threat, consortium.put, Silent(consortium, "reconstruction", "same_film"))
    assert list(found["entries"]) == ["recovery"]
    assert scorer.score(consortium.threat, consortium.put, Silent(consortium))["entries"] == {}


def test_whoever_could_have_guessed_the_seed_is_doubted_whatever_it_was_asked() -> None:
    """Noise that is drawn again and subtracted shows in recovered pictures first."""
    consortium = consortium_of("sca", "published")
    attack = Silent(consortium, "linkage", "reconstruction", "same_film")
    attack.name = "theirs:Noughts"
    found = scorer.score(consortium.threat, consortium.put, attack)
    told = [entry for entries in found["entries"].values() for entry in entries]
    assert [entry["conclusive"] for entry in told] == [False] * 3
    assert all(scorer.GUESSED in entry["inconclusive_because"] for entry in told)


def test_noughts_are_at_chance() -> None:
    consortium = consortium_of("sca", "published")
    [entry] = scorer.score(consortium.threat, consortium.put, Silent(consortium, "linkage"))["entries"]["attacks"]
    assert entry["auc"]["value"] == entry["control_raw_auc"] == entry["control_shuffled_auc"] == 0.5
    assert entry["conclusive"] is False  # who fails on unprotected films proves nothing


# The worst case -------------------------------------------------------------------------------------------------------


def attack(
    adversary: str, attacker: str, auc: float | None, conclusive: bool = True, converged: bool | None = True
) -> dict[str, Any]:
    return {
        "question": "linkage",
        "adversary": adversary,
        "attacker": attacker,
        "auc": {"value": auc, "ci95": None if auc is None else [auc - 0.1, auc + 0.1]},
        "conclusive": conclusive,
        "converged": converged,
    }


def test_the_worst_case_is_the_best_attacker() -> None:
    attacks = [attack("verifier", "naive", 0.6), attack("retrieval", "raw", 0.9), attack("verifier", "retrained", 0.8)]
    for order in (attacks, attacks[::-1]):
        worst = worst_case(order)
        assert worst is not None
        assert (worst["question"], worst["adversary"], worst["attacker"]) == ("linkage", "retrieval", "raw")
        assert worst["auc"] == {"value": 0.9, "ci95": [0.8, 1.0]}
        assert worst["conclusive"] is True


def test_one_failed_control_leaves_the_worst_case_in_doubt() -> None:
    worst = worst_case([attack("verifier", "naive", 0.6), attack("verifier", "retrained", 0.5, conclusive=False)])
    assert worst is not None
    assert worst["attacker"] == "naive"
    assert worst["conclusive"] is False


@pytest.mark.parametrize(
    ("best", "second", "lower_bound"),
    [
        ((0.9, True), (0.5, True), False),
        ((0.9, False), (0.5, True), True),
        ((0.9, None), (0.5, True), True),
        ((0.9, True), (0.85, False), True),  # its interval reaches .95: it may yet be the worst case
        ((0.9, True), (0.75, False), False),
        ((0.9, True), (0.85, None), False),
    ],
)
def test_a_worst_case_is_a_lower_bound_unless_the_attacker_converged(
    best: tuple[float, bool | None], second: tuple[float, bool | None], lower_bound: bool
) -> None:
    attacks = [
        attack("a", name, auc, converged=converged) for name, (auc, converged) in zip("xy", (best, second), strict=True)
    ]
    worst = worst_case(attacks)
    assert worst is not None
    assert (worst["converged"], worst["lower_bound"]) == (best[1], lower_bound)


def test_a_worst_case_of_an_attacker_that_takes_no_steps_is_no_lower_bound() -> None:
    worst = worst_case([{**attack("a", "x", 0.6, converged=None), "effort": False}, attack("a", "y", 0.4)])
    assert worst is not None
    assert (worst["converged"], worst["effort"], worst["lower_bound"]) == (None, False, False)


def test_a_question_that_does_not_ask_how_an_attacker_rose_leaves_a_lower_bound() -> None:
    told = attack("a", "x", 0.9)
    del told["converged"]
    worst = worst_case([told])
    assert worst is not None
    assert (worst["converged"], worst["lower_bound"]) == (None, True)


def test_attacks_without_a_figure_are_passed_over() -> None:
    worst = worst_case([attack("a", "x", None), attack("b", "y", 0.1)])
    assert worst is not None
    assert worst["adversary"] == "b"
    assert worst_case([attack("a", "x", None)]) is None
    assert worst_case([]) is None
