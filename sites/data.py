"""The films this hospital holds, opened where they lie."""

from __future__ import annotations

import functools
from pathlib import Path

from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment


def open_cohort(scenario_yaml: str, site: str) -> Cohort:
    """This site's own films, or its share of the scenario's; made on first use on a machine without a copy."""
    own = Scenario.from_yaml(scenario_yaml).own_sources.get(site)
    # Nobody else's films are touched: in earnest they lie in another building.
    return _shared_out(scenario_yaml).site(site) if own is None else own.open(cache_folder())


@functools.lru_cache(maxsize=2)  # an actor serves many simulated sites of one scenario
def _shared_out(scenario_yaml: str) -> Experiment:
    return Experiment.open(Scenario.from_yaml(scenario_yaml), cache_folder())


def workshop_folder(scenario: Scenario, site: str) -> Path:
    """Where this site keeps a method's half-done learning, so that a kill costs minutes and not hours."""
    return cache_folder() / "workshop" / f"{scenario.run_name}-{site}"
