"""Codes of a consortium in the hands of attackers of their support, with two releases and pairs granted."""

from __future__ import annotations

from functools import cache
from typing import Any

from consortium import Consortium

from fedcxr.adversaries.support import Support
from fedcxr.data import cache_folder
from fedcxr.questions import Answers, Heard
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.training.compute import Compute

FP32 = Compute.choose("cpu", "fp32")
PAIRS = 12


def ignore(stage: str, step: int, steps: int) -> None:
    pass


@cache
def consortium_of(method: str, ambiguation: str | None = None) -> Consortium:
    """Two sites that have released codes of phantoms."""
    parameters = {"name": method} | ({"ambiguation": ambiguation} if ambiguation else {})
    scenario = Scenario.parse(
        {
            "sites": 2,
            "cohort": {"source": "phantom", "patients": 120, "size": 64},
            "method": parameters,
            "knowledge": {"releases": 2, "pairs": PAIRS},
            "tasks": {},
            "adversaries": {"support": {}},
            "compute": {"device": "cpu", "precision": "fp32"},
        }
    )
    return Consortium.that_released(Experiment.open(scenario, cache_folder()))


def answers(attacker: Support, question: str, of: Consortium, seed: int = 1) -> Answers:
    """What it makes of the codes."""
    return attacker.answer(question, of.leak(question), {}, seed, FP32, ignore)


def entries(found: Answers, question: str, of: Consortium) -> dict[str, dict[str, Any]]:
    """What the question makes of its answers, by attacker."""
    asked = of.put[question]["protected"].asked
    scored = of.scenario.questions[question].score({"protected": Heard(asked.key, found, 1.0)}, seed=0)
    return {entry["attacker"]: entry for entry in scored}
