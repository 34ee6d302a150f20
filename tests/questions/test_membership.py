"""Who was learnt from: who is asked about, what controls show, and what the answers prove of a guarantee."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from averaged_model import AveragedModel
from learnt_together import Together

from fedcxr.cohort import Cohort
from fedcxr.learning import Guarantee, Report
from fedcxr.methods import RunContext, Weights
from fedcxr.methods.none import Unprotected
from fedcxr.metrics.confidence import losses, margins, mean_known
from fedcxr.questions import PROTECTED, Answer, Heard
from fedcxr.questions._by_heart import KNOWN, by_heart
from fedcxr.questions._membership_scoring import OVERFITTED, Truth
from fedcxr.questions.membership import Membership
from fedcxr.rng import stream
from fedcxr.simulation.threat import Threat

MakeCohort = Callable[..., Cohort]


@pytest.fixture(scope="module")
def cohort(make_cohort: MakeCohort) -> Cohort:
    return make_cohort((1, 2, 1, 2, 1) * 40)


@pytest.fixture(scope="module")
def together(cohort: Cohort) -> Together:
    return Together.of(cohort)


# Who is asked about ---------------------------------------------------------------------------------------------------


def test_as_many_who_were_learnt_from_as_were_not(make_cohort: MakeCohort) -> None:
    """There are two people of the test split for every two of the train split; here one side is made smaller."""
    cohort = make_cohort((2, 1, 3, 2, 1) * 12)
    test = cohort.index["split"].to_numpy() == "test"
    few = cohort.take(~test | (np.cumsum(test) <= 9))
    put = Together.of(few).put[PROTECTED]
    split = few.index["split"].to_numpy()
    sides = [few.patients[put.roles.attacked & (split == part)] for part in ("train", "test")]
    assert len(set(sides[0])) == len(set(sides[1])) == len(set(few.patients[split == "test"]))
    for names in sides:  # with all their films
        assert len(names) == np.isin(few.patients, names).sum()
    np.testing.assert_array_equal(put.roles.owned, split == "val")
    np.testing.assert_array_equal(put.roles.member, put.roles.attacked & (split == "train"))
    truth: Truth = put.asked.key
    assert truth.patients.sum() * 2 == len(truth.patients)


def test_nobody_is_a_member_whose_site_was_lost(cohort: Cohort) -> None:
    lost = Together.of(cohort, lost=("site-2",))
    there = set(cohort.patients[lost.experiment.dealt["site-1"]])
    roles = lost.put[PROTECTED].roles
    assert roles.attacked.any()
    assert set(cohort.patients[roles.attacked]) <= there
    assert not set(cohort.patients[cohort.index["split"] == "test"]) <= there


def test_the_order_tells_no_member(together: Together) -> None:
    asked = together.put[PROTECTED].asked
    given, truth = together.put[PROTECTED].leak.given, asked.key
    place = np.flatnonzero(truth.member) / len(truth.member)
    assert 0.4 < place.mean() < 0.6
    assert given is not None
    people = given.arrays["people"]
    number = np.array([people[truth.people == one][0] for one in np.flatnonzero(truth.patients)])
    assert 0.4 < number.mean() / people.max() < 0.6


def test_the_model_is_handed_over_and_no_release(together: Together) -> None:
    leak = together.put[PROTECTED].leak
    assert len(leak.view) == 0
    assert leak.view.model is not None
    assert set(leak.holdings) == {"own_films", "own_records", "mechanism"}


def test_where_no_model_is_shared_there_is_no_control_to_learn(together: Together) -> None:
    world = replace(together.experiment.world(together.shared), method=Unprotected())
    assert list(Membership().settings(world)) == [PROTECTED]


# A model that knows films by heart ------------------------------------------------------------------------------------


def test_a_few_films_are_known_by_heart_and_learning_ends_with_that(together: Together) -> None:
    plain = together.experiment.world(together.shared)
    keen = replace(plain, method=AveragedModel(steps=2000, learning_rate=5.0))
    world = by_heart(keen, films=16, turns=40)
    few, learnt = world.cohort.where("train"), world.released.shared.learnt
    assert len(few) in (16, 17)  # all films of each
    assert len(set(few.patients)) == len(set(few.patients) & set(plain.cohort.where("train").patients))
    assert learnt is not None
    judged = world.method.judged(few, learnt.weights, world.context)
    assert mean_known(losses(margins(judged.scores, judged.labels))).mean() < KNOWN
    turns = list(world.released.shared.rounds())
    assert len(turns) < 40
    assert all(np.array_equal(turns[-1][1].weights[name], array) for name, array in learnt.weights.items())


class Noisy(AveragedModel):
    """Learns nothing, for privacy's sake."""

    def learn(self, cohort: Cohort, rng: np.random.Generator, *rest: Any, **named: Any) -> Weights:
        return self.initial(rng)

    def unguarded(self) -> AveragedModel:
        return AveragedModel()


