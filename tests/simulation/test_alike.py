"""Where films are made alike: at each site before all else, in a simulation and at a hospital with the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from nodes import card_in, permissive

from fedcxr.alike import made_alike
from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.data.phantom import Phantom
from fedcxr.errors import ConfigError, DataError
from fedcxr.protocol import site_step
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import simulated
from fedcxr.simulation.premises import Simulation
from fedcxr.view import Shared
from sites.premises import Hospital

PHANTOM = {"source": "phantom", "patients": 60, "size": 16}
OF_ONE = {"source": "phantom", "patients": 40, "size": 16}
BARE: dict[str, Any] = {"method": "none", "tasks": {}, "adversaries": {}, "alike": "bands"}


def alone(films: Cohort) -> np.ndarray:
    """The films of one hospital, made alike by themselves."""
    return made_alike(films, {"site-1": np.arange(len(films))}).films()


def test_sites_that_share_out_a_cohort_make_their_own_films_alike() -> None:
    scenario = Scenario.parse({**BARE, "sites": 2, "cohort": PHANTOM})
    plain = Experiment.open(Scenario.parse({**BARE, "sites": 2, "cohort": PHANTOM, "alike": "none"}), cache_folder())
    experiment = Experiment.open(scenario, cache_folder())
    releases = []
    for place, site in enumerate(scenario.site_names):
        node = Simulation({"partition-id": place})
        films = node.cohort(scenario, site)
        expected = alone(plain.site(site))
        np.testing.assert_array_equal(films.films(), expected)
        assert (plain.site(site).films() != expected).any()
        releases.append(site_step(scenario, site, films, simulated(scenario, site)))
    shared = Shared(releases)
    behind = experiment.truth(shared)
    # What is released, what is tested on, and what adversaries own and know of people: all of it is made alike.
    released = np.concatenate([release.arrays["films"] for release in releases])
    np.testing.assert_array_equal(released, experiment.world(shared).cohort.films(behind))
    np.testing.assert_array_equal(released, experiment.evidence(shared).clean)


def test_sites_with_films_of_their_own_do_so_too() -> None:
    scenario = Scenario.parse({**BARE, "sites": [OF_ONE, {**OF_ONE, "seed": 1}]})
    experiment = Experiment.open(scenario, cache_folder())
    for place, site in enumerate(scenario.site_names):
        expected = alone(Phantom(patients=40, size=16, seed=place, sources=1).open(cache_folder()))
        np.testing.assert_array_equal(experiment.site(site).films(), expected)
        np.testing.assert_array_equal(Simulation({"partition-id": place}).cohort(scenario, site).films(), expected)


@pytest.mark.parametrize("asked", ["bands", "none"])
def test_a_hospital_does_as_the_scenario_says(tmp_path: Path, asked: str) -> None:
    file = tmp_path / "hospital.yaml"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(permissive(coordinator=card_in(tmp_path), cohort=OF_ONE)))
    here = Hospital({"profile": str(file)})
    scenario = here.scenario(yaml.safe_dump({**BARE, "sites": {"site-1": "own"}, "alike": asked}))
    films = here.profile.films(cache_folder())
    expected = alone(films) if asked == "bands" else films.films()
    np.testing.assert_array_equal(here.cohort(scenario, "site-1").films(), expected)


def test_a_site_with_too_few_films_is_named() -> None:
    scenario = Scenario.parse({**BARE, "sites": [OF_ONE, {**OF_ONE, "patients": 3, "seed": 1}]})
    with pytest.raises(DataError, match=r"site-2 has too few films to be made alike; given: \d+ training films"):
        Experiment.open(scenario, cache_folder())


def test_films_from_elsewhere_would_weaken_the_adversary() -> None:
    experiment = Experiment.open(Scenario.parse({**BARE, "sites": 2, "cohort": PHANTOM}), cache_folder())
    with pytest.raises(ConfigError, match=r"from elsewhere are not made alike.*set alike to none"):
        experiment.elsewhere(np.zeros(0, dtype=np.intp), None, 10)
