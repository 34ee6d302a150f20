"""The coordinator's side of an attack: packs the leaks, starts the adversary's process, reads its scores."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedcxr.adversaries import Guess, Scores
from fedcxr.errors import AttackFailed
from fedcxr.protocol import attack_seed
from fedcxr.release import Release
from fedcxr.runs import Run
from fedcxr.simulation.threat import Threat
from fedcxr.storage.disk import read_json
from server import adversary as process
from server import guesses
from server import leak as leaks

GRACE = 5.0  # seconds between asking a process to end and making it


class Attack:
    """One adversary at work on what leaked, beside whatever the coordinator does."""

    def __init__(self, run: Run, threat: Threat, name: str) -> None:
        self._run, self._threat, self.name = run, threat, name
        self._folder = run.folder / "attack" / name.replace(":", ".")
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._said = ""

    def start(self) -> None:
        """Write what the adversary owns, unless an earlier attempt did, and start the process on it."""
        scenario = self._threat.scenario
        adversary = scenario.adversaries[self.name]
        if not (self._folder / process.PLAN).is_file():
            shutil.rmtree(self._folder, ignore_errors=True)
            leaks.save_auxiliary(self._threat.auxiliary(), self._folder)
            steps = [
                process.Step("protected", adversary.spec(), prepared_by="protected", recovers=True),
                process.Step("control_raw", adversary.spec(), prepared_by="protected"),
                process.Step("control_shuffled", adversary.briefly().spec(), prepared_by="control_shuffled"),
            ]
            compute = scenario.compute.model_dump(include={"device", "precision", "threads"})
            mechanism = scenario.method.plugin_name() if scenario.knowledge.mechanism else None
            process.write_plan(self._folder, steps, attack_seed(scenario, self.name), compute, mechanism)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "server.adversary", str(self._folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_bare_environment(scenario.compute.threads),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._forward, daemon=True)
        self._reader.start()

    def leak(self, releases: Sequence[Release], learnt: Release | None) -> None:
        """Hand over what leaked: the process goes on from what it has learnt by now."""
        leaks.save(self._threat.leaks(releases, learnt), self._folder)

    def wait(self, deadline: float) -> None:
        """Until every leak is attacked."""
        assert self._process is not None
        assert self._reader is not None
        try:
            code = self._process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            timeout = self._run.scenario.compute.timeout_s
            raise AttackFailed(f"adversary {self.name} was not done in time", given=f"{timeout:g} s") from None
        self._reader.join(GRACE)
        if code != 0:
            raise AttackFailed(f"adversary {self.name} failed", given=self._said or f"exit code {code}")

    def scores(self) -> tuple[dict[str, dict[str, Scores]], dict[str, dict[str, Any]]]:
        """Per leak, the score matrices of its attackers and the facts of the attack."""
        facts = {leak: read_json(self._outcome(leak) / process.DONE) for leak in self._leaks()}
        scores = {
            leak: {name: np.load(self._outcome(leak) / f"{name}.npy", allow_pickle=False) for name in fact["attackers"]}
            for leak, fact in facts.items()
        }
        return scores, facts

    def recovered(self, codes: guesses.Shape, films: guesses.Shape) -> dict[str, Guess]:
        """What each of its attackers recovered of so many films of this size."""
        outcome = self._outcome("protected")
        return {
            name: guesses.load_guess(outcome, name, codes, films)
            for name in read_json(outcome / process.DONE)["recovered"]
        }

    def recognised(self, pairs: int) -> dict[str, Scores]:
        """Which of the pairs' films each of its attackers takes for which of their codes."""
        outcome = self._outcome("protected")
        recognised = read_json(outcome / process.DONE)["recognised"]
        return {name: guesses.load_alike(outcome, name, pairs) for name in recognised}

    def stop(self) -> None:
        """End the process and all its children, if they still run."""
        if self._process is None or self._reader is None or self._process.stdout is None:
            return
        end_group(self._process)
        self._reader.join(GRACE)
        self._process.stdout.close()

    def clear(self) -> None:
        """Remove the leaks: they hold copies of real films."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _leaks(self) -> list[str]:
        return [step["leak"] for step in read_json(self._folder / process.PLAN)["steps"]]

    def _outcome(self, leak: str) -> Path:
        return process.outcome_folder(self._folder, leak)

    def _forward(self) -> None:
        """Pass the process's JSON lines on as events; anything else it says is kept for an error message."""
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                said: Mapping[str, Any] = json.loads(line)
                if said["event"] == "progress":
                    self._run.progress(f"attack {said['stage']}", int(said["done"]), int(said["total"]))
                else:
                    self._said = str(said["reason"])
            except (ValueError, KeyError, TypeError):
                self._said = line.strip() or self._said


def end_group(
    process: subprocess.Popen[Any], signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGKILL)
) -> None:
    """End a process that leads a group, and the group with it: first politely, then for certain."""
    for how in signals:
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _bare_environment(threads: int) -> dict[str, str]:
    """No secrets, proxies or paths of the coordinator's: only what Python and the drivers need."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HOME", "FEDCXR_WEIGHTS")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
