"""Conducts a study: each of its runs is a command of its own, and none of them outlives the study."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fedcxr.errors import Interrupted, TooFewSites
from fedcxr.runs import Run
from fedcxr.runs.constraints import judged, meets
from fedcxr.runs.machine import Machine, Share
from fedcxr.runs.plan import Memory
from fedcxr.runs.study import Study, Trial
from fedcxr.storage.disk import explained, write_atomic
from fedcxr.storage.private import private_folder

GRACE = 10.0  # seconds that runs have to clean up once they are told to stop
# What another attempt may do away with; a killed run's code is negative.
PASSING = (TooFewSites.exit_code, Interrupted.exit_code)


@dataclass(frozen=True)
class Options:
    """How to run a study, which never changes what comes out."""

    out: Path
    jobs: int = 1
    engine: str = "ray"
    resume: bool = False
    ray_address: str | None = None  # of a cluster that runs, to which the sites' work goes


@dataclass(frozen=True)
class Standing:
    """How one of a study's runs is doing."""

    number: int  # from 1
    of: int  # how many runs there are to do
    trial: Trial
    folder: Path
    state: Literal["running", "done", "failed"] = "running"
    meets: bool | None = None  # whether it meets all its constraints; None: it has none, or that cannot be told


@dataclass(frozen=True)
class Failure:
    """A run that came to nothing."""

    run: str
    complaint: str
    code: int

    @property
    def passing(self) -> bool:
        """Whether it may go well another time; a wrong key or a bug comes up again."""
        return self.code < 0 or self.code in PASSING

    def __str__(self) -> str:
        return f"{self.run}: {self.complaint}"


def _unseen(standing: Standing) -> None:
    pass


def conduct(
    study: Study, options: Options, told: Callable[[str], None], seen: Callable[[Standing], None] = _unseen
) -> list[Failure]:
    """Run every scenario as a command of its own; returns those that failed.

    `told` hears a line of what happened, and `seen` before it how the run in question is doing.
    """
    out = options.out
    folder = out / study.name
    with explained(folder):
        private_folder(private_folder(folder) / "scenarios")
    # With it, whoever has the folder alone can compare the runs once more.
    write_atomic(folder / "study.yaml", study.to_yaml().encode())
    dealt = list(study.runs())
    finished = {one.scenario.run_name for one in dealt if Run.place(out, one.scenario).own_result is not None}
    waiting = [one for one in dealt if not options.resume or one.scenario.run_name not in finished]
    afresh = f", and {len(finished)} are made afresh; --resume keeps them"
    again = afresh if finished and not options.resume else ""
    told(f"{study.name}: {len(finished)} of {len(dealt)} runs are on file{again}")
    outdated = {
        one.scenario.run_name for one in waiting if options.resume and Run.place(out, one.scenario).of_other_code
    }
    if outdated:
        told(f"{study.name}: {len(outdated)} were made by another version of the code, and are made afresh")
    machine, commands = Machine(options.jobs), Commands()
    if machine.jobs < options.jobs:
        told(f"{study.name}: {machine.jobs} runs at once instead of {options.jobs}, for there are no more cores")
    memory = Memory(out) if machine.jobs > 1 else None

    def run(numbered: tuple[int, Trial]) -> Failure | None:
        number, trial = numbered
        scenario = trial.scenario
        place = Run.place(out, scenario).folder
        standing = Standing(number, len(waiting), trial, place)
        file = folder / "scenarios" / f"{scenario.run_name}.yaml"
        write_atomic(file, scenario.to_yaml().encode())
        # Nothing is imported from the folder that the user happens to be in, where others may write.
        command = [sys.executable, "-P", "-m", "fedcxr.cli", "simulate", str(file)]
        command += ["--out", str(out), "--engine", options.engine, "--format", "json"]
        command += ["--resume"] if options.resume and scenario.run_name not in outdated else []
        command += ["--ray-address", options.ray_address] if options.ray_address else []
        takes = memory.expected(scenario) if memory else 0.0

        def waits() -> None:
            needed = f"runs like it took {takes / 2**30:.1f} GiB, beside those at work"
            told(f"{number} of {len(waiting)}: {file.stem} waits for memory: {needed}")

        with machine.share(takes, scenario.compute.device != "cpu", waits) as share:
            seen(standing)
            code, said = commands.run(command, share)
        if memory:
            memory.learn(place)
        complaint = (said.strip() or f"exit code {code}").splitlines()[-1] if code else ""
        result = None if complaint else Run.place(out, scenario).own_result
        if not complaint and result is None:
            complaint = "the code has changed since this study began"
        if result is None:
            seen(replace(standing, state="failed"))
            told(f"{number} of {len(waiting)}: {file.stem} failed: {complaint}")
            return Failure(file.stem, complaint, code or TooFewSites.exit_code)
        seen(replace(standing, state="done", meets=meets(judged(trial.constraints, [result], 1))))
        told(f"{number} of {len(waiting)}: {file.stem}")
        return None

    with ThreadPoolExecutor(machine.jobs) as pool:
        try:
            return [failure for failure in pool.map(run, enumerate(waiting, start=1)) if failure is not None]
        except BaseException:
            commands.stop()
            raise


class Commands:
    """Commands of several threads, which another thread can stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[str]] = []
        self._stopped = False

    def run(self, command: Sequence[str], share: Share) -> tuple[int, str]:
        """Exit code, and what it said on stderr; what it says on stdout is on file as well.

        How many processes and threads a run starts, it decides by the cores that it may use, and so do its children.
        """
        with self._lock:
            if self._stopped:
                return Interrupted.exit_code, ""
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=share.environment,
                process_group=0,  # a terminal's Ctrl-C is ours to pass on: a second one ends a command at once
            )
            self._running.append(process)
            if share.cores:
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(process.pid, share.cores)
        try:
            said = process.communicate()[1]
        finally:
            with self._lock:
                self._running.remove(process)
        return process.returncode, said

    def stop(self) -> None:
        """Start none any more, and end those that run: kindly, and after GRACE seconds otherwise."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            process.terminate()
        deadline = time.monotonic() + GRACE
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                process.kill()
