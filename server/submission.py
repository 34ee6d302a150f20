"""A scenario is handed in for hospitals: written into the coordinator's kit, conducted by its SuperLink, waited for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fedcxr.errors import ConfigError, EngineBroken
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import read_file
from fedcxr.storage.disk import write_atomic
from fedcxr.storage.private import private_folder
from server import failure
from server.control import Control, Status

SUBMITTED = "submitted"
RUNS = "runs"
PUBLIC = "public.yaml"  # the coordinator's own films, if it has any
NAMED = re.compile(r"[A-Za-z0-9_.-]+-[0-9a-f]{32}-\d+")  # how a run may be called: no path
LOOK_EVERY = 1.0  # seconds
START_S = 120.0  # within which the coordinator's app is at work


def submitted(kit: Path, name: str) -> Scenario:
    """The scenario that lies in the kit under this name."""
    if not NAMED.fullmatch(name):
        raise ConfigError("a run is asked for by its name", given=name)
    scenario = Scenario.parse(read_file(_file(kit, name)))
    if scenario.run_name != name:
        raise ConfigError("what lies under this name is another scenario", given=name, do="submit it again")
    return scenario


def public_films(kit: Path) -> Path | None:
    """The file that says which films are the coordinator's own."""
    file = kit / PUBLIC
    return file if file.is_file() else None


@dataclass(frozen=True)
class Submission:
    """A scenario that was handed in, and what Flower calls the run."""

    kit: Path
    run: Run
    number: int
    joined: bool = False  # it was at work already

    @classmethod
    def of(cls, kit: Path, control: Control, scenario: Scenario) -> Self:
        """Hand in a scenario, or find it at work already; its run folder lies in the kit."""
        if not scenario.own_sources or not all(source.elsewhere for source in scenario.own_sources.values()):
            raise ConfigError(
                "this scenario names films, and hospitals have their own",
                given="sites that are simulated",
                allowed="sites: {charite: own, ukb: own}",
                do="fedcxr simulate simulates it",
            )
        run = Run.place(kit / RUNS, scenario)
        if at_work := control.at_work(scenario.run_name):
            return cls(kit, run, at_work[0], joined=True)
        private_folder(kit / SUBMITTED)
        failure.forget(run.folder)
        write_atomic(_file(kit, scenario.run_name), scenario.to_yaml().encode())
        return cls(kit, run, control.start(scenario.run_name))

    def wait(self, control: Control, heard: Callable[[Status], None] = lambda status: None) -> Run:
        """Until Flower says that the run is over; raises why there is no result, as the other process said it."""
        begun = time.monotonic()
        while not (status := control.status(self.number)).finished:
            heard(status)
            if status.stage != "running" and time.monotonic() - begun > START_S:
                control.stop(self.number)
                raise self._broken("nobody takes up the run", f"{status.stage} for {START_S:g} s")
            time.sleep(LOOK_EVERY)
        if self.run.result is None:
            raise failure.noted(self.run.folder) or self._broken("the run has no result", _said(status))
        return self.run

    def _broken(self, what: str, said: str) -> EngineBroken:
        return EngineBroken(what, given=said, do=f"read {self.kit / 'run' / 'flwr-serverapp.log'}")


def _said(status: Status) -> str:
    return f"{status.outcome}: {status.details}" if status.details else status.outcome


def _file(kit: Path, name: str) -> Path:
    return kit / SUBMITTED / f"{name}.yaml"
