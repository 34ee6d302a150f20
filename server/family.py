"""Whoever a process has started, however they hid: none of them outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import defaultdict
from pathlib import Path
from types import FrameType

from fedcxr.fence import kernel
from fedcxr.fence.process import die_with_parent

CHILD_SUBREAPER = 36  # an option of prctl


def lead() -> None:
    """Become who inherits every orphan below, and end politely with our own parent: there is a family to see to."""
    signal.signal(signal.SIGTERM, _leave)
    if sys.platform == "linux":
        kernel.prctl(CHILD_SUBREAPER, 1)
    die_with_parent(signal.SIGTERM)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def end() -> float:
    """End everybody below us; returns the seconds of processors that those have used who were not waited for.

    Again and again: whoever is killed may have started another just before, who is an orphan then, and ours.
    """
    before, seconds = signal.signal(signal.SIGTERM, signal.SIG_IGN), 0.0
    try:
        while True:
            for process in _below(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            try:
                _, _, used = os.wait4(-1, 0)
            except ChildProcessError:
                return seconds
            seconds += used.ru_utime + used.ru_stime
    finally:
        signal.signal(signal.SIGTERM, before)


def _below(ancestor: int) -> list[int]:
    children = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in brackets is the process's own to choose: what follows it begins after the last bracket.
            parent = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            children[parent].append(int(folder.name))
    found, waiting = list[int](), [ancestor]
    while waiting:
        found += (below := children.pop(waiting.pop(), []))
        waiting += below
    return found
