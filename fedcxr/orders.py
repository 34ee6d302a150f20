"""What a person asks for, on a command line or in Python: it becomes a scenario, and that a run that is done."""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fedcxr.errors import ConfigError, ControlFailed, UnknownName
from fedcxr.runs import Run, stages
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import choose, override
from fedcxr.storage.private import OTHERS

ENGINES = ("ray", "inline")


@dataclass(frozen=True)
class Wishes:
    """What is asked for beside a scenario's own document, and goes before it; None asks for nothing."""

    sites: int | None = None
    method: str | None = None
    seed: int | None = None
    preset: str | None = None
    device: str | None = None
    sets: Sequence[str] = ()  # a.b=VALUE
    fresh_secret: bool = False
    budget: float | None = None

    def scenario(self, document: Mapping[str, Any], *, resume: bool) -> Scenario:
        """The scenario that all of it makes, checked as a whole."""
        chosen = choose(document, sites=self.sites, method=self.method, seed=self.seed, preset=self.preset)
        if self.device is not None:
            chosen = override(chosen, f"compute.device={self.device}")
        for assignment in self.sets:
            chosen = override(chosen, assignment)
        if self.fresh_secret:
            chosen = _with_fresh_secret(chosen, resume)
        scenario = Scenario.parse(chosen)
        return scenario if self.budget is None else scenario.with_budget(self.budget)


@dataclass(frozen=True)
class Order:
    """A scenario, and how it is to be run, which never changes what comes out."""

    scenario: Scenario
    out: Path
    engine: str = "ray"
    resume: bool = False
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UnknownName("engine", self.engine, ENGINES)
        if self.ray_address and self.engine != "ray":
            raise ConfigError("--ray-address needs the engine ray", given=f"--engine {self.engine}")

    @property
    def run(self) -> Run:
        return Run.place(self.out, self.scenario)

    @property
    def planned(self) -> list[str]:
        """The stages that are still to be done."""
        return [stage for stage in stages.planned(self.scenario) if not (self.resume and self.run.has_stage(stage))]

    @property
    def lost(self) -> str | None:
        """What is on file and is made afresh, as a warning; None: nothing is."""
        if self.resume or not self.run.left:
            return None
        return f"{self.run.left} is on file in {self.run.folder} and is made afresh; --resume keeps it"

    def conducted(self) -> Run:
        """The run, done."""
        # By name: the library does not know the server.
        server = importlib.import_module("server.simulate")
        return cast(
            Run,
            server.simulate(self.scenario, server.Options(self.out, self.engine, self.resume, self.ray_address)),
        )


def demand_controls(result: Mapping[str, Any]) -> None:
    """Refuse a result in which an attack's control failed."""
    failed = [attack for attack in result["privacy"]["attacks"] if not attack["conclusive"]]
    if failed:
        raise ControlFailed(
            "an attack's control failed, so its figure proves nothing",
            given="; ".join(f"{a['adversary']} {a['attacker']}: {a['inconclusive_because']}" for a in failed),
            do="train longer (--preset default), or use more patients",
        )


@contextlib.contextmanager
def as_a_command() -> Iterator[None]:
    """What the entry of a command does for its whole process, in somebody else's and only for as long as this takes.

    Files are for their owner's eyes, and processes that are started import nothing from the folder we are in.
    """
    before, mask = dict(os.environ), os.umask(OTHERS)
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        os.umask(mask)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _with_fresh_secret(document: dict[str, Any], resume: bool) -> dict[str, Any]:
    """The run's scenario.yaml keeps it, with which the run repeats."""
    if resume or document.get("secret") is not None:
        raise ConfigError(
            "there is a secret already, which a fresh one would replace",
            given="--resume" if resume else "secret in the scenario",
            do="leave --fresh-secret out" + ("; name the scenario.yaml in the run's folder" if resume else ""),
        )
    return {**document, "secret": secrets.token_hex(32)}
