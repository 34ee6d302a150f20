"""Where a site keeps its films and its keys: what is different at a hospital and in a simulation of one."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol, cast

from fedcxr.cohort import Cohort
from fedcxr.errors import Refused
from fedcxr.keys.provider import KeyProvider
from fedcxr.scenario import Scenario
from sites.agency import unlocked_elsewhere
from sites.budget import Budget
from sites.data import own_films

SIMULATION = "FEDCXR_SIMULATION"
Node = Mapping[str, object]  # what a node was started with: `--node-config`, which no message can change


class Premises(Protocol):
    """What a node works with, whatever it is asked."""

    def key_provider(self, document: str) -> AbstractContextManager[KeyProvider]:
        """The key ring; whose it is, is who this node is. In a simulation the scenario's document says."""
        ...

    def cohort(self, scenario: Scenario, site: str) -> Cohort:
        """The films of this site."""
        ...


Opened = Callable[[Node], Premises]


class Hospital:
    """A vault and films of its own; its own grants count, and those of a scenario are no more than a wish."""

    def __init__(self, node: Node) -> None:
        folder = node.get("vault")
        if not isinstance(folder, str) or not folder:
            raise Refused(
                "this node has no vault, and does not say that it is simulated",
                given=", ".join(f"{key}={value!r}" for key, value in sorted(node.items())) or "no node config",
                do=f"start it with --node-config 'vault=\"FOLDER\"', or in a simulation with {SIMULATION}=1",
            )
        self._vault = Path(folder)

    @contextmanager
    def key_provider(self, document: str) -> Iterator[KeyProvider]:
        with unlocked_elsewhere(self._vault, Budget()) as keys:
            yield keys

    def cohort(self, scenario: Scenario, site: str) -> Cohort:
        return own_films(scenario, site)


def of_the_node(node: Node) -> Premises:
    """A hospital's premises, unless whoever started this node said that it simulates one.

    A simulation is reached by name, and only then: nothing of it is loaded at a hospital.
    """
    if node.get("simulation") is not True and os.environ.get(SIMULATION) != "1":
        return Hospital(node)
    if "vault" in node:
        raise Refused("a node with a vault is a hospital's", given="a simulation", do="start it without one of the two")
    return cast(Premises, importlib.import_module("fedcxr.simulation.premises").Simulation(node))
