"""What releases tell of people, by hand: what is known, what the findings tell, and what a control must show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from consortium import Consortium
from scipy import stats

from fedcxr.knowledge.own_records import UNKNOWN, Records
from fedcxr.questions import Heard
from fedcxr.questions.attributes import Attributes, Truth, shuffled

FILMS = 24
MALE = np.arange(FILMS) % 2


def records(**changes: Any) -> Records:
    """Everybody is of either sex, 30 or 70 years old, at one of two scanners; one finding is men's, one is nobody's."""
    effusion = np.where(np.arange(FILMS) % 6 < 4, MALE, 1 - MALE)  # of two men in three, and of one woman in three
    usual: dict[str, Any] = {
        "sex": MALE.astype(np.int8),
        "age": np.where(np.arange(FILMS) % 4 < 2, 30, 70).astype(np.float32),
        "source": np.arange(FILMS) // 3 % 2,
        "findings": np.stack([effusion, 0 * MALE], axis=1).astype(np.int8),
        "names": ("Effusion", "Hernia"),
        "sources": 2,
    }
    return Records(**{**usual, **changes})


def truth(**changes: Any) -> Truth:
    patients = np.array([f"patient {film // 2}" for film in range(FILMS)], dtype=object)
    return Truth(records(**changes), records(), patients)


def scored(told: Truth, protected: np.ndarray, raw: np.ndarray | None = None, chance: np.ndarray | None = None) -> Any:
    nothing = np.zeros(protected.shape, dtype=np.float32)
    heard = {
        "protected": Heard(told, {"naive": {"scores": protected}}, 1.0),
        "control_raw": Heard(told, {"naive": {"scores": protected if raw is None else raw}}, 2.0),
        "control_shuffled": Heard(told, {"naive": {"scores": nothing if chance is None else chance}}, 0.5),
    }
    [entry] = Attributes(fewest=3).score(heard, seed=0)
    return entry


def knowing(told: Truth) -> np.ndarray:
    """The scores of somebody who knows."""
    return np.nan_to_num(told.asked.targets).astype(np.float32)


def test_by_hand() -> None:
    told = truth()
    entry = scored(told, knowing(told))
    assert list(entry["attributes"]) == ["sex", "age", "source", "Effusion", "Hernia"]
    sex = entry["attributes"]["sex"]
    assert sex["auc"] == {"value": 1.0, "ci95": [1.0, 1.0]}
    # Two men in three have the finding and one woman in three: 4/9 of pairs in order, 4/9 tie.
    assert sex["labels_alone"]["value"] == pytest.approx(4 / 9 + 2 / 9)
    assert sex["over_labels"]["value"] == pytest.approx(1 / 3)
    assert sex["over_labels"]["ci95"][0] > 0
    assert (sex["known"], sex["unknown"], sex["control_shuffled_auc"]) == (FILMS, 0, 0.5)
    assert sex["conclusive"]
    assert entry["attributes"]["age"]["auc"]["value"] == 1.0  # nobody is between 40 and 59: the other bands count
    assert (entry["films"], entry["seconds"]) == (FILMS, 3.5)
    assert sex["per_patient"] is None  # of 12 films nobody sees one in a hundred
    hernia = entry["attributes"]["Hernia"]  # nobody has it
    assert hernia["auc"] == hernia["over_labels"] == {"value": None, "ci95": None}
    assert "too few" in hernia["inconclusive_because"]
    assert not entry["conclusive"]
    assert entry["inconclusive_because"] == "of Hernia"


def test_single_people_are_told_of_beside_the_findings_alone() -> None:
    """Everybody's sex is told, men's and women's; the findings alone, which many share, tell nobody's that surely."""
    times, few = 20, records()
    many: dict[str, Any] = {
        name: np.concatenate([getattr(few, name)] * times) for name in ("sex", "age", "source", "findings")
    }
    whole = replace(few, **many)
    people = np.array([f"patient {film % 2} {film // 8}" for film in range(FILMS * times)], dtype=object)
    told = Truth(whole, whole, people)
    about = scored(told, knowing(told))["attributes"]
    assert about["sex"]["per_patient"]["patients"] == len(np.unique(people))
    assert about["sex"]["per_patient"]["never_found"] == 0
    assert about["sex"]["per_patient"]["worst"] == {"films": 4, "tpr_at_0.01": 1.0}
    assert about["sex"]["per_patient"]["labels_alone"] == 0
    assert about["age"]["per_patient"]["always_found"] == len(np.unique(people))
    assert about["Hernia"]["per_patient"] is None


def test_what_is_unknown_is_left_out_and_counted() -> None:
    sex, age = MALE.astype(np.int8), records().age
    sex[:6] = UNKNOWN
    age[20:] = UNKNOWN
    told = truth(sex=sex, age=age)
    wrong = knowing(told)
    wrong[:6, 0] = 9 * (1 - MALE[:6])  # whatever is said of those films
    entry = scored(told, wrong)
    assert entry["attributes"]["sex"]["auc"]["value"] == 1.0
    assert [entry["attributes"][name]["unknown"] for name in ("sex", "age", "source")] == [6, 4, 0]


def test_controls_that_fail_are_told() -> None:
    told = truth()
    nothing = np.zeros_like(knowing(told))
    entry = scored(told, nothing, raw=nothing, chance=knowing(told))
    reasons = entry["attributes"]["sex"]["inconclusive_because"]
    assert "on unprotected films it reaches 0.500, not surely above the findings' 0.667" in reasons
    assert "with shuffled attributes it reaches 1.000" in reasons


def test_age_as_a_rank() -> None:
    rng = np.random.default_rng(0)
    told = truth(age=rng.integers(20, 90, FILMS).astype(np.float32))
    said = rng.normal(size=knowing(told).shape).astype(np.float32)
    expected = stats.spearmanr(told.asked.age, said[:, 3] - said[:, 1]).statistic
    assert scored(told, said)["age_rank_correlation"] == pytest.approx(expected)


def test_in_the_shuffled_world_each_attribute_is_another_films(make_consortium: Callable[..., Consortium]) -> None:
    world = make_consortium(sites=1, method="none").world
    other = shuffled(world)
    before, after, tested = world.cohort.index, other.cohort.index, world.tested
    for column in ("sex", "age", "source", "Mass"):
        assert not before[column].equals(after[column])
        for part in (tested, ~tested):
            assert sorted(before[column][part]) == sorted(after[column][part])
    assert before[["image", "patient", "split"]].equals(after[["image", "patient", "split"]])
    # By patients sex and age go together; drawn apart they do not.
    pairs = [set(zip(index["sex"], index["age"], strict=True)) for index in (before, after)]
    assert pairs[0] != pairs[1]


def test_nothing_is_asked_of_somebody_without_records(make_consortium: Callable[..., Consortium]) -> None:
    asked: dict[str, Any] = {"adversaries": {"attributes": {}}, "questions": {"attributes": {}}}
    consortium = make_consortium(sites=1, method="none", knowledge={"own_records": False}, **asked)
    assert consortium.put["attributes"] == {}
