"""The films this hospital holds, opened where they lie."""

from __future__ import annotations

import functools

from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.protocol import Experiment
from fedcxr.scenario import Scenario


def open_cohort(scenario_yaml: str, site: str) -> Cohort:
    """This site's share of the scenario's cohort; made on first use on a machine that has no copy yet."""
    return _experiment(scenario_yaml).site(site)


@functools.lru_cache(maxsize=2)  # an actor serves many simulated sites of one scenario
def _experiment(scenario_yaml: str) -> Experiment:
    scenario = Scenario.from_yaml(scenario_yaml)
    return Experiment.of(scenario, scenario.cohort.open(cache_folder()))
