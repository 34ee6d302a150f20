"""The stages of a run whose outcomes are kept one by one, by name: what there is to do, in the order of a scenario."""

from __future__ import annotations

from fedcxr.scenario import Scenario

COLLECT = "collect"
TESTED = "tested"  # at hospitals
BEGUN = "begun"  # an event: hospitals are asked, for the first time or once more


def utility(task: str) -> str:
    """Of a task; one from outside is called `module:Class`."""
    return f"utility-{task.replace(':', '.')}"


def attack(adversary: str) -> str:
    """Of an adversary."""
    return f"attack-{adversary.replace(':', '.')}"


def at_hospitals() -> tuple[str, ...]:
    """All that take their time where the films are elsewhere."""
    return (COLLECT, TESTED)


def planned(scenario: Scenario) -> tuple[str, ...]:
    """All that take their time."""
    return (COLLECT, *map(utility, scenario.tasks), *map(attack, scenario.adversaries))
