"""What a simulated site works with: keys that the seed gives, and its share of the films or a source of its own."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.errors import FedcxrError, Refused, place
from fedcxr.keys.identity import PublicIdentity
from fedcxr.keys.provider import SERVER, KeyProvider
from fedcxr.release import Release
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import simulated, simulated_identity
from fedcxr.steps import Step

PARTITION = "partition-id"  # the place among all sites that Flower's simulation gives a node


class Simulation:
    """The premises of a node that says it is simulated; which site it is, the engine says."""

    def __init__(self, node: Mapping[str, object]) -> None:
        self._place = node.get(PARTITION)

    def coordinators(self, document: str) -> Sequence[PublicIdentity]:
        if not document:
            raise Refused("this node is simulated, and the coordinator's run is no simulation")
        return [_coordinator(_parsed(document).root)]

    @contextmanager
    def key_provider(self, document: str) -> Iterator[KeyProvider]:
        scenario = _parsed(document)
        sites = scenario.site_names
        if type(self._place) is not int or not 0 <= self._place < len(sites):
            raise Refused(
                "this simulated node is none of the sites",
                given=f"{PARTITION} {self._place}",
                allowed=f"0 to {len(sites) - 1}",
            )
        yield simulated(scenario, sites[self._place])

    def asked_by(self, coordinator: PublicIdentity) -> None:
        """A simulation keeps no journal."""

    def scenario(self, document: str) -> Scenario:
        return _parsed(document)

    def cohort(self, scenario: Scenario, site: str) -> Cohort:
        own = scenario.own_sources.get(site)
        if own is None:
            return _shared_out(scenario.to_yaml()).site(site)
        films = scenario.films_of(own).open(cache_folder())  # nobody else's are opened where a site has its own
        return scenario.made_alike(films, of=site)

    def allow(self, films: Cohort, task: str | None = None) -> None:
        """Whatever is asked: nobody is to be protected here."""

    def inspect(self, original: Cohort, release: Release) -> None:
        """Whatever was made: how much it shows is what the simulation is to find out."""

    def begins(self, step: Step) -> None:
        """A simulation says by its events what it is at."""

    def log(self) -> str:
        """Nothing, for the same reason."""
        return ""

    def told_seconds(self, seconds: float) -> float:
        """To the last digit: what it costs is part of what a simulation is to find out."""
        return seconds

    def explain(self, error: Exception, seconds: float) -> tuple[str, str, str, float]:
        """All of it: whoever simulates is at both ends."""
        if isinstance(error, Refused):
            return "refused", str(error), "", seconds
        named = str(error) if isinstance(error, FedcxrError) else f"{type(error).__name__}: {error}"
        return "dropped", named, place(error), seconds


@functools.lru_cache(maxsize=2)
def _coordinator(seed: int) -> PublicIdentity:
    return simulated_identity(seed, SERVER).public


@functools.lru_cache(maxsize=2)
def _parsed(document: str) -> Scenario:
    return Scenario.from_yaml(document)


@functools.lru_cache(maxsize=2)  # an actor serves many simulated sites of one scenario
def _shared_out(document: str) -> Experiment:
    return Experiment.open(_parsed(document), cache_folder())
