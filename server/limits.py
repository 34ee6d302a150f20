"""What a process may use of the machine: what its kernel enforces, whoever watches."""

from __future__ import annotations

import math
import os
import resource
import sys
from dataclasses import dataclass

from fedcxr.fence.process import leave_no_core, lower

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
        leave_no_core()
        lower(resource.RLIMIT_FSIZE, self.disk)
        lower(resource.RLIMIT_NOFILE, DESCRIPTORS)
        lower(resource.RLIMIT_CPU, math.ceil(self.seconds * (os.cpu_count() or 1)) + 1)
        if sys.platform == "linux":  # elsewhere it does not count what is mapped
            lower(resource.RLIMIT_DATA, self.memory)
        if counted_alone:
            lower(resource.RLIMIT_NPROC, self.processes)
