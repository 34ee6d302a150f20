"""What a process may use of the machine: what its kernel enforces, whoever watches."""

from __future__ import annotations

import math
import os
import resource
import sys
from dataclasses import dataclass

DESCRIPTORS = 1024


@dataclass(frozen=True)
class Limits:
    """For one process; `server.watch` looks after what the kernel does not count."""

    memory: int  # bytes of its own: what it wrote to memory, not the libraries that it shares with others
    processes: int  # itself and its threads, as Linux counts them; other processes it cannot start at all
    disk: int  # bytes, of all that it leaves and of each file
    seconds: float  # on the clock

    def enforce(self, *, counted_alone: bool) -> None:
        """Ask the kernel to refuse what goes beyond; a limit that stood lower stays.

        RLIMIT_DATA and not RLIMIT_AS: it counts private memory that can be written, while drivers of graphics cards
        reserve hundreds of gigabytes of addresses without touching them. RLIMIT_NPROC counts all threads of a user, so
        it is set only where this process is alone in a user namespace (`counted_alone`). Nobody can use more seconds
        of processors than there are processors: that limit holds where nobody watches, and never comes first.
        """
        # Of a crash nothing is kept, which may hold films: 0 would still hand its memory to a program that collects
        # crashes, and 1 does not (core(5), and the kernel's fs/coredump.c).
        _lower(resource.RLIMIT_CORE, 1)
        _lower(resource.RLIMIT_FSIZE, self.disk)
        _lower(resource.RLIMIT_NOFILE, DESCRIPTORS)
        _lower(resource.RLIMIT_CPU, math.ceil(self.seconds * (os.cpu_count() or 1)) + 1)
        if sys.platform == "linux":  # elsewhere it does not count what is mapped
            _lower(resource.RLIMIT_DATA, self.memory)
        if counted_alone:
            _lower(resource.RLIMIT_NPROC, self.processes)


def _lower(kind: int, value: int) -> None:
    _, most = resource.getrlimit(kind)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(kind, (value, value))
