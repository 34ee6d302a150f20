"""Where no kernel keeps the fence, Python's own file access at least: a guard against mistakes, not against malice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Python's audit events, and how many of their first arguments are paths.
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
READING_EVENTS = frozenset({"os.listdir", "os.scandir", "os.chdir"})
WRITING_EVENTS = {
    "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "os.utime": 1,
    "os.setxattr": 1, "os.removexattr": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2,
}  # fmt: skip
FORBIDDEN_EVENTS = frozenset({
    "socket.connect", "socket.bind", "socket.sendto", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.system",
    "os.fork", "os.forkpty",
})  # fmt: skip


def guard(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Refuse other paths, connections and programs from here on."""
    reading = tuple(map(str, [*readable, *writable]))
    writing = tuple(map(str, writable))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            _inside(arguments[0], writing if arguments[2] & WRITING else reading)
        elif event in READING_EVENTS:
            _inside(arguments[0], reading)
        elif event in WRITING_EVENTS:
            for path in arguments[: WRITING_EVENTS[event]]:
                _inside(path, writing)
        elif event in FORBIDDEN_EVENTS:
            raise PermissionError(f"not inside the fence: {event}")

    sys.addaudithook(hook)


def _inside(given: object, roots: tuple[str, ...]) -> None:
    if not isinstance(given, str | bytes | os.PathLike | None):  # a file that is open already
        return
    path = os.path.realpath(os.fsdecode(given or "."))
    if not any(path == root or path.startswith(root + os.sep) for root in roots):
        raise PermissionError(f"outside the fence: {path}")
