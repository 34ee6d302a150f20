"""The secret of a simulation: with it, nothing that an adversary must not know follows from 31 bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError, OtherScenario
from fedcxr.protocol import attack_seed, initial_step, release_order, site_step, task_seed
from fedcxr.rng import derive, stream
from fedcxr.runs import Run
from fedcxr.runs.identity import check_scenario
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import simulated

MakeCohort = Callable[..., Cohort]
SECRET, OTHER = "5e" * 32, "0f" * 32
GUESSES = range(2000)  # of 2^31, which take seconds in C


def scenario(**document: Any) -> Scenario:
    cohort = {"source": "phantom", "patients": 12, "size": 32}
    return Scenario.parse({"sites": 2, "method": "noise", "cohort": cohort, "seed": 1234, **document})


def guessed(of: Scenario) -> int | None:
    """The seed from which the adversary's own seed follows, found by trying."""
    own = attack_seed(of, "verifier")
    return next((seed for seed in GUESSES if derive(seed, "adversary", "verifier") == own), None)


def test_the_scenarios_seed_cannot_be_found_from_the_adversarys_own() -> None:
    assert guessed(scenario()) == 1234  # the control: in no time, and the noise follows from it
    assert guessed(scenario(secret=SECRET)) is None


def test_noise_that_follows_from_a_secret_cannot_be_subtracted_by_who_knows_the_seed(make_cohort: MakeCohort) -> None:
    def drawn_again(of: Scenario) -> bool:
        experiment = Experiment.of(of, make_cohort((2,) * 8))
        site = of.site_names[0]
        released = site_step(of, site, experiment.site(site), simulated(of, site)).arrays["films"]
        ordered = experiment.site(site).take(release_order(site, len(released), of.seed)).films()
        again = of.method.protect(ordered, stream(of.seed, "site", site, "release"))  # type: ignore[attr-defined]
        return np.array_equal(again, released)

    by_chance = {"partition": {"by": "iid"}}
    assert drawn_again(scenario(**by_chance, seed=0))
    assert not drawn_again(scenario(**by_chance, seed=0, secret=SECRET))


def test_phantoms_are_other_people_under_a_secret(tmp_path: Path) -> None:
    """Who knows the seed alone could render the hospitals' films, and look for them."""
    known, ours, theirs = (
        {film.tobytes() for film in Experiment.open(scenario(**secret), tmp_path).cohort.films()}
        for secret in ({}, {"secret": SECRET}, {"secret": OTHER})
    )
    assert not known & ours
    assert not ours & theirs
    again = Experiment.open(Scenario.from_yaml(scenario(secret=SECRET).to_yaml()), tmp_path)
    assert {film.tobytes() for film in again.cohort.films()} == ours  # and the run repeats from its scenario


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**31 - 1))
def test_everything_follows_from_secret_and_seed_together(secret: bytes, seed: int) -> None:
    one, same = (scenario(secret=secret.hex(), seed=seed) for _ in range(2))
    others = [scenario(secret=secret.hex(), seed=seed ^ 1), scenario(secret=bytes(32).hex(), seed=seed), scenario()]
    assert one.root == same.root
    for drawn in (
        lambda of: attack_seed(of, "verifier"),
        lambda of: task_seed(of, "findings"),
        lambda of: initial_step(of).digest() if of.method.learning else of.root,
        lambda of: simulated(of, "site-1").identity.public.fingerprint,
    ):
        assert drawn(one) == drawn(same)
        assert secret == bytes(32) or drawn(one) not in [drawn(other) for other in others]


def test_no_digit_changes_without_a_secret() -> None:
    assert scenario().root == 1234
    assert "secret" not in scenario().document()


def test_the_secret_is_in_the_scenario_alone(tmp_path: Path) -> None:
    of = scenario(secret=SECRET)
    assert of.document()["secret"] == SECRET
    assert SECRET not in json.dumps(of.told()) + json.dumps(of.counted()) + of.run_name
    assert of.told()["secret"].startswith("sha256:")
    assert of.id != scenario().id != scenario(secret=OTHER).id
    run = Run.place(tmp_path, of)
    with run.begun(resume=False):
        assert Run.open(run.folder).scenario == of
        with pytest.raises(OtherScenario) as refused:
            check_scenario(run.folder, scenario(secret=OTHER))
    assert SECRET not in str(refused.value)
    assert OTHER not in str(refused.value)


@pytest.mark.parametrize("wrong", ["", "5e", "5E" * 32, "5g" * 32, 5, "fresh"])
def test_a_secret_is_64_hex_digits(wrong: object) -> None:
    with pytest.raises(ConfigError, match="no secret of a scenario; allowed: 64 digits") as refused:
        scenario(secret=wrong)
    assert str(refused.value).endswith("a to f, or null")  # what was given may be all but right, and is not shown
