"""How long a run takes, and how much memory this process and all its descendants use at most."""

from __future__ import annotations

import threading
import time

import psutil

INTERVAL = 1.0  # seconds


class Meter:
    """A clock, and from `with` on the sum of the tree's proportional set sizes.

    Proportional: a page that n processes share counts 1/n in each.
    """

    def __init__(self) -> None:
        self._peak = 0
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._began

    def peak_mb(self) -> float:
        """The largest sum seen so far, in MiB."""
        self._peak = max(self._peak, self._now())
        return round(self._peak / 2**20, 1)

    def _watch(self) -> None:
        while not self._over.wait(INTERVAL):
            self._peak = max(self._peak, self._now())

    def _now(self) -> int:
        me = psutil.Process()
        return sum(_size(process) for process in (me, *me.children(recursive=True)))


def _size(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.uss))
    except (psutil.Error, OSError):  # gone meanwhile, or not ours to look at
        return 0
