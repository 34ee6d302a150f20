"""Processes that are worth nothing alone: the first that ends, ends them all, and so does whoever ends their parent."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fedcxr.errors import EngineBroken

GRACE_S = 10.0  # for a polite end
LOOK_EVERY = 0.2  # seconds
LAST_WORDS = 400  # characters of a process's log that an error shows


@dataclass(frozen=True)
class Part:
    """One of the processes, and where it writes what it has to say."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    orphaned: str = "KILL"  # the signal that ends it when its parent is gone; TERM where it must end children first
    # By words that it ends with, what they mean and what to do: the program is not ours, and says it otherwise.
    meanings: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def last_words(self) -> str:
        """The last line of its log that says something."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:LAST_WORDS] if lines else "nothing"

    def why_ended(self, code: int, began: int) -> EngineBroken:
        """What to tell people when it has ended, by what its log says from this byte on."""
        said = self.log.read_bytes()[began:].decode(errors="replace")
        for words, (meaning, do) in self.meanings.items():
            if words in said:
                return EngineBroken(f"{self.name} has ended: {meaning}", do=f"{do}; its log is {self.log}")
        told = f"exit code {code}; it said: {self.last_words()}"
        return EngineBroken(f"{self.name} has ended", given=told, do=f"read {self.log}")


class Together:
    """Parts that have been started, in their order."""

    def __init__(self) -> None:
        self._running: list[tuple[Part, subprocess.Popen[bytes], int]] = []  # and where in its log it began

    def start(self, part: Part) -> None:
        """Start one more; it is killed with this process, however that ends."""
        with part.log.open("ab") as log:
            began = log.tell()
            child = subprocess.Popen(
                [*_bound_to_us(part.orphaned), *part.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(part.environment),
                start_new_session=True,
            )
        self._running.append((part, child, began))

    def until(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until something is so; an error if a part ends first, or the time does."""
        deadline = time.monotonic() + seconds
        while not ready():
            self._look()
            if time.monotonic() > deadline:
                said = "; ".join(f"{part.name}: {part.last_words()}" for part, *_ in self._running)
                raise EngineBroken(f"{what} is not there within {seconds:g} s", given=said)
            time.sleep(LOOK_EVERY)

    def watch(self) -> None:
        """Look after all of them until one ends, which is an error, or a signal ends this process."""
        while True:
            self._look()
            time.sleep(LOOK_EVERY)

    def end(self) -> None:
        """End all of them, the last first: politely, and after a while for certain."""
        for how, wait in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
            for _, child, _ in reversed(self._running):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, how)  # its own children too, who may outlive it
            deadline = time.monotonic() + wait
            for _, child, _ in self._running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(max(deadline - time.monotonic(), 0.0))

    def _look(self) -> None:
        for part, child, began in self._running:
            if child.poll() is not None:
                raise part.why_ended(child.returncode, began)


@contextmanager
def together() -> Iterator[Together]:
    """A place for processes that end with the block, whichever way it is left."""
    parts = Together()
    try:
        yield parts
    finally:
        parts.end()


def _bound_to_us(orphaned: str) -> list[str]:
    """What has the kernel end a child whose parent is gone; Linux has it with every shell."""
    bound = shutil.which("setpriv") if sys.platform == "linux" else None
    return [bound, "--pdeathsig", orphaned] if bound else []
