"""What a process gives up for good before it is fenced in: open files, privileges, and what a crash would keep."""

from __future__ import annotations

import os
import platform
import resource
import signal
import struct
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from fedcxr.fence import kernel

PARENT_DEATH_SIGNAL, NO_NEW_PRIVILEGES, DROP_BOUNDING, AMBIENT, CLEAR_ALL = 1, 38, 24, 47, 4  # prctl options
CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITY_VERSION_3, CAPABILITIES = 0x20080522, 64


def die_with_parent(how: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to send this process a signal when its parent is gone, however the parent ended."""
    if sys.platform == "linux":
        parent = os.getppid()
        kernel.prctl(PARENT_DEATH_SIGNAL, how)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)


def alone() -> None:
    """Refuse where other threads run: they would stay outside of what is set for one thread only."""
    count = len(list(Path("/proc/self/task").iterdir())) if sys.platform == "linux" else threading.active_count()
    if count != 1:
        raise RuntimeError(f"a fence is put around a process of one thread, before others are started: {count} run")


def close_inherited(kept: Collection[int] = ()) -> None:
    """All descriptors but stdin, stdout, stderr and these, also those above a limit that was lowered since."""
    if sys.platform != "linux":
        for descriptor in set(range(3, os.sysconf("SC_OPEN_MAX"))) - set(kept):
            with suppress(OSError):
                os.close(descriptor)
        return
    for entry in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(entry.name)
        if descriptor > 2 and descriptor not in kept:
            with suppress(OSError):  # the one that listed them
                os.close(descriptor)


def give_up_privileges() -> None:
    """Root is a user like others from here on, and nobody becomes it by a program that lends its rights."""
    if sys.platform != "linux":
        return
    kernel.checked(kernel.prctl(NO_NEW_PRIVILEGES, 1))
    kernel.prctl(AMBIENT, CLEAR_ALL)
    for capability in range(CAPABILITIES):
        kernel.prctl(DROP_BOUNDING, capability)  # refused to whoever has none to drop
    number = CAPSET.get(platform.machine())
    if number is not None:
        header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
        kernel.checked(kernel.call(number, header, bytes(24)))


def leave_no_core() -> None:
    """Of a crash nothing is kept, which may hold films.

    0 would still hand its memory to a program that collects crashes, and 1 does not (core(5), and the kernel's
    fs/coredump.c).
    """
    lower(resource.RLIMIT_CORE, 1)


def lower(kind: int, value: int) -> None:
    """A limit, for good; one that stood lower stays."""
    _, most = resource.getrlimit(kind)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(kind, (value, value))
