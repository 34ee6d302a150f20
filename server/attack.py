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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedcxr.adversaries import Adversary
from fedcxr.errors import AttackFailed
from fedcxr.protocol import attack_seed
from fedcxr.questions import PROTECTED, Heard
from fedcxr.runs import Run
from fedcxr.simulation.threat import Put, Threat
from fedcxr.storage.artefacts import Artefacts, digest_of_file
from fedcxr.storage.checkpoint import Checkpoint
from fedcxr.storage.disk import read_json
from fedcxr.storage.version import versions
from server import adversary as process
from server import answers
from server import leak as leaks

GRACE = 5.0  # seconds between asking a process to end and making it


class Attack:
    """One adversary at work on what leaked, beside whatever the coordinator does."""

    def __init__(self, run: Run, threat: Threat, name: str, artefacts: Artefacts) -> None:
        self._run, self._threat, self.name, self._artefacts = run, threat, name, artefacts
        self._folder = run.folder / "attack" / name.replace(":", ".")
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._said = ""

    @property
    def adversary(self) -> Adversary:
        return self._threat.scenario.adversaries[self.name]

    @property
    def questions(self) -> tuple[str, ...]:
        """Those that are put to it."""
        return tuple(name for name in self._threat.scenario.questions if name in self.adversary.answers)

    def start(self) -> None:
        """Write what the adversary owns, unless an earlier attempt did, and start the process on it."""
        scenario = self._threat.scenario
        if not (self._folder / process.PLAN).is_file():
            shutil.rmtree(self._folder, ignore_errors=True)
            compute = scenario.compute.model_dump(include={"device", "precision", "threads"})
            mechanism = scenario.method.plugin_name() if scenario.knowledge["mechanism"].granted else None
            process.write_plan(self._folder, self._steps(), attack_seed(scenario, self.name), compute, mechanism)
            self._lend_prepared()
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

    def _lend_prepared(self) -> None:
        """Spare it the preparation that it went through for another run."""
        for outcome, key in self._preparations():
            arrays = self._artefacts.get(key)
            if arrays is not None:
                outcome.mkdir(exist_ok=True)
                Checkpoint(arrays, {}).write(outcome / process.PREPARED)

    def keep_prepared(self) -> None:
        """Keep what it prepared, for other runs: it may not write outside its own folder."""
        for outcome, key in self._preparations():
            made = outcome / process.PREPARED
            # Its process is over, and what it left may be a link to somebody else's file.
            if made.is_file() and not made.is_symlink() and self._artefacts.get(key) is None:
                self._artefacts.put(key, Checkpoint.read(made).arrays)

    def _preparations(self) -> Iterator[tuple[Path, str]]:
        """Where it prepares, and all that this depends on."""
        from fedcxr.training.compute import Compute  # here and not above: it imports torch, which takes seconds

        plan = read_json(self._folder / process.PLAN)
        compute = Compute.choose(**plan["compute"])
        for step in plan["steps"]:
            if step["prepared_by"] == step["leak"]:
                key = self._artefacts.key(
                    "prepared",
                    adversary=step["adversary"],
                    holds=step["holds"],
                    seed=plan["seed"],
                    compute=compute.settings,
                    files=[digest_of_file(file) for file in self.adversary.required_files()],
                    versions=versions([type(self.adversary)]),
                )
                yield process.outcome_folder(self._folder, step["leak"]), key

    def _steps(self) -> list[process.Step]:
        """Every question in every world, and what is held from the start of each."""
        steps: list[process.Step] = []
        first: dict[tuple[str, str], str] = {}  # by what it is and what it holds, where an adversary prepares
        for question in self.questions:
            for where, setting in self._threat.settings(question).items():
                spec = (self.adversary.on_smoke_budget() if setting.smoke else self.adversary).spec()
                leak = _leak(question, where)
                held = leaks.save_early(self._threat.owned(question, setting.world), self._folder / leak)
                prepared_by = first.setdefault((json.dumps(spec, sort_keys=True), held), leak)
                steps.append(process.Step(leak, question, spec, prepared_by, held))
        return steps

    def leak(self, put: Mapping[str, Mapping[str, Put]]) -> None:
        """Hand over what leaked: the process goes on from what it has learnt by now."""
        for question in self.questions:
            for where in self._threat.settings(question):
                one = put[question].get(where)
                folder = self._folder / _leak(question, where)
                leaks.save(one.leak if one else None, one.asked if one else None, folder)

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

    def heard(self, question: str, put: Mapping[str, Put]) -> dict[str, Heard]:
        """Its answers to one question, from every world in which that was put."""
        heard: dict[str, Heard] = {}
        for where, one in put.items():
            outcome = process.outcome_folder(self._folder, _leak(question, where))
            note = answers.Note.read(outcome / process.DONE)
            given = answers.load(outcome, note.attackers, one.asked.parts)
            heard[where] = Heard(one.asked.key, given, note.seconds)
        silent = {name for one in heard.values() for name in heard[PROTECTED].answers.keys() - one.answers.keys()}
        if silent:
            told = ", ".join(sorted(silent))
            raise AttackFailed(f"an attacker of {self.name} has no answer in a control", given=told)
        return heard

    @property
    def fence(self) -> str:
        """What held the adversary's process."""
        [first, *_] = read_json(self._folder / process.PLAN)["steps"]
        return answers.Note.read(process.outcome_folder(self._folder, first["leak"]) / process.DONE).fence

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


def _leak(question: str, where: str) -> str:
    """The folder of a question in a world; a question from outside is called `module:Class`."""
    return f"{question.replace(':', '.')} {where}"


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
