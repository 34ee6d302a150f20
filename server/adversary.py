"""The adversary's own process: it is given a folder with what leaked, and leaves answers in another.

Started as `python -m server.adversary FOLDER`, it runs our own code alone. It forks for every leak: a first child
learns from what is held before anything leaked, a second one answers. Each confines itself (`server.confined`) before
it imports the adversary: an attack cannot reach keys, answers, originals or the films of its own controls, and whatever
it does in one world is gone in the next.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fedcxr import plugins
from fedcxr.adversaries import Adversary
from fedcxr.adversaries._location import Location
from fedcxr.errors import one_line
from fedcxr.knowledge.own_films import Owned
from fedcxr.storage.checkpoint import Checkpoint
from fedcxr.storage.disk import read_json, write_json
from fedcxr.storage.private import nothing_for_others
from server import answers, confined, family, prepared
from server import leak as leaks
from server.confined import Ended, Fence, say
from server.limits import Limits

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

PLAN, PREPARED = "plan.json", "prepared.safetensors"
REPORT_EVERY = 0.5  # seconds
EVENTS, EVENTS_PER_SECOND = 1000, 4  # that one attack may tell
LONGEST_STAGE = 80  # characters


@dataclass(frozen=True)
class Step:
    """One question in one world: to which adversary it is put, about which leak, and whose preparation it may use."""

    leak: str  # the name of its folder
    question: str
    adversary: Mapping[str, Any]
    prepared_by: str  # a leak whose adversary holds the same from the start
    holds: str = ""  # a fingerprint of that


@dataclass(frozen=True)
class Plan:
    """What is attacked, in which order, and with what; written by the coordinator, and read by nothing of outside."""

    steps: Sequence[Step]
    seed: int
    compute: Mapping[str, Any]
    limits: Mapping[str, Any]
    weaker: bool  # fence
    path: Sequence[str]  # on which a method of the user's is found; empty for one of ours
    mechanism: str | None  # such a method
    location: Mapping[str, str] | None  # of an adversary from outside
    files: Sequence[str]  # that its parameters name

    def write(self, folder: Path) -> None:
        """Written last: a folder with a plan is complete."""
        write_json(folder / PLAN, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """What `write` wrote."""
        told = read_json(folder / PLAN)
        return cls(**{**told, "steps": [Step(**step) for step in told["steps"]]})

    @property
    def readable(self) -> list[Path]:
        """Files of the user's that it may read: its own, and those that the scenario names."""
        own = [Location(**self.location).readable] if self.location else []
        return [*own, *map(Path, self.files)]

    def fence(self, readable: Sequence[Path], writable: Path) -> Fence:
        return Fence([*readable, *self.readable], writable, Limits(**self.limits), self.weaker)


@dataclass(frozen=True)
class Note:
    """What is known of an attack that is over, by who watched it."""

    seconds: float
    fence: str


def outcome_folder(folder: Path, leak: str) -> Path:
    """Where an attack on this leak writes its answers and nothing else."""
    return folder / f"{leak}.outcome"


def prepared_file(folder: Path, leak: str) -> Path:
    """What was learnt before anything leaked; whoever learns writes its folder and nothing else."""
    return folder / f"{leak}.prepared" / PREPARED


def note_file(folder: Path, leak: str) -> Path:
    """Where no attack can write: that it is over, and how it went."""
    return folder / f"{leak}.note.json"


def main(folder: Path) -> int:
    """Attack leak after leak; 0 if all were."""
    nothing_for_others()
    family.lead()
    plan = Plan.read(folder)
    # Here, so that every child has torch and none pays for it, and that a method from a file of the user's is known:
    # inside the fence that file cannot be read. All that is imported here is ours or the user's own.
    import torch

    torch.optim.AdamW([torch.zeros(1)])  # the first optimiser imports nine hundred modules

    if plan.mechanism:
        # Not before torch: beside the user's own files may lie an adversary, and a `tqdm.py` that libraries would try.
        sys.path.extend(path for path in plan.path if path not in sys.path)  # at its end: nothing there stands for ours
        plugins.load("method", plan.mechanism)
    if plan.location is None:
        plugins.load("adversary", plan.steps[0].adversary["name"])
    try:
        for step in plan.steps:
            if note_file(folder, step.leak).is_file():
                continue
            learnt = _learnt(folder, step, plan)
            reason, seconds = learnt.reason, learnt.seconds
            if reason is None:
                leaks.wait_for(folder / step.leak)
                if note_file(folder, step.leak).is_file():
                    continue  # the coordinator has its answers from another run
                answered = _answered(folder, step, plan)
                reason, seconds = answered.reason, seconds + answered.seconds
            if reason is not None:
                say("error", reason=f"{step.leak}: {reason}")
                return 1
            told = Note(round(seconds, 3), answered.fence)
            write_json(note_file(folder, step.leak), asdict(told))
        return 0
    finally:
        family.end()


