"""What a hospital may let its coordinator keep of how an answer came about: steps by name, and how long each took.

No message, no path, no name and no count can be said in it: a step is one of a few words, and its time has two digits.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from enum import StrEnum

from fedcxr.errors import Refused

LONGEST = 400  # characters
MOST = 16  # steps of one answer
SECONDS = re.compile(r"0|[1-9][0-9]{0,6}", re.ASCII)


class Step(StrEnum):
    """What a hospital is at, in this order. The last one of a log is where it ended, well or not."""

    KEYS = "keys"  # its vault is unlocked
    SCENARIO = "scenario"  # what is asked is held against its profile
    FILMS = "films"  # its films are opened
    WORK = "work"  # what was asked for: a release, an update, a test
    LIMITS = "limits"  # what may leave is held against the originals
    SIGN = "sign"  # it is packed, entered and signed


Log = tuple[tuple[Step, int], ...]  # seconds of each step


class Steps:
    """Notes what is begun, and so what is over."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: list[tuple[Step, float]] = []

    def begin(self, step: Step) -> None:
        self._begun.append((step, self._clock()))

    @property
    def text(self) -> str:
        """As it travels: `keys 1, scenario 0, films 3`."""
        ends = [*(since for _, since in self._begun[1:]), self._clock()]
        taken = zip(self._begun, ends, strict=False)
        return _text(tuple((step, coarse(end - since)) for (step, since), end in taken)[:MOST])


def coarse(seconds: float) -> int:
    """Two digits of a time, and no parts of a second.

    By the exact time whoever asks often enough could tell which films took longer. It can take the time of its own
    messages, but then with everything else that this machine and the way to it were busy with.
    """
    return int(float(f"{round(seconds):.1e}"))


def parse(text: str) -> Log:
    """The log in a text that somebody sent: exactly as a hospital's own code writes it, or refused."""
    said = text.split(", ") if text and len(text) <= LONGEST else []
    log = tuple(_step(one) for one in said[: MOST + 1])
    if len(log) > MOST or _text(log) != text:
        raise _damaged(text)
    return log


def is_log(text: str) -> bool:
    """Whether this is one."""
    try:
        parse(text)
    except Refused:
        return False
    return True


def _step(said: str) -> tuple[Step, int]:
    name, _, seconds = said.partition(" ")
    if name not in list(Step) or not SECONDS.fullmatch(seconds) or coarse(int(seconds)) != int(seconds):
        raise _damaged(said)
    return Step(name), int(seconds)


def _text(log: Log) -> str:
    return ", ".join(f"{step} {seconds}" for step, seconds in log)


def _damaged(given: str) -> Refused:
    allowed = f"{MOST} times at most one of {', '.join(Step)} and whole seconds of two digits"
    return Refused("this is no log of a hospital's", given=repr(given[:80]), allowed=allowed)
