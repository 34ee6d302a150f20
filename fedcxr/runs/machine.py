"""What runs at once share of this machine: cores are dealt out, so are GPUs, and memory is waited for."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

Cores = frozenset[int]

GPUS = Path("/proc/driver/nvidia/gpus")  # one entry for each
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container: bytes, or `max`
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Share:
    """What one run may use."""

    cores: Cores  # empty: all
    gpu: str | None = None  # None: all that there are

    @property
    def environment(self) -> Mapping[str, str]:
        """Of the run's command."""
        return dict(os.environ) if self.gpu is None else {**os.environ, VISIBLE: self.gpu}


class Machine:
    """Lends each run its share, and each part to no more runs than it bears."""

    def __init__(self, jobs: int) -> None:
        self._cores = shared_out(jobs)
        self._gpus = dict.fromkeys(gpus(), 0)  # how many runs are on each
        self._memory = free_memory()
        self._taken: list[float] = []  # bytes that the runs at work take, 0 where nobody knows
        self._changed = threading.Condition()
        self.jobs = len(self._cores)  # runs at once: there may be too few cores for more

    @contextlib.contextmanager
    def share(self, memory: float, on_gpu: bool, waits: Callable[[], None]) -> Iterator[Share]:
        """For as long as a run takes. `memory`: bytes that runs of its kind took, 0 if none is on file.

        Runs that took more together than is free do not begin at once. One alone begins whatever it took, and so does
        one of which nobody knows. `waits` hears of it where memory is what is lacking.
        """
        if self.jobs == 1:
            yield Share(frozenset())
            return
        with self._changed:
            if self._cores and not self._fits(memory):
                waits()
            self._changed.wait_for(lambda: self._cores and self._fits(memory))
            cores = self._cores.pop(0)
            gpu = min(self._gpus, key=self._gpus.__getitem__) if on_gpu and self._gpus else None
            if gpu is not None:
                self._gpus[gpu] += 1
            self._taken.append(memory)
        try:
            yield Share(cores, gpu)
        finally:
            with self._changed:
                self._cores.append(cores)
                if gpu is not None:
                    self._gpus[gpu] -= 1
                self._taken.remove(memory)
                self._changed.notify_all()

    def _fits(self, memory: float) -> bool:
        return not memory or not self._taken or sum(self._taken) + memory <= self._memory


def shared_out(jobs: int) -> list[Cores]:
    """The cores that this process may use, in as many shares as runs go on at once: no more than there are cores."""
    if not hasattr(os, "sched_getaffinity"):
        return [frozenset()] * jobs
    cores = sorted(os.sched_getaffinity(0))
    jobs = min(jobs, len(cores))
    return [frozenset(cores[place::jobs]) for place in range(jobs)]


def gpus() -> list[str]:
    """As `CUDA_VISIBLE_DEVICES` names them, and without importing torch."""
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return [device.strip() for device in visible.split(",") if device.strip()]
    return [str(number) for number in range(len(list(GPUS.glob("*"))))]


def free_memory() -> int:
    """Bytes that others leave, or that a container may have."""
    free = int(psutil.virtual_memory().available)
    try:
        return min(free, int(LIMIT.read_text()))
    except (OSError, ValueError):
        return free
