"""Where a site keeps its films and its keys: what is different at a hospital and in a simulation of one."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.errors import FedcxrError, Refused
from fedcxr.keys.identity import PublicIdentity
from fedcxr.keys.provider import KeyProvider
from fedcxr.release import Release
from fedcxr.scenario import Scenario
from fedcxr.steps import Step, Steps, coarse
from sites import inspection, policy
from sites.agency import AgentKeys, WaitingAgent, unlocked_elsewhere
from sites.codes import Code, Denied, Told, tell
from sites.profile import Profile

SIMULATION = "FEDCXR_SIMULATION"
Node = Mapping[str, object]  # what a node was started with: `--node-config`, which no message can change


class Premises(Protocol):
    """What a node works with, whatever it is asked."""

    def coordinators(self, document: str) -> Sequence[PublicIdentity]:
        """Whose requests count: the coordinator's, by any of its cards. In a simulation the document says."""
        ...

    def key_provider(self, document: str) -> AbstractContextManager[KeyProvider]:
        """The key ring; whose it is, is who this node is. In a simulation the scenario's document says."""
        ...

    def asked_by(self, coordinator: PublicIdentity) -> None:
        """Who asks, once the keys are there: for what is entered."""
        ...

    def scenario(self, document: str) -> Scenario:
        """What a document asks for, refused if this site does not do that."""
        ...

    def cohort(self, scenario: Scenario, site: str) -> Cohort:
        """The films of this site."""
        ...

    def allow(self, films: Cohort, task: str | None = None) -> None:
        """Refused unless this site answers about such films, and is to be tested by such a task."""
        ...

    def inspect(self, original: Cohort, release: Release) -> None:
        """Refused unless this release of these films may leave."""
        ...

    def begins(self, step: Step) -> None:
        """What is done next for the coordinator."""
        ...

    def log(self) -> str:
        """What the coordinator may keep of what was done for it; empty: nothing."""
        ...

    def told_seconds(self, seconds: float) -> float:
        """What the coordinator is told of how long something took."""
        ...

    def explain(self, error: Exception, seconds: float) -> Told:
        """What the coordinator is told of an error that came up after so long."""
        ...


Opened = Callable[[Node], Premises]


class Hospital:
    """A vault, films and a profile of its own: its grants count, and of a scenario only what its profile allows."""

    _keys: AgentKeys | None = None  # while the vault is open

    def __init__(self, node: Node, agent: WaitingAgent | None = None) -> None:
        """Its keys are at this agent, or at one that is reached when they are needed."""
        self._node = node
        self._agent = agent
        self._steps = Steps()
        self._unentered = False  # a refusal could not even be entered

    @cached_property
    def profile(self) -> Profile:
        """What its own people wrote down, read anew for everything that it is asked."""
        file = self._node.get("profile")
        if "vault" in self._node or not isinstance(file, str) or not file:
            raise Refused(
                "this node has no profile, and does not say that it is simulated",
                given=", ".join(f"{key}={value!r}" for key, value in sorted(self._node.items())) or "no node config",
                do="write one like configs/sites/hospital.yaml, which also names the vault, and start the node with "
                f"--node-config 'profile=\"FILE\"'; or in a simulation with {SIMULATION}=1",
            )
        return Profile.read(Path(file).expanduser())

    def coordinators(self, document: str) -> Sequence[PublicIdentity]:
        return self.profile.coordinators

    @contextmanager
    def key_provider(self, document: str) -> Iterator[KeyProvider]:
        profile = self.profile
        with self._agent.unlocked() if self._agent else unlocked_elsewhere(profile) as keys:
            name = keys.identity.public.name
            if name != profile.site:
                raise Refused("the profile is another site's than its vault", given=profile.site, allowed=name)
            self._keys = keys
            try:
                yield keys
            finally:
                self._keys = None

    def asked_by(self, coordinator: PublicIdentity) -> None:
        if self._keys is not None:
            self._keys.say("coordinator", coordinator.fingerprint)

    def scenario(self, document: str) -> Scenario:
        scenario = policy.admitted(document, self.profile)
        if self._keys is not None:
            self._keys.say("method", scenario.method.plugin_name())
        return scenario

    def cohort(self, scenario: Scenario, site: str) -> Cohort:
        return scenario.made_alike(self.profile.films(cache_folder()), of=site)

    def allow(self, films: Cohort, task: str | None = None) -> None:
        if task is not None and task not in self.profile.tasks:
            raise Denied(Code.TASK, "this task is not allowed", given=task, allowed=", ".join(self.profile.tasks))
        if len(films) < self.profile.smallest:
            raise Denied(Code.FILMS, "too few films", given=len(films), allowed=f"{self.profile.smallest} or more")

    def inspect(self, original: Cohort, release: Release) -> None:
        try:
            inspection.inspect(original, release, self.profile.limits)
        except Refused as error:
            raise Denied(Code.LIMITS, str(error)) from None

    def begins(self, step: Step) -> None:
        self._steps.begin(step)

    def log(self) -> str:
        """Only where the profile says so; and of what could not be entered nothing more is signed than that."""
        return self._steps.text if self.profile.tells == "log" and not self._unentered else ""

    def told_seconds(self, seconds: float) -> float:
        return float(coarse(seconds))

    def explain(self, error: Exception, seconds: float) -> Told:
        """A refusal is entered as well, once it is known whose hospital this is; before, it is in the log alone.

        By then the coordinator has signed what it asks: nobody else is told a line.
        """
        told = tell(error, line=self._keys is not None and self.profile.tells != "code")
        if self._keys is not None:
            try:
                self._keys.refuse(told[1], told[2])
            except FedcxrError as unentered:  # nothing is signed then, but that there was no room to enter it
                self._unentered = True
                return tell(unentered)
        return told


def of_the_node(node: Node) -> Premises:
    """A hospital's premises, unless whoever started this node said that it simulates one.

    A simulation is reached by name, and only then: nothing of it is loaded at a hospital.
    """
    if node.get("simulation") is not True and os.environ.get(SIMULATION) != "1":
        return Hospital(node)
    if "vault" in node or "profile" in node:
        raise Refused(
            "a node with a profile is a hospital's", given="a simulation", do="start it without one of the two"
        )
    return cast(Premises, importlib.import_module("fedcxr.simulation.premises").Simulation(node))
