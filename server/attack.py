"""The coordinator's side of an attack: packs the leaks, starts the adversary's process, reads its scores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

from fedcxr.adversaries import Adversary
from fedcxr.adversaries._process import command, environment
from fedcxr.data import cache_folder
from fedcxr.errors import AttackFailed, ConfigError
from fedcxr.fence.places import system
from fedcxr.protocol import attack_seed
from fedcxr.questions import PROTECTED, Heard
from fedcxr.runs import Run
from fedcxr.simulation.threat import Put, Threat
from fedcxr.storage.artefacts import Artefacts
from fedcxr.storage.disk import read_json
from server import adversary as process
from server import answers, left
from server import leak as leaks
from server.lent import Lent
from server.limits import Limits
from server.sandbox import OURS

LONGEST_LINE = 1 << 16  # characters
LOOK_EVERY = 0.1  # seconds
GRACE = 5.0  # seconds between asking a process to end and making it
LAST_WORD = 60.0  # seconds: beyond its time an attack is ended by us, and where we cannot, by who watches it


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
        compute = self._threat.scenario.compute
        if not (self._folder / process.PLAN).is_file():
            left.remove(self._folder)
            self._plan().write(self._folder)
            self._lent.lend_prepared()
        self._process = subprocess.Popen(
            command("server.adversary", str(self._folder)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment(compute.threads),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._forward, daemon=True)
        self._reader.start()

    def _plan(self) -> process.Plan:
        scenario, location = self._threat.scenario, self.adversary.location
        compute, method = scenario.compute, scenario.method.plugin_name()
        plan = process.Plan(
            steps=self._steps(),
            seed=attack_seed(scenario, self.name),
            compute=compute.model_dump(include={"device", "precision", "threads"}),
            limits=asdict(self._limits),
            # One of ours means no harm, and attacks as well where no kernel can fence it in.
            weaker=compute.weaker_fence or location is None,
            path=[str(Path(path).resolve()) for path in sys.path] if ":" in method else [],
            mechanism=method if scenario.knowledge["mechanism"].granted else None,
            location=None if location is None else asdict(location),
            files=[str(file) for file in self.adversary.required_files()],
        )
        self._check_apart(plan.readable)
        return plan

    @property
    def _limits(self) -> Limits:
        """What each of its children may use."""
        compute = self._threat.scenario.compute
        return Limits(
            memory=round(compute.attack_memory_gb * 1e9),
            processes=compute.attack_processes,
            disk=round(compute.attack_disk_gb * 1e9),
            seconds=compute.timeout_s + LAST_WORD,
        )

    def _check_apart(self, opened: Sequence[Path]) -> None:
        """Refuse what lies around the answers, or around the films that they are of."""
        needed = (file for source in self._threat.scenario.sources for file in source.required_files())
        secrets = [path.resolve() for path in (self._run.folder, cache_folder(), *needed)]
        for kept, around in product(secrets, opened):
            if kept.is_relative_to(around.resolve()):
                raise ConfigError(
                    f"the adversary {self.name} lies around the films that it is to attack",
                    given=around,
                    do="choose another --out, or move the adversary's package into a folder of its own",
                )
        always = [] if self.adversary.location is None else system(OURS)  # ours look at nothing but their leak
        for kept, around in product(secrets, always):
            if kept.is_relative_to(around.resolve()):
                raise ConfigError(
                    f"the adversary {self.name} could read what it is to find out: it lies among installed programs",
                    given=kept,
                    allowed=f"outside of {around}",
                    do="choose another --out or FEDCXR_CACHE, or move the films",
                )

    @property
    def _lent(self) -> Lent:
        return Lent(self._artefacts, self._folder, self.adversary, self._threat.scenario.method)

    def keep_for_others(self, put: Mapping[str, Mapping[str, Put]]) -> None:
        """What other runs may take over: its preparations, and its answers where nothing was protected."""
        self._lent.keep_prepared(self._limits.disk)
        for question, where in self._controls:
            one, leak = put[question].get(where), _leak(question, where)
            if one is not None and not one.setting.world.protects:
                heard = answers.load(process.outcome_folder(self._folder, leak), one.asked.parts)
                self._lent.keep_answers(leak, leaks.contents(self._folder / leak), heard)

    def _steps(self) -> list[process.Step]:
        """Every question in every world, and what is held from the start of each: controls come last."""
        steps: list[process.Step] = []
        first: dict[tuple[str, str], str] = {}  # by what it is and what it holds, where an adversary prepares
        settings = {question: self._threat.settings(question) for question in self.questions}
        for question, where in (*self._real, *self._controls):
            setting = settings[question][where]
            spec = (self.adversary.on_smoke_budget() if setting.smoke else self.adversary).spec()
            leak = _leak(question, where)
            held = leaks.save_early(self._threat.owned(question, setting.world), self._folder / leak)
            prepared_by = first.setdefault((json.dumps(spec, sort_keys=True), held), leak)
            steps.append(process.Step(leak, question, spec, prepared_by, held))
        return steps

    @property
    def _real(self) -> list[tuple[str, str]]:
        """Its questions in the world that is."""
        return [(question, where) for question, where in self._asked if where == PROTECTED]

    @property
    def _controls(self) -> list[tuple[str, str]]:
        """Its questions in all other worlds."""
        return [(question, where) for question, where in self._asked if where != PROTECTED]

    @cached_property
    def _asked(self) -> list[tuple[str, str]]:
        return [(question, where) for question in self.questions for where in self._threat.settings(question)]

    def leak(self, put: Mapping[str, Mapping[str, Put]]) -> None:
        """Hand over what leaked: the process goes on from what it has learnt by now."""
        self._hand_over(self._real, put)

    def leak_controls(self, put: Mapping[str, Mapping[str, Put]]) -> None:
        """Hand over what would have leaked in other worlds."""
        self._hand_over(self._controls, put)

    def _hand_over(self, asked: Sequence[tuple[str, str]], put: Mapping[str, Mapping[str, Put]]) -> None:
        for question, where in asked:
            one, leak = put[question].get(where), _leak(question, where)
            lend = partial(self._lent.lend_answers, leak)
            leaks.save(one.leak if one else None, one.asked if one else None, self._folder / leak, lend)

    @property
    def awaits_controls(self) -> bool:
        """Whether it has said all that it will say of the world that is."""
        assert self._process is not None
        told = (process.note_file(self._folder, _leak(*asked)) for asked in self._real)
        return self._process.poll() is not None or all(note.is_file() for note in told)

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
            leak = _leak(question, where)
            given = answers.load(process.outcome_folder(self._folder, leak), one.asked.parts)
            heard[where] = Heard(one.asked.key, given, self._note(leak).seconds)
        silent = {name for one in heard.values() for name in heard[PROTECTED].answers.keys() - one.answers.keys()}
        if silent:
            told = ", ".join(sorted(silent))
            raise AttackFailed(f"an attacker of {self.name} has no answer in a control", given=told)
        return heard

    @property
    def fence(self) -> str:
        """What held the adversary, as its children said before anything of it was imported."""
        [first, *_] = process.Plan.read(self._folder).steps
        return self._note(first.leak).fence

    def _note(self, leak: str) -> process.Note:
        return process.Note(**read_json(process.note_file(self._folder, leak)))

    def stop(self) -> None:
        """End the process and all its children, if they still run."""
        if self._process is None or self._reader is None or self._process.stdout is None:
            return
        end_group(self._process)
        self._reader.join(GRACE)
        self._process.stdout.close()

    def clear(self) -> None:
        """Remove the leaks: they hold copies of real films."""
        left.remove(self._folder)

    def _forward(self) -> None:
        """Pass the process's JSON lines on as events; anything else it says is kept for an error message."""
        assert self._process is not None
        assert self._process.stdout is not None
        while line := self._process.stdout.readline(LONGEST_LINE):
            try:
                said: Mapping[str, Any] = json.loads(line)
                if said["event"] == "progress":
                    self._run.progress(f"attack {said['stage']}", int(said["done"]), int(said["total"]))
                else:
                    self._said = str(said["reason"])
            except (ValueError, KeyError, TypeError):
                self._said = line.strip() or self._said


def leak_controls(attacks: Sequence[Attack], put: Mapping[str, Mapping[str, Put]]) -> None:
    """Hand over the controls, once nobody has anything left to say of what is protected.

    A control shows the very films that are attacked. What an adversary has seen, it can leave where no fence is: when a
    library's file was last read, how full the disk is, how busy the processors are. Afterwards that helps nobody,
    whether itself at its next question or another that is at work beside it.
    """
    while not all(attack.awaits_controls for attack in attacks):
        time.sleep(LOOK_EVERY)
    for attack in attacks:
        attack.leak_controls(put)


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
