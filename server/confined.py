"""A child inside a fence: forked, listened to, and ended with all that it has started.

Its first line is ours: that it is confined, and how, said before anything of a contribution is imported. Whatever it
says afterwards may be the contribution's word, so it is bounded, cleaned and believed in nothing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fedcxr.errors import one_line, place
from fedcxr.fence.process import die_with_parent
from server import family, left
from server.limits import Limits
from server.sandbox import confine
from server.watch import occupied, watch

LOOK_EVERY = 0.25  # seconds
LONGEST_LINE = 1 << 13  # bytes
MOST_SAID = 1 << 26  # bytes in all
LONGEST_REASON = 300  # characters
FENCED = "fenced"


@dataclass(frozen=True)
class Fence:
    """What a child may read, write and use; the interpreter, its libraries and our own code are always there."""

    readable: Sequence[Path]
    writable: Path
    limits: Limits
    weaker: bool = False  # also where no kernel fences it in


@dataclass(frozen=True)
class Ended:
    """How it went: `reason` is None where all went well."""

    fence: str
    seconds: float  # of processors, as the kernel counted them for the child and all that it had started
    reason: str | None


def run(job: Callable[[], None], fence: Fence, hear: Callable[[str], None], longest: int = LONGEST_LINE) -> Ended:
    """One child that does this job; `hear` is given each line that it says, but for the first."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _inside(job, fence, writing)
    os.close(writing)
    beyond: list[str | None] = [None]

    def look() -> None:
        beyond[0] = watch(child, fence.writable, fence.limits)

    ears, watching = _Ears(longest), threading.Thread(target=look)
    try:
        watching.start()
        used, code = _heard(child, reading, ears, hear, watching)
        used += family.end()  # before what it left is looked at: nobody writes there any more
        for line in ears.rest(reading):
            hear(line)
        reason = _complaint(fence, ears, code, beyond[0])
        left.prune(fence.writable)
        return Ended(ears.fence, used, reason)
    finally:
        family.end()
        watching.join()
        os.close(reading)


def say(event: str, **facts: object) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


# Inside ---------------------------------------------------------------------------------------------------------------


def _inside(job: Callable[[], None], fence: Fence, pipe: int) -> NoReturn:
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with_parent()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for ours, theirs in ((nothing, 0), (pipe, 1), (pipe, 2)):
            os.dup2(ours, theirs)
        say(FENCED, fence=confine(fence.readable, [fence.writable], fence.limits, weaker=fence.weaker))
        job()
        sys.stdout.flush()
        os._exit(0)
    # The last line of defence of a process: whatever happened must be told in one line.
    except BaseException as error:
        say("error", reason=f"{type(error).__name__}: {error} ({place(error)})"[:2000])
        os._exit(1)


# Outside --------------------------------------------------------------------------------------------------------------


class _Ears:
    """Lines of what is said, each short enough; after too many of them, deaf."""

    def __init__(self, longest: int) -> None:
        self._longest, self._rest, self._said, self._skipping = longest, b"", 0, False
        self.fence, self.last = "", ""  # the first line, and the last complaint

    @property
    def full(self) -> bool:
        return self._said > MOST_SAID

    def lines(self, heard: bytes) -> Iterator[str]:
        self._said += len(heard)
        if self.full:
            return
        *whole, self._rest = (self._rest + heard).split(b"\n")
        for line in whole:
            if not self._skipping and len(line) <= self._longest:
                yield from self._line(line.decode(errors="replace"))
            self._skipping = False
        if len(self._rest) > self._longest:
            self._rest, self._skipping = b"", True

    def rest(self, reading: int) -> Iterator[str]:
        """What is left in the pipe when nobody is there any more to write into it."""
        while heard := os.read(reading, 1 << 16):
            yield from self.lines(heard)
        if self._rest:
            yield from self.lines(b"\n")

    def _line(self, line: str) -> Iterator[str]:
        try:
            said = json.loads(line)
            if not self.fence and said["event"] == FENCED:
                self.fence = str(said["fence"])
                return
            if said["event"] == "error":
                self.last = str(said["reason"])
                return
        except (ValueError, TypeError, KeyError, RecursionError):
            self.last = line if line.strip() else self.last
        yield line


def _heard(
    child: int, reading: int, ears: _Ears, hear: Callable[[str], None], watching: threading.Thread
) -> tuple[float, int]:
    """Until it has ended, which its watch tells first: the seconds it used, and its exit code."""
    while watching.is_alive():
        if not select.select([reading], [], [], LOOK_EVERY)[0]:
            continue
        heard = os.read(reading, 1 << 16)
        if not heard:  # it says no more, which is not the end of it
            watching.join()
        for line in ears.lines(heard):
            hear(line)
        if ears.full:
            os.kill(child, signal.SIGKILL)
            watching.join()
    _, status, used = os.wait4(child, 0)
    return used.ru_utime + used.ru_stime, os.waitstatus_to_exitcode(status)


def _complaint(fence: Fence, ears: _Ears, code: int, beyond: str | None) -> str | None:
    """Why it cannot be counted, if so."""
    if ears.full:
        return f"it said more than {MOST_SAID >> 20} MiB"
    if beyond is None and occupied(fence.writable, fence.limits.disk) > fence.limits.disk:
        beyond = "disk"
    if beyond is not None:
        return f"it went beyond its limit of {beyond}, {getattr(fence.limits, beyond):g}"
    if code < 0:
        return f"it was ended by {_signal(-code)}"
    if code > 0 or not ears.fence:
        return one_line(ears.last, LONGEST_REASON) or f"exit code {code}"
    return None


def _signal(number: int) -> str:
    """Its name; most of those for programs' own use have none."""
    return next((known.name for known in signal.Signals if known == number), f"signal {number}")
