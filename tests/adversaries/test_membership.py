"""Attackers on a model: each signal by hand, shadows of halves of the people, and what is caught in earnest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from averaged_model import AveragedModel
from learnt_together import AVERAGED, CPU, Together

from fedcxr.adversaries._membership_case import Case
from fedcxr.adversaries._membership_signals import SIGNALS, Evidence, Films, Rounds
from fedcxr.adversaries._shadows import Training
from fedcxr.adversaries.membership import Membership
from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError
from fedcxr.methods import RunContext
from fedcxr.metrics import auc
from fedcxr.questions import PROTECTED
from fedcxr.rng import stream
from fedcxr.scenario import Scenario

MakeCohort = Callable[..., Cohort]
FILMS, MEMBERS = 400, np.arange(400) % 2 == 0


def drawn(gap: float = 2.0, shadows: int = 32, findings: int = 1) -> Films:
    """Margins of the simplest world: normal about a film's own difficulty, and higher by the gap where it was seen."""
    rng = stream(1, "margins")
    hard = rng.normal(0, 2, (FILMS, findings))
    halves = [rng.random(FILMS) < 0.5 for _ in range(shadows // 2)]
    inside = np.stack([side for half in halves for side in (half, ~half)])
    seen = np.concatenate([MEMBERS[None], inside])[..., None]
    margins = hard + gap * seen + rng.normal(0, 1, (shadows + 1, FILMS, findings))
    return Films(margins[0], margins[1:], inside)


def evidence(films: Films) -> Evidence:
    rounds = Rounds(-films.target.mean(axis=1)[None], -films.shadows.mean(axis=2)[:, None])
    return Evidence(films, films.take(slice(1, None, 2)), rounds)


def test_signals_find_members_about_as_well_as_can_be() -> None:
    """Who knows a film's difficulty sees two normal distributions two deviations apart, and reaches .921."""
    found = {name: auc(MEMBERS, signal(evidence(drawn()))) for name, signal in SIGNALS.items()}
    assert found["lira"] == pytest.approx(0.921, abs=0.03)
    assert found["loss"] + 0.005 < min(value for name, value in found.items() if name != "loss")


@pytest.mark.parametrize("name", SIGNALS)
def test_where_nothing_was_memorised_nothing_is_found(name: str) -> None:
    assert auc(MEMBERS, SIGNALS[name](evidence(drawn(gap=0.0)))) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("name", [name for name in SIGNALS if name != "trajectory"])
def test_unknown_findings_change_nothing(name: str) -> None:
    films = drawn(shadows=4)
    nobody = (np.full_like(one, np.nan) for one in (films.target, films.shadows))
    target, shadows = (
        np.concatenate(pair, axis=-1) for pair in zip((films.target, films.shadows), nobody, strict=True)
    )
    told = SIGNALS[name](evidence(Films(target, shadows, films.inside)))
    np.testing.assert_allclose(told, SIGNALS[name](evidence(films)))


def test_calibration_by_hand() -> None:
    """Of two shadows one has not seen a film: its loss, less that of the model."""
    films = Films(np.array([[0.0], [3.0]]), np.array([[[1.0], [2.0]], [[0.0], [5.0]]]), np.array([[1, 0], [0, 1]]) == 1)
    expected = [np.log1p(np.exp(-0.0)) - np.log1p(np.exp(-0.0)), np.log1p(np.exp(-2.0)) - np.log1p(np.exp(-3.0))]
    np.testing.assert_allclose(SIGNALS["calibrated"](Evidence(films, films)), expected)


def test_no_two_films_tie_that_differ_in_their_ratio() -> None:
    films = drawn()
    scores = SIGNALS["rmia"](Evidence(films, films.take(slice(0, 3))))
    assert len(np.unique(scores)) == FILMS
    assert 0 <= scores.min() <= scores.max() <= 1


# Shadows --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def single(make_cohort: MakeCohort) -> Cohort:
    """Two hundred people, most of them with one film of noise: whatever is learnt of them is learnt by heart."""
    return make_cohort((1, 1, 2, 1, 1) * 40)


@pytest.fixture(scope="module")
def together(single: Cohort) -> Together:
    return Together.of(single)


def case_of(together: Together) -> Case:
    return Case.of(together.put[PROTECTED].leak, 4000, 0, 1, RunContext.on(CPU))


def test_shadows_come_in_pairs_of_one_half_of_the_people_each(together: Together) -> None:
    case = case_of(together)
    training = Training(case.method, None, case.films, (1, 2), 3, case.context)
    pair = [training.shadow(number) for number in (4, 5)]
    assert (pair[0].inside ^ pair[1].inside).all()
    people = case.films.patients
    assert not set(people[pair[0].inside]) & set(people[pair[1].inside])
    for part in ("asked", "own"):
        among = len(set(people[(case.films.index["source"] == part).to_numpy() & pair[0].inside]))
        assert among == pytest.approx(len(set(people[case.films.index["source"] == part])) / 2, abs=1)
    assert [len(shadow.turns) for shadow in pair] == [3, 3]
    assert not np.array_equal(pair[0].inside, training.shadow(0).inside)


def test_a_case_holds_the_films_and_findings_that_were_handed_over(together: Together, single: Cohort) -> None:
    case, put = case_of(together), together.put[PROTECTED]
    own = single.where("val")
    films = np.concatenate([np.asarray(put.leak.given.arrays["films"]), own.films()]) if put.leak.given else own.films()
    np.testing.assert_array_equal(case.films.films(), films)
    np.testing.assert_array_equal(case.films.labels[case.asked :], own.labels)
    assert case.asked == len(put.asked.key.member)
    assert len(set(case.films.patients[case.asked :])) == len(set(own.patients))


def test_films_that_are_moved_are_asked_about_too(together: Together) -> None:
    as_they_are, moved = (Case.of(together.put[PROTECTED].leak, 4000, shift, 1, RunContext.on(CPU)) for shift in (0, 2))
    assert moved.sure(moved.model).shape == as_they_are.sure(as_they_are.model).shape
    assert not np.allclose(moved.sure(moved.model), as_they_are.sure(as_they_are.model))


# In earnest -----------------------------------------------------------------------------------------------------------


def test_whoever_was_learnt_by_heart_is_found(single: Cohort) -> None:
    entries = Together.of(
        single, AveragedModel(steps=200, learning_rate=5.0), knowledge={"updates": "rounds"}
    ).entries()
    assert set(entries) == {"loss", "calibrated", "rmia", "lira", "trajectory"}
    for entry in entries.values():
        assert entry["auc"]["value"] > 0.85
        assert entry["control_overfitted_auc"] > 0.85
        assert 0.3 < entry["control_members_auc"] < 0.7
    assert entries["loss"]["curve"] == []
    assert [point["budget"] for point in entries["rmia"]["curve"]] == [0.5, 1.0]
    assert {name for name, entry in entries.items() if entry["effort"] is False} == {"loss"}


def test_without_rounds_there_is_no_trajectory_and_without_shadows_no_curve(single: Cohort) -> None:
    adversary: dict[str, Any] = {"attackers": ["loss", "trajectory"]}
    assert set(Together.of(single, adversaries={"membership": adversary}).entries()) == {"loss"}


def test_who_may_not_run_the_method_is_refused_at_once() -> None:
    attack = {"method": AVERAGED, "tasks": {}, "adversaries": ["membership"], "knowledge": {"mechanism": False}}
    with pytest.raises(ConfigError, match="must know the mechanism"):
        Scenario.parse(attack)


def test_shadows_are_an_even_number() -> None:
    with pytest.raises(ValueError, match="multiple of 2"):
        Membership(shadows=3)