def _learnt(folder: Path, step: Step, plan: Plan) -> Ended:
    """A child that may read what is held early: what it leaves for others cannot tell of what leaked."""
    leak, made = folder / step.leak, prepared_file(folder, step.leak)
    if step.prepared_by != step.leak or made.is_file():
        return Ended("", 0.0, None)
    made.parent.mkdir(exist_ok=True)
    fence = plan.fence(leaks.early_files(leak), made.parent)
    return confined.run(partial(_learn, leak, made, step, plan), fence, _Forwarded(step.leak))


def _answered(folder: Path, step: Step, plan: Plan) -> Ended:
    """A child that may read its own leak and what was prepared for it."""
    outcome, lent = outcome_folder(folder, step.leak), prepared_file(folder, step.prepared_by)
    outcome.mkdir(exist_ok=True)
    fence = plan.fence([folder / step.leak, lent], outcome)
    return confined.run(partial(_answer, folder / step.leak, lent, outcome, step, plan), fence, _Forwarded(step.leak))


# Inside the fence -----------------------------------------------------------------------------------------------------


def _learn(leak: Path, made: Path, step: Step, plan: Plan) -> None:
    held, learnt = leaks.load_early(leak).get("own_films"), dict[str, Any]()
    if held is not None:
        adversary, compute = _imported(step, plan, made.parent)
        arrays: Mapping[str, Any] = held.arrays
        with compute.session():
            learnt = dict(adversary.prepare(Owned(**arrays), plan.seed, compute, _Report()))
    Checkpoint(learnt, {}).write(made)


def _answer(leak: Path, lent: Path, outcome: Path, step: Step, plan: Plan) -> None:
    put = leaks.read(leak)
    if put is None:
        return
    weights = prepared.read(lent, plan.limits["disk"])  # before anything of outside is imported
    adversary, compute = _imported(step, plan, outcome)
    shown, parts = put
    with compute.session():
        found = dict(adversary.answer(step.question, shown, weights, plan.seed, compute, _Report()))
    answers.check(found, parts)
    answers.save(found, parts, outcome)


def _imported(step: Step, plan: Plan, scratch: Path) -> tuple[Adversary, Compute]:
    from fedcxr.training.compute import Compute

    os.environ["TMPDIR"] = str(scratch)  # torch wants a place for temporary files, and /tmp is outside the fence
    if plan.location is not None:
        Location(**plan.location).open()
    adversary = cast(Adversary, plugins.build("adversary", step.adversary))
    return adversary, Compute.choose(**plan.compute)


class _Report:
    """Progress as JSON lines on stdout, at most twice a second."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self._last > REPORT_EVERY:
            self._last = now
            say("progress", stage=stage, done=done, total=total)


# Outside of it --------------------------------------------------------------------------------------------------------


class _Forwarded:
    """What a child says of its progress, said again in words of ours and not too often."""

    def __init__(self, leak: str) -> None:
        self._leak, self._began, self._told = leak, time.monotonic(), 0

    def __call__(self, line: str) -> None:
        if self._told >= EVENTS + EVENTS_PER_SECOND * (time.monotonic() - self._began):
            return
        try:
            said = json.loads(line)
            stage, done, total = str(said["stage"]), int(said["done"]), int(said["total"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return
        if 0 <= done <= total < 1 << 53:
            self._told += 1
            # No brackets: a console takes what stands in them for colours and links.
            plain = one_line(stage, LONGEST_STAGE).replace("[", "(").replace("]", ")")
            say("progress", stage=f"{self._leak}: {plain}", done=done, total=total)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
