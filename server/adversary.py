"""The adversary's own process: it is given a folder with what leaked, and leaves answers in another.

Started as `python -m server.adversary FOLDER`, it forks once per leak, and each child confines itself to its leak
before it reads a single film: an attack cannot reach keys, answers or originals, nor the films of its own controls.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fedcxr import plugins
from fedcxr.adversaries import Adversary
from fedcxr.knowledge.own_films import Owned
from fedcxr.questions import Answers
from fedcxr.storage.checkpoint import Checkpoint
from fedcxr.storage.disk import read_json, write_json
from fedcxr.storage.private import nothing_for_others
from fedcxr.view import Weights
from server import answers
from server import leak as leaks
from server.sandbox import confine, die_with_parent

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

PLAN, DONE, PREPARED = "plan.json", "done.json", "prepared.safetensors"
REPORT_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class Step:
    """One question in one world: to which adversary it is put, about which leak, and whose preparation it may use."""

    leak: str  # the name of its folder
    question: str
    adversary: Mapping[str, Any]
    prepared_by: str  # a leak whose adversary holds the same from the start
    holds: str = ""  # a fingerprint of that


def write_plan(
    folder: Path, steps: Sequence[Step], seed: int, compute: Mapping[str, Any], mechanism: str | None
) -> None:
    """Say which leaks to attack, in which order. Written last: a folder with a plan is complete."""
    plan = {"seed": seed, "compute": dict(compute), "steps": [vars(step) for step in steps]}
    plan["mechanism"] = mechanism
    write_json(folder / PLAN, plan)


def outcome_folder(folder: Path, leak: str) -> Path:
    """Where an attack on this leak writes its answers and nothing else."""
    return folder / f"{leak}.outcome"


def main(folder: Path) -> int:
    """Attack leak after leak, each in a child of its own; 0 if all were."""
    nothing_for_others()
    die_with_parent()
    plan = read_json(folder / PLAN)
    steps = [Step(**step) for step in plan["steps"]]
    adversaries = [cast(Adversary, plugins.build("adversary", step.adversary)) for step in steps]
    # Here, so that every child has torch and none pays for it, and that a method from a file of the user's is known:
    # inside the fence that file cannot be read.
    import torch  # noqa: F401

    if plan["mechanism"]:
        plugins.load("method", plan["mechanism"])

    for step, adversary in zip(steps, adversaries, strict=True):
        outcome = outcome_folder(folder, step.leak)
        if (outcome / DONE).is_file():
            continue
        outcome.mkdir(exist_ok=True)
        child = os.fork()
        if child == 0:
            os._exit(_attack(folder, step, adversary, plan))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            if code < 0:
                _say("error", reason=f"the attack on {step.leak} was ended by {signal.Signals(-code).name}")
            return 1
    return 0


def _attack(folder: Path, step: Step, adversary: Adversary, plan: Mapping[str, Any]) -> int:
    """One child: fenced in, it prepares unless that is done, answers, and writes its answers."""
    die_with_parent()
    outcome, shared = outcome_folder(folder, step.leak), outcome_folder(folder, step.prepared_by)
    os.environ["TMPDIR"] = str(outcome)  # torch wants a place for temporary files, and /tmp is outside the fence
    try:
        # Of another attack's outcome only what was prepared: its answers are none of this one's business.
        lent = [shared / PREPARED] if (shared / PREPARED).is_file() else []
        fence = confine(readable=[folder / step.leak, *lent, *adversary.required_files()], writable=[outcome])
        from fedcxr.training.compute import Compute

        compute = Compute.choose(**plan["compute"])
        seed, report = plan["seed"], _Report(step.leak)
        start = time.process_time()
        with compute.session():
            if not (shared / PREPARED).is_file():
                learnt = _prepared(folder / step.leak, adversary, seed, compute, report)
                Checkpoint(learnt, {}).write(outcome / PREPARED)
            prepared = dict(Checkpoint.read(shared / PREPARED).arrays)
            put = leaks.wait_for(folder / step.leak)
            found: Answers = {}
            if put is not None:
                leak, parts = put
                found = adversary.answer(step.question, leak, prepared, seed, compute, report)
                answers.check(found, parts)
                answers.save(found, parts, outcome)
        seconds = round(time.process_time() - start, 3)  # its own work: it may have waited for the sites
        write_json(outcome / DONE, {"attackers": list(found), "seconds": seconds, "fence": fence})
        return 0
    # The last line of defence of a process: whatever happened must reach the coordinator as one line.
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        _say("error", reason=f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})")
        return 1


def _prepared(leak: Path, adversary: Adversary, seed: int, compute: Compute, report: _Report) -> Weights:
    """What can be learnt from films of its own before anything is released; nothing by who has none."""
    held = leaks.load_early(leak).get("own_films")
    if held is None:
        return {}
    arrays: Mapping[str, Any] = held.arrays
    return adversary.prepare(Owned(**arrays), seed, compute, report)


class _Report:
    """Progress as JSON lines on stdout, at most twice a second."""

    def __init__(self, leak: str) -> None:
        self._leak, self._last = leak, 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self._last > REPORT_EVERY:
            self._last = now
            _say("progress", stage=f"{self._leak}: {stage}", done=done, total=total)


def _say(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
