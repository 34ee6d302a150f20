"""A parent's eye on a fenced process: what no limit of the kernel counts is counted here, and too much of it ends it.

The kernel bounds private memory, each file, processor time and descriptors (`server.limits`), but not shared memory,
page tables, all files of a folder together or time on the clock. Linux's control groups would bound some of that, where
their folder is lent to this user, which is rare outside of services; a fenced process is a single one, so that looking
at it tells the same. On other systems than Linux only time and the folder are looked at.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from server.limits import Limits

EVERY = 0.2  # seconds between two looks
# ext4 makes one inode for so many bytes: whoever leaves no bytes but many files fills the disk as well.
SMALLEST = 16 * 1024
MEMORY_LINES = (
    b"RssAnon:",
    b"VmSwap:",
    b"VmPTE:",
    b"HugetlbPages:",
)  # of /proc/PID/status, in kB; page tables can outgrow what they map
# Shared memory without a file, as /proc/PID/maps names it. Its whole size counts: what was written to it stays when it
# is no longer looked at, and shows in no other number.
SHARED = (b"/dev/zero (deleted)", b"/memfd:", b"/SYSV", b"/anon_hugepage (deleted)")


def watch(process: int, folder: Path, limits: Limits, every: float = EVERY) -> str | None:
    """Until it ends; or kill it with all its children where it goes beyond a limit, and return that limit's name.

    However this function ends, the process has ended or is killed. It stays its parent's to wait for.
    """
    folder = folder.resolve()
    deadline = time.monotonic() + limits.seconds
    with suppress(ProcessLookupError), _Sight(process) as sight:  # or it had ended before
        while not sight.ended(min(every, max(deadline - time.monotonic(), 0.0))):
            if time.monotonic() >= deadline:
                return "seconds"
            with suppress(ProcessLookupError, FileNotFoundError):  # it has just ended
                if (beyond := _beyond(process, folder, limits)) is not None:
                    return beyond
    return None


def tree(process: int) -> Iterator[int]:
    """The process and all its children, and theirs."""
    yield process
    for task in _listed(f"/proc/{process}/task"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in Path(task.path, "children").read_text().split():
                yield from tree(int(child))


class _Sight:
    """Of a process until it ends, and not of another that gets its number later; out of sight, it is killed."""

    def __init__(self, process: int) -> None:
        self._process = process

    def __enter__(self) -> _Sight:
        self._descriptor = os.pidfd_open(self._process) if sys.platform == "linux" else -1
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            if not self.ended(0.0):
                children = list(tree(self._process))[1:]
                if self._descriptor >= 0:
                    signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
                else:
                    os.kill(self._process, signal.SIGKILL)
                for child in children:
                    with suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
        finally:
            if self._descriptor >= 0:
                os.close(self._descriptor)

    def ended(self, within: float) -> bool:
        if self._descriptor >= 0:
            waiting = select.poll()
            waiting.register(self._descriptor, select.POLLIN)
            return bool(waiting.poll(within * 1000))
        time.sleep(within)
        try:
            return psutil.Process(self._process).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


def _beyond(process: int, folder: Path, limits: Limits) -> str | None:
    """The first limit that it does not keep."""
    family = list(tree(process)) if sys.platform == "linux" else []
    if sum(len(_listed(f"/proc/{one}/task")) for one in family) > limits.processes:
        return "processes"
    if sum(memory(one) for one in family) > limits.memory:
        return "memory"
    hidden = sum(_deleted(one, folder, limits) for one in family)
    return "disk" if occupied(folder, limits.disk - hidden) > limits.disk - hidden else None


def memory(process: int) -> int:
    """Bytes that it takes from others: private, swapped, shared without a file, and the tables that say where."""
    # Bytes, and lines by line feeds alone: the process chose its name, which is in there.
    status = Path(f"/proc/{process}/status").read_bytes()
    counted = sum(int(line.split()[1]) for line in status.split(b"\n") if line.startswith(MEMORY_LINES)) * 1024
    counted += sum(size for _, size, name in _deleted_maps(process) if name.startswith(SHARED))
    return counted


def occupied(folder: Path, enough: int = sys.maxsize) -> int:
    """Bytes on disk of all that lies below a folder; stops counting when it is more than enough.

    What cannot be looked into counts as too much: a folder that only its maker may enter, or one that is deeper than
    any path can say.
    """
    counted, folders = 0, [folder]
    while folders and counted <= enough:
        try:
            for entry in _listed(folders.pop()):
                with suppress(FileNotFoundError):
                    about = entry.stat(follow_symlinks=False)
                    counted += max(about.st_blocks * 512, SMALLEST)
                    if stat.S_ISDIR(about.st_mode):
                        folders.append(Path(entry.path))
        except OSError:
            return sys.maxsize
    return counted


def _deleted(process: int, folder: Path, limits: Limits) -> int:
    """Bytes of files that it still holds and that no folder shows any more."""
    found: dict[tuple[int, int], int] = {}
    for descriptor in _listed(f"/proc/{process}/fd"):
        with suppress(FileNotFoundError):
            about = Path(descriptor.path).stat()
            if stat.S_ISREG(about.st_mode) and about.st_nlink == 0:
                found[about.st_dev, about.st_ino] = about.st_blocks * 512
    for file, _, name in _deleted_maps(process):
        if name.startswith(os.fsencode(folder) + b"/"):
            found.setdefault(file, limits.disk + 1)  # nobody can tell how large it is: a file that hides is too large
    return sum(found.values())


def _deleted_maps(process: int) -> Iterator[tuple[tuple[int, int], int, bytes]]:
    """For each piece of memory whose file has no name any more: device and inode, size, last name.

    Lines end with line feeds alone: a process chooses its files' names.
    """
    for line in Path(f"/proc/{process}/maps").read_bytes().split(b"\n"):
        if line.endswith(b" (deleted)"):
            addresses, _, _, device, inode, name = line.split(maxsplit=5)
            start, end = (int(address, 16) for address in addresses.split(b"-"))
            major, minor = (int(part, 16) for part in device.split(b":"))
            yield (os.makedev(major, minor), int(inode)), end - start, name


def _listed(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):  # gone, or another by now
        return []
