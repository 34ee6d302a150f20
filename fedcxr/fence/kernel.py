"""Linux, asked by number for what Python has no name for."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int | bytes | None) -> int:
    """A system call; below 0 when it was refused."""
    return int(_libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))


def prctl(option: int, *arguments: int | bytes) -> int:
    """Set or ask something about this process; below 0 when it was refused."""
    given = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    return int(_libc.prctl(option, *given, *([ctypes.c_ulong(0)] * (4 - len(given)))))


def unshare(flags: int) -> bool:
    """Leave a namespace for a new one; false where this user may not."""
    return int(_libc.unshare(flags)) == 0


def mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> int:
    """Mount a file system, or change how one is mounted; below 0 when it was refused."""
    return int(_libc.mount(source, target, kind, ctypes.c_ulong(flags), None))


def umount(target: bytes, flags: int) -> int:
    """Take a file system away; below 0 when it was refused."""
    return int(_libc.umount2(target, flags))


def checked(returned: int) -> int:
    """The same number, or the error it stands for."""
    if returned < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"the fence was refused: {os.strerror(code)}")
    return returned
