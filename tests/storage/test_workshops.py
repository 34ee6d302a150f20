"""What sites keep of half-done learning is made of films, and goes when it is of no more use."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from fedcxr.data import cache_folder
from fedcxr.errors import TooFewSites
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.storage.workshops import KEPT_S, Workshops
from server.simulate import Options, simulate

SMALL: dict[str, Any] = {
    "cohort": {"source": "phantom", "patients": 40, "size": 16},
    "sites": 3,
    "min_sites": 2,
    "tasks": {},
    "adversaries": {},
}


def films_of_sites() -> dict[str, int]:
    """How many films each site has to learn from."""
    scenario = Scenario.parse(SMALL)
    experiment = Experiment.open(scenario, cache_folder())
    return {site: len(experiment.site(site).where("train")) for site in scenario.site_names}


def left_by(scenario: Scenario) -> list[Path]:
    folder = cache_folder() / "workshop"
    return [path for path in folder.rglob("*") if scenario.run_name in str(path) and path.is_file()]


@pytest.mark.parametrize("fit", ["local", "federated"])
def test_nothing_is_left_of_a_site_that_cannot_learn(fit: str, tmp_path: Path) -> None:
    fails_with = films_of_sites()["site-2"]
    scenario = Scenario.parse({**SMALL, "method": {"name": "learners:Hoarder", "fit": fit, "fails_with": fails_with}})
    run = simulate(scenario, Options(tmp_path, "inline"))
    assert run.result is not None
    assert not left_by(scenario)


def test_what_failed_for_good_is_cleared_and_what_the_disk_stopped_is_kept(tmp_path: Path) -> None:
    method = {"name": "learners:Hoarder", "fails_with": films_of_sites()["site-2"]}
    for full in (False, True):
        scenario = Scenario.parse({**SMALL, "min_sites": 3, "method": {**method, "full": full}})
        with pytest.raises(TooFewSites):
            simulate(scenario, Options(tmp_path, "inline"))
        assert len(left_by(scenario)) == (3 if full else 0)
    Workshops.below(cache_folder()).clear(scenario.run_name)
    assert not left_by(scenario)


def test_what_nobody_has_touched_for_a_week_is_swept_and_nothing_else(tmp_path: Path) -> None:
    workshops = Workshops.below(tmp_path)
    for run, age in (("old", KEPT_S + 60), ("young", KEPT_S - 60), ("resumed", KEPT_S + 60)):
        place = workshops.of(run, "site-1")
        place.mkdir(parents=True)
        (place / "half").touch()
        for path in (place / "half", place):
            os.utime(path, (time.time() - age,) * 2)
    (workshops.of("resumed", "site-1") / "half").touch()
    with workshops.open("new", "site-1"):
        pass
    assert sorted(path.name for path in workshops.folder.iterdir()) == ["resumed-site-1", "young-site-1"]


def test_a_kill_leaves_what_can_be_resumed(tmp_path: Path) -> None:
    workshops = Workshops.below(tmp_path)
    place = workshops.of("run", "site-1")
    place.mkdir(parents=True)

    def interrupted() -> None:
        with workshops.open("run", "site-1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert place.is_dir()
