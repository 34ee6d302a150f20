"""A fence around a process: after `confine`, it reads and writes the given folders and nothing else of the user's."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# From the kernel's uapi header linux/landlock.h; each later interface version added the rights after the bar.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
RIGHTS_OF_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15  # a rule on a file may not name folder rights
NETWORK_FROM, ALL_TCP = 4, 3
SCOPES_FROM, ALL_SCOPES = 6, 3  # abstract sockets and signals stay inside the fence
NO_NEW_PRIVILEGES, PARENT_DEATH_SIGNAL = 38, 1  # prctl options
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # unshare flags

# Python's audit events, and how many of their first arguments are paths.
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
READING_EVENTS = frozenset({"os.listdir", "os.scandir", "os.chdir"})
WRITING_EVENTS = {
    "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "os.utime": 1,
    "os.rename": 2, "os.link": 2, "os.symlink": 2,
}  # fmt: skip
FORBIDDEN_EVENTS = frozenset(
    {"socket.connect", "socket.bind", "socket.sendto", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"}
)
PROCESS = re.compile(r"/proc/(\d+)(?=/|$)")

# Itself and the machine, and no other process: Linux lets root read the environment of any process in /proc,
# past Landlock (mm_access() asks perfmon_capable() first).
PROC = ("self", "cpuinfo", "meminfo", "stat", "version", "devices", "modules", "filesystems", "driver", "sys")

_libc = ctypes.CDLL(None, use_errno=True)


def confine(readable: Iterable[Path], writable: Iterable[Path]) -> str:
    """Fence this process in for good, and its children; returns the kind of fence.

    Linux's Landlock is enforced by the kernel, against native code too, and takes TCP away with it. Where it is
    missing, an audit hook stops Python's own file access, which is a guard against mistakes and not against malice.
    """
    readable = [path.resolve() for path in readable]
    writable = [path.resolve() for path in writable]
    network = "no network" if _leave_network() else "network not fenced"
    version = _libc.syscall(CREATE_RULESET, None, 0, 1)
    if version < 1:
        _audit([*_system(), *readable], [*_devices(), *writable])
        return f"audit hook, {network}"
    _landlock(version, readable, writable)
    return f"landlock v{version}, {network}"


def _leave_network() -> bool:
    """Move to a network namespace of our own, which has no way out; a user may need a user namespace for that."""
    return sys.platform == "linux" and any(_libc.unshare(flags) == 0 for flags in (NEW_NETWORK, NEW_NETWORK | NEW_USER))


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent is gone, however the parent ended."""
    if sys.platform == "linux":
        parent = os.getppid()
        _libc.prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)


def _landlock(version: int, readable: list[Path], writable: list[Path]) -> None:
    handled = RIGHTS_OF_VERSION[max(v for v in RIGHTS_OF_VERSION if v <= version)]
    network = ALL_TCP if version >= NETWORK_FROM else 0
    scoped = ALL_SCOPES if version >= SCOPES_FROM else 0
    attributes = struct.pack("QQQ", handled, network, scoped)
    size = 8 if version < NETWORK_FROM else 16 if version < SCOPES_FROM else 24
    ruleset = _checked(_libc.syscall(CREATE_RULESET, attributes, size, 0))
    reading = READ_FILE | READ_DIR | EXECUTE
    for path in [*_system(), *readable]:
        _allow(ruleset, path, reading & handled)
    for path in [*_devices(), *writable]:
        _allow(ruleset, path, handled)
    if Path("/proc/self").exists():
        os.open("/proc/self", os.O_PATH | os.O_CLOEXEC)  # never closed: its rule would be lost with its inode
    _checked(_libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _checked(_libc.syscall(RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    if not path.exists():
        return
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = rights if path.is_dir() else rights & FILE_RIGHTS
        _checked(_libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", allowed, folder), 0))
    finally:
        os.close(folder)


def _checked(returned: int) -> int:
    if returned < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"the fence was refused: {os.strerror(code)}")
    return returned


def _system() -> list[Path]:
    """What any Python program reads: the interpreter, its libraries, our own code; no home and no /etc secrets."""
    packages = Path(__file__).resolve().parents[1]
    interpreter = {Path(p).resolve() for p in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    # `pip install --user` and .pth files put libraries elsewhere.
    interpreter |= {Path(p).resolve() for p in sys.path if Path(p).name in ("site-packages", "dist-packages")}
    system = ["/usr", "/lib", "/lib64", "/bin", "/opt", "/sys", "/etc/ld.so.cache", "/etc/localtime"]
    facts = [Path("/proc") / name for name in PROC]
    return [*sorted(interpreter), packages / "fedcxr", packages / "server", *map(Path, system), *facts]


def _devices() -> list[Path]:
    """Devices that hold nothing of the user's. Not all of /dev: disks and shared memory hold everything."""
    named = [Path("/dev") / name for name in ("null", "zero", "full", "random", "urandom", "kfd", "dri")]
    return [*named, *Path("/dev").glob("nvidia*")]


def _audit(readable: list[Path], writable: list[Path]) -> None:
    reading = tuple(map(str, [*readable, *writable]))
    writing = tuple(map(str, writable))

    def guard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            _inside(arguments[0], writing if arguments[2] & WRITING else reading)
        elif event in READING_EVENTS:
            _inside(arguments[0], reading)
        elif event in WRITING_EVENTS:
            for path in arguments[: WRITING_EVENTS[event]]:
                _inside(path, writing)
        elif event in FORBIDDEN_EVENTS:
            raise PermissionError(f"not inside the fence: {event}")

    sys.addaudithook(guard)


def _inside(given: object, roots: tuple[str, ...]) -> None:
    if not isinstance(given, str | bytes | os.PathLike | None):  # a file that is open already
        return
    path = os.path.realpath(os.fsdecode(given or "."))
    process = PROCESS.match(path)
    if process and int(process[1]) == os.getpid():
        path = "/proc/self" + path[process.end() :]
    if not any(path == root or path.startswith(root + os.sep) for root in roots):
        raise PermissionError(f"outside the fence: {path}")