def test_the_control_learns_without_noise_and_so_do_its_shadows(cohort: Cohort) -> None:
    put = Together.of(cohort, Noisy()).put
    models = {where: one.leak.view.model for where, one in put.items()}
    assert not (models[PROTECTED] or {})["slopes"].any()
    assert (models[OVERFITTED] or {})["slopes"].any()
    learnt_by = [one.leak.holdings["mechanism"].facts["method"]["name"] for one in put.values()]
    assert learnt_by == [Noisy.plugin_name(), AveragedModel.plugin_name()]


def test_own_people_from_elsewhere_are_the_same_beside_a_few_films(together: Together) -> None:
    """They are opened behind films of the hospitals', by their places among all."""
    asked: list[Sequence[int]] = []

    def elsewhere(behind: Any, source: Any, people: int | None) -> Cohort:
        asked.append(behind.tolist())
        return plain.cohort.take(behind)

    plain = replace(together.experiment.world(), elsewhere=elsewhere)
    small = by_heart(plain, films=16, turns=1)
    for world in (plain, small):
        world.elsewhere(np.flatnonzero(Membership().roles(world).owned), None, 50)
    assert asked[0] == asked[1]


# How it is scored -----------------------------------------------------------------------------------------------------


def truth(people: int = 100, guarantee: Guarantee | None = None, more: int = 0) -> Truth:
    """Every second person is a member; all have two films, members some more if that is wanted."""
    member = np.arange(people) % 2 == 0
    films = 2 + more * member
    numbers = np.repeat(np.arange(people), films)
    labels = (stream(1, "labels").random((len(numbers), 3)) < 0.3).astype(np.float32)
    return Truth(member[numbers], numbers, labels, guarantee)


def scored(key: Truth, scores: np.ndarray, by_heart: np.ndarray | None = None, **parts: np.ndarray) -> dict[str, Any]:
    control = key.member.astype(float) if by_heart is None else by_heart
    answer: dict[str, Answer] = {"one": {"scores": scores, **parts}}
    heard = {PROTECTED: Heard(key, answer, 1.0), OVERFITTED: Heard(key, {"one": {"scores": control}}, 2.0)}
    [entry] = Membership().score(heard, 0)
    return entry


def knowing(key: Truth) -> np.ndarray:
    """Right about everybody, and never twice the same."""
    return key.member + stream(2, "noise").uniform(0, 0.5, len(key.member))


def guessing(key: Truth) -> np.ndarray:
    return stream(3, "noise").normal(size=len(key.member))


def test_somebody_who_knows() -> None:
    key = truth()
    entry = scored(key, knowing(key), half=guessing(key))
    assert entry["auc"]["value"] == entry["film"]["auc"]["value"] == entry["maximum_of_films"]["auc"]["value"] == 1
    assert entry["people"] == {"members": 50, "others": 50}
    assert (entry["film"]["members"], entry["film"]["others"]) == (100, 100)
    assert entry["tpr_at_fpr"] == {"0.01": None, "0.001": None}  # of 50 others, nobody is one in a hundred
    assert entry["film"]["at_fpr"]["0.01"]["true_positives"] == 100
    assert entry["per_patient"]["worst"] == {"films": 2, "tpr_at_0.01": 1.0}
    assert (entry["per_patient"]["patients"], entry["per_patient"]["always_found"]) == (50, 50)
    assert entry["accuracy"] == 1
    assert [point["budget"] for point in entry["curve"]] == [0.5, 1.0]
    assert entry["curve"][0]["auc"] == pytest.approx(0.5, abs=0.15)
    assert (entry["conclusive"], entry["seconds"]) == (True, 3.0)


def test_of_a_persons_films_the_mean_counts_and_the_highest_is_told() -> None:
    """One film of each member stands out, and one of every other person as much lower."""
    key = truth()
    first = np.arange(len(key.member)) % 2 == 0
    scores = np.where(key.member & first, 1.0, 0.0) - np.where(~key.member & first, 1.0, 0.0)
    entry = scored(key, scores)
    assert entry["auc"]["value"] == entry["maximum_of_films"]["auc"]["value"] == 1
    assert entry["film"]["auc"]["value"] == pytest.approx(0.875)
    lone = scored(key, np.where(first, 1.0, 0.0))
    assert lone["auc"]["value"] == 0.5


