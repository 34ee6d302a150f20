"""A model that was learnt from everybody's training films at once, and shared: what membership attacks are tried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import averaged_model

from fedcxr.cohort import Cohort
from fedcxr.methods import Method, Round, RunContext, Weights
from fedcxr.questions import Heard
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.threat import Put, Threat
from fedcxr.training.compute import Compute
from fedcxr.view import Shared

AVERAGED = f"{averaged_model.__name__}:AveragedModel"
CPU = Compute.choose("cpu", "fp32")


@dataclass(frozen=True)
class Together:
    """Hospitals that have shared a model, and who is asked about it."""

    experiment: Experiment
    shared: Shared

    @classmethod
    def of(cls, cohort: Cohort, method: Method | None = None, lost: tuple[str, ...] = (), **document: Any) -> Together:
        """Where some sites were lost, nothing was learnt from their films."""
        usual = {"sites": 2, "partition": {"by": "iid"}, "method": AVERAGED, "tasks": {}, "adversaries": ["membership"]}
        usual["questions"] = {"membership": {}}  # and not linkage, which takes several films of a person
        computed = {"device": "cpu", "precision": "fp32"}
        scenario = Scenario.parse({**usual, "compute": computed, **document})
        scenario = scenario.model_copy(update={"method": method or scenario.method})
        experiment = Experiment.of(scenario, cohort)
        there = [site for site in experiment.dealt if site not in lost]
        rows = sorted(row for site in there for row in experiment.dealt[site])
        made = _learnt(scenario.method, cohort.take(rows).where("train"))
        told = [Release("update", "coordinator", "x", {}).publishing(one) for one in made]
        releases = [Release("update", site, "x", {}) for site in there]
        return cls(experiment, Shared(releases, told[-1], rounds=lambda: iter(enumerate(told))))

    @cached_property
    def put(self) -> Mapping[str, Put]:
        """The question in all its worlds."""
        return Threat(self.experiment).put(self.shared)["membership"]

    def entries(self) -> dict[str, dict[str, Any]]:
        """What the scenario's adversary makes of it, by attacker."""
        scenario = self.experiment.scenario
        adversary, heard = scenario.adversaries["membership"], {}
        for where, put in self.put.items():
            found = adversary.answer("membership", put.leak, {}, 1, CPU, lambda *told: None)
            heard[where] = Heard(put.asked.key, found, 0.5)
        scored = scenario.questions["membership"].score(heard, scenario.root)
        return {entry["attacker"]: {"adversary": "membership", **entry} for entry in scored}


def _learnt(method: Method, films: Cohort) -> list[Weights]:
    """At the beginning, and after each round."""
    learning = method.learning
    assert learning is not None
    made = [method.initial(stream(0, "initial"))]
    for number in range(learning.rounds):
        turn = Round(number, learning.rounds)
        made.append(method.learn(films, stream(0, "learn", number), RunContext.on(CPU), made[-1], turn))
    return made
