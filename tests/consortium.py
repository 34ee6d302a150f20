"""A whole simulated consortium that has released, and what its adversaries are asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fedcxr.adversaries import Leak
from fedcxr.protocol import site_step
from fedcxr.questions import PROTECTED
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import simulated
from fedcxr.simulation.threat import Put, Threat
from fedcxr.view import Array, Shared
from fedcxr.world import World

NAMES = "Zaphod-Beeblebrox-"  # how every patient's begins
FILMS_OF = (3, 1, 4, 2, 5, 3, 2, 1, 6, 1) * 4


def bytes_of(films: Array) -> set[bytes]:
    """To find a film again wherever it lies."""
    return {film.tobytes() for film in films}


@dataclass(frozen=True)
class Consortium:
    """Everything that there is to know, once every site has released."""

    experiment: Experiment
    shared: Shared

    @classmethod
    def that_released(cls, experiment: Experiment) -> Consortium:
        """Each site learns for itself, if it does, and releases all its films."""
        scenario = experiment.scenario
        releases = [site_step(scenario, s, experiment.site(s), simulated(scenario, s)) for s in experiment.dealt]
        return cls(experiment, Shared(releases))

    @property
    def scenario(self) -> Scenario:
        return self.experiment.scenario

    @property
    def threat(self) -> Threat:
        return Threat(self.experiment)

    @cached_property
    def world(self) -> World:
        return self.experiment.world(self.shared)

    @cached_property
    def put(self) -> dict[str, dict[str, Put]]:
        """Every question in every world."""
        return self.threat.put(self.shared)

    def leak(self, question: str = "linkage", world: str = PROTECTED) -> Leak:
        """What an adversary holds who is asked this in that world."""
        return self.put[question][world].leak