def test_controls_that_fail_are_told() -> None:
    key = truth()
    weak = scored(key, guessing(key), by_heart=guessing(key))
    assert weak["conclusive"] is False
    assert "on a model that knows films by heart it reaches 0." in weak["inconclusive_because"]
    other = truth(more=1)
    blind = scored(other, guessing(other))
    assert blind["control_blind_auc"] == 1
    assert "without any model" in blind["inconclusive_because"]
    fair = scored(key, guessing(key))
    assert (fair["conclusive"], fair["inconclusive_because"]) == (True, None)
    assert fair["control_members_auc"] == pytest.approx(0.5, abs=0.2)


# What is proved of epsilon --------------------------------------------------------------------------------------------


def promised(epsilon: float, unit: Any = "patient") -> Guarantee:
    return Guarantee(epsilon=epsilon, delta=1e-5, unit=unit, accountant="by hand")


@pytest.mark.parametrize(
    ("epsilon", "unit", "contradicts"),
    [(0.01, "patient", True), (8.0, "patient", False), (0.01, "pixel_neighbourhood", None)],
)
def test_a_bound_is_held_against_a_guarantee_of_its_unit(epsilon: float, unit: str, contradicts: bool | None) -> None:
    key = truth(guarantee=promised(epsilon, unit))
    entry = scored(key, knowing(key))
    assert entry["contradicts_epsilon"] is contradicts
    assert entry["epsilon_formal"]["epsilon"] == epsilon
    assert entry["epsilon_at_least"]["unit"] == "patient"
    assert entry["epsilon_at_least"]["value"] > 1.5
    assert entry["conclusive"] is (contradicts is not True)
    if contradicts:
        assert "guarantees 0.01: its accounting is wrong" in entry["inconclusive_because"]


class Reckoned(AveragedModel):
    """A guarantee that is what the sites told of their rounds."""

    def guarantee(self, reported: Sequence[Report] = ()) -> Guarantee | None:
        return promised(float(len(reported)))


def test_the_guarantee_is_reckoned_from_what_sites_told(cohort: Cohort) -> None:
    shared = Together.of(cohort, Reckoned(rounds=1, steps=1))
    told = [Report(site, 1, 9) for site in ("site-1", "site-2")]
    key: Truth = Threat(shared.experiment, told).put(shared.shared)["membership"][PROTECTED].asked.key
    assert key.guarantee == promised(2.0)


def test_per_film_those_count_who_have_one() -> None:
    numbers = np.repeat(np.arange(90), np.arange(90) // 2 % 3 + 1)
    key = Truth(
        (np.arange(90) % 2 == 0)[numbers], numbers, np.zeros((len(numbers), 1), np.float32), promised(1.0, "record")
    )
    entry = scored(key, knowing(key))
    assert entry["epsilon_at_least"]["unit"] == "record"
    assert [(key.films == 1)[side].sum() for side in (key.patients, ~key.patients)] == [15, 15]
    assert entry["epsilon_at_least"]["people"] == 7 + 7
    assert scored(replace(key, guarantee=promised(1.0)), knowing(key))["epsilon_at_least"]["people"] == 22 + 22


def test_several_attackers_share_what_may_go_wrong() -> None:
    key = truth(guarantee=promised(1.0))
    answers = {name: {"scores": knowing(key)} for name in "abcde"}
    heard = {where: Heard(key, answers, 1.0) for where in (PROTECTED, OVERFITTED)}
    together = Membership().score(heard, 0)[0]["epsilon_at_least"]
    alone = scored(key, knowing(key))["epsilon_at_least"]
    assert together["value"] < alone["value"]
    assert together["confidence"] == alone["confidence"] == 0.95


class Boastful(AveragedModel):
    """Learns by heart, and says that nobody can tell."""

    steps: int = 150
    learning_rate: float = 5.0

    def guarantee(self, reported: Sequence[Report] = ()) -> Guarantee | None:
        return promised(0.01)


class Honest(Boastful):
    """Learns nothing."""

    def learn(self, cohort: Cohort, rng: np.random.Generator, context: RunContext, *rest: Any, **named: Any) -> Weights:
        return self.initial(rng)

    def unguarded(self) -> AveragedModel:
        return AveragedModel(steps=150, learning_rate=5.0)


def test_a_broken_accountant_is_caught_and_an_honest_one_is_not(make_cohort: MakeCohort) -> None:
    cohort = make_cohort((1,) * 300)
    adversary = {"membership": {"attackers": ["loss", "rmia"], "shadows": 2}}
    broken = Together.of(cohort, Boastful(), adversaries=adversary).entries()
    assert any(entry["contradicts_epsilon"] for entry in broken.values())
    assert not any(entry["conclusive"] for entry in broken.values() if entry["contradicts_epsilon"])
    honest = Together.of(cohort, Honest(), adversaries=adversary).entries()
    assert [entry["contradicts_epsilon"] for entry in honest.values()] == [False] * len(honest)
    assert all(entry["conclusive"] for entry in honest.values())
    assert honest["rmia"]["control_overfitted_auc"] > 0.8
