"""A contribution tried by itself: films of rendered people are shared, and it meets them here, without run or fence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fedcxr.adversaries import Adversary
from fedcxr.data import cache_folder
from fedcxr.protocol import site_step
from fedcxr.questions import Heard, Question
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import simulated
from fedcxr.simulation.threat import Put, Threat
from fedcxr.tasks import Bench, Task
from fedcxr.training.compute import Compute
from fedcxr.view import Shared


@dataclass(frozen=True)
class Trial:
    """What two hospitals have shared, in one seed; a method that learns did so at each of them."""

    experiment: Experiment
    shared: Shared
    compute: Compute

    @classmethod
    def of(cls, method: str | dict[str, Any], patients: int = 200, size: int = 64) -> Trial:
        """Of phantoms; `method` is a name, or a name and parameters as in a scenario."""
        scenario = Scenario.parse(
            {
                "sites": 2,
                "cohort": {"source": "phantom", "patients": patients, "size": size},
                "method": method,
                "tasks": {},
                "adversaries": {},
            }
        )
        experiment = Experiment.open(scenario, cache_folder())
        releases = [site_step(scenario, s, experiment.site(s), simulated(scenario, s)) for s in experiment.dealt]
        computed = scenario.compute
        return cls(experiment, Shared(releases), Compute.choose(computed.device, computed.precision, computed.threads))

    def put(self, question: Question) -> dict[str, Put]:
        """A question in all its worlds: in each the leak that an adversary is given, and what is asked."""
        name = question.plugin_name()
        asked = self.experiment.scenario.model_copy(update={"questions": {name: question}})
        return Threat(replace(self.experiment, scenario=asked)).put(self.shared)[name]

    def attack(self, adversary: Adversary, question: Question) -> list[dict[str, Any]]:
        """The entries of its attackers."""
        heard = {}
        for world, put in self.put(question).items():
            who = adversary.on_smoke_budget() if put.setting.smoke else adversary
            seed, owns = self.experiment.scenario.seed, "own_films" in put.leak.holdings
            with self.compute.session():
                prepared = who.prepare(put.leak.own, seed, self.compute, _silently) if owns else {}
                found = who.answer(question.plugin_name(), put.leak, prepared, seed, self.compute, _silently)
            heard[world] = Heard(put.asked.key, found, 0.0)
        return question.score(heard, self.experiment.scenario.root)

    def measure(self, task: Task) -> dict[str, Any] | None:
        """Its figures; None where it does not apply."""
        evidence = self.experiment.evidence(self.shared)
        with self.compute.session():
            return task.measure(evidence, Bench(0, self.compute)) if task.applies(evidence) else None


def _silently(stage: str, done: int, total: int) -> None:
    pass
