"""Feeds damaged input to every parser of what strangers send, and keeps what reaches new code and what breaks it.

A parser may accept an input or refuse it with one of its own errors. Anything else is a failure: another exception,
more than MEMORY, or longer than PATIENCE. Inputs that reach a line that none reached before join the corpus.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from mutations import mutated
from targets import TARGETS, Target

MEMORY = 1 << 29  # bytes beyond what importing takes
PATIENCE = 5  # seconds for one input
OURS = ("/fedcxr/", "/sites/", "/server/")
TRACED = 8  # one input of so many is watched line by line, which is slow

Line = tuple[str, int]


class TooSlow(BaseException):
    """An input takes too long; no parser may catch this."""


@dataclass
class Outcome:
    """What a campaign against one parser found."""

    inputs: int = 0
    accepted: int = 0
    kept: int = 0
    failures: int = 0


def campaign(target: Target, corpus: Path, seconds: float, seed: int, most: int | None = None) -> Outcome:
    """Damage and parse until the time is over, or so many inputs are parsed."""
    folder, failures = corpus / target.name, corpus / "failures"
    folder.mkdir(parents=True, exist_ok=True)
    draws, reached, outcome = random.Random(seed), set[Line](), Outcome()  # noqa: S311  nothing secret is drawn
    inputs = [*target.examples(), *(path.read_bytes() for path in sorted(folder.iterdir()))]
    for known in inputs:
        with _lines(reached):
            _parse(target, known)
    end = time.monotonic() + seconds
    while time.monotonic() < end and (most is None or outcome.inputs < most):
        data, before = mutated(inputs, draws), len(reached)
        with _lines(reached) if outcome.inputs % TRACED == 0 else contextlib.nullcontext():
            accepted, failure = _parse(target, data)
        outcome.inputs += 1
        outcome.accepted += accepted
        if failure is not None:
            outcome.failures += 1
            _keep(failures, f"{target.name}-", data)
            print(f"{target.name}: {failure}", file=sys.stderr)
        elif len(reached) > before:
            outcome.kept += 1
            inputs.append(data)
            _keep(folder, "", data)
    return outcome


def _parse(target: Target, data: bytes) -> tuple[bool, str | None]:
    """Whether the parser accepted it, and what it should not have done."""
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        target.parse(data)
        return True, None
    except target.refusals:
        return False, None
    except TooSlow:
        return False, f"longer than {PATIENCE} s"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return False, f"{type(error).__name__}: {str(error)[:200]} ({Path(place.filename).name}:{place.lineno})"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _keep(folder: Path, prefix: str, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)


@contextlib.contextmanager
def _lines(reached: set[Line]) -> Iterator[None]:
    """Add every line of our own code that runs."""

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        if not any(part in file for part in OURS):
            return None
        reached.add((file, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow


def guarded() -> None:
    """Bound the memory and the time of this process's parsing."""
    signal.signal(signal.SIGALRM, _too_slow)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))


def main() -> int:
    """One process for each parser, so that none spoils another's memory; 1 if anything failed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("targets", nargs="*", metavar="PARSER", help=", ".join(TARGETS))
    options.add_argument("--minutes", type=float, default=10.0, help="in all, shared out among the parsers")
    options.add_argument("--corpus", type=Path, default=Path("fuzz"), help="where inputs are kept")
    options.add_argument("--seed", type=int, default=None, help="of the damage; another one each time by default")
    options.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    unknown = set(given.targets) - TARGETS.keys()
    if unknown:
        options.error(f"no such parser: {', '.join(sorted(unknown))}; allowed: {', '.join(TARGETS)}")
    names = given.targets or list(TARGETS)
    seed = random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed
    if given.alone:
        return _alone(TARGETS[names[0]], given.corpus, 60 * given.minutes, seed)
    failed = 0
    for name in names:
        command = [sys.executable, __file__, name, "--alone", "--seed", str(seed), "--corpus", str(given.corpus)]
        ended = subprocess.run([*command, "--minutes", str(given.minutes / len(names))], check=False).returncode
        if ended < 0:
            print(f"{name}: ended by {signal.Signals(-ended).name}", file=sys.stderr)
        failed += ended != 0
    return min(failed, 1)


def _alone(target: Target, corpus: Path, seconds: float, seed: int) -> int:
    target.examples()  # before memory is bounded, for some are made with torch
    guarded()
    outcome = campaign(target, corpus, seconds, seed)
    told = f"{outcome.inputs} inputs, {outcome.accepted} accepted, {outcome.kept} kept, {outcome.failures} failures"
    print(f"{target.name:10} {told}; seed {seed}")
    return min(outcome.failures, 1)


if __name__ == "__main__":
    sys.exit(main())
