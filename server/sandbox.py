"""A fence around a process: after `confine`, it reads and writes the given folders, computes, and does nothing else."""

from __future__ import annotations

import os
import platform
import signal
import struct
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from fedcxr.errors import FenceMissing
from server import audit_hook, kernel, landlock, seccomp, tree
from server.limits import Limits

PARENT_DEATH_SIGNAL, NO_NEW_PRIVILEGES, DROP_BOUNDING, AMBIENT, CLEAR_ALL = 1, 38, 24, 47, 4  # prctl options
NEW_IPC, NEW_USER, NEW_NETWORK = 0x08000000, 0x10000000, 0x40000000  # unshare flags
CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITY_VERSION_3, CAPABILITIES = 0x20080522, 64

# Itself and the machine, and no other process.
PROC = ("self", "cpuinfo", "meminfo", "stat", "version", "devices", "modules", "filesystems", "driver", "sys")
# Processors and cards; not /sys/kernel, where the whole machine can be traced, nor what is said there of others.
SYS = ("devices", "bus", "class", "module")
# Programs' own files, and not all of /usr: images of containers keep whole applications with their data in /usr/src.
PROGRAMS = ("bin", "lib", "lib32", "lib64", "libexec", "share")
PROCESSORS = ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")  # how many: joblib insists


def confine(readable: Iterable[Path], writable: Iterable[Path], limits: Limits, *, weaker: bool = False) -> str:
    """Fence this process in for good, and say with what. Call it before anything foreign is imported.

    Files are Landlock's (from its interface 3), everything else is the filter of `server.seccomp`, amounts are
    `Limits`; besides, this process leaves the network, the shared memory and the file tree of others, keeps no
    descriptor but stdin, stdout and stderr, and no capability, not even root's.
    Where the kernel has no such Landlock or filter: FenceMissing, unless a `weaker` fence is asked for, which then
    says so.
    """
    _alone()
    interface, filtered = landlock.version(), seccomp.supported()
    whole = interface >= landlock.WHOLE and filtered
    if not whole and not weaker:
        raise FenceMissing(
            "this machine cannot fence an adversary in",
            given=f"Landlock interface {max(interface, 0)}, {'a' if filtered else 'no'} filter of system calls",
            allowed=f"Linux with Landlock interface {landlock.WHOLE} (6.2) and seccomp, on x86-64 or aarch64",
            do="use such a machine, or ask for a weaker fence, which a hostile adversary can leave",
        )
    _close_inherited()
    own_user = _leave_others()
    given = [*readable, *writable]
    readable, writable, cards = [*system(), *readable], [Path("/dev/null"), *writable], _cards()
    hidden = tree.leave([Path("/proc"), *readable, *writable, *cards])
    readable, writable = _resolved(readable), _resolved(writable)
    limits.enforce(counted_alone=own_user)
    _give_up_privileges()
    _reachable(given)
    if interface >= 1:
        landlock.restrict(readable, writable, cards)
    else:
        audit_hook.guard(readable, [*writable, *cards])
    if filtered:
        seccomp.restrict()
    kinds = (
        f"landlock v{interface}" if interface >= 1 else "audit hook",
        "seccomp" if filtered else "no filter of system calls",
        *([] if hidden else ["names, sizes and times of other files not hidden"]),
    )
    return ("" if whole else "weaker: ") + ", ".join(kinds)


def die_with_parent(how: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to send this process a signal when its parent is gone, however the parent ended."""
    if sys.platform == "linux":
        parent = os.getppid()
        kernel.prctl(PARENT_DEATH_SIGNAL, how)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)


def _alone() -> None:
    """Refuse where other threads run: they would stay outside of what is set for one thread only."""
    count = len(list(Path("/proc/self/task").iterdir())) if sys.platform == "linux" else threading.active_count()
    if count != 1:
        raise RuntimeError(f"a fence is put around a process of one thread, before others are started: {count} run")


def _close_inherited() -> None:
    """All descriptors but stdin, stdout and stderr, also those above a limit that was lowered since."""
    if sys.platform != "linux":
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        return
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        if int(descriptor.name) > 2:
            with suppress(OSError):  # the one that listed them
                os.close(int(descriptor.name))


def _resolved(paths: Iterable[Path]) -> list[Path]:
    return [path.resolve() for path in paths]


def _leave_others() -> bool:
    """Move to a network and to shared memory of our own; true if that took a user namespace, as it does without root.

    The filter refuses sockets and shared memory as well, so nothing rests on a kernel that grants this.
    """
    kinds = NEW_NETWORK | NEW_IPC
    user, group = os.geteuid(), os.getegid()
    if sys.platform != "linux" or kernel.unshare(kinds) or not kernel.unshare(kinds | NEW_USER):
        return False
    with suppress(OSError):  # the same user as before, who could make no file as nobody
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def _give_up_privileges() -> None:
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


def _reachable(given: Sequence[Path]) -> None:
    """Without capabilities root cannot enter what others keep to themselves: said here and not by an import."""
    for path in given:
        if os.path.lexists(path) and not os.access(path, os.R_OK):
            raise FenceMissing(
                "inside its fence an adversary could not read what it is given",
                given=path,
                do="run the command as the owner of this folder",
            )


def system() -> list[Path]:
    """What any Python program reads: the interpreter, its libraries, our own code; no home and no /etc secrets."""
    packages = Path(__file__).resolve().parents[1]
    # Not the whole prefix: it may be a folder that holds other things.
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    interpreter = {prefix / part for prefix in prefixes for part in ("bin", "lib", "lib64", "pyvenv.cfg")}
    # `pip install --user` and .pth files put libraries elsewhere.
    interpreter |= {Path(p) for p in sys.path if Path(p).name in ("site-packages", "dist-packages")}
    system = [
        "/lib",
        "/lib64",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/dev/zero",
        "/dev/random",
        "/dev/urandom",
    ]
    programs = [place / part for place in (Path("/usr"), Path("/usr/local")) for part in PROGRAMS]
    places = (Path("/opt"), Path("/usr/local"))
    cards = [found for place in places for made in ("rocm*", "nvidia*", "cuda*") for found in place.glob(made)]
    facts = [Path("/proc") / name for name in PROC] + [Path("/sys") / name for name in SYS]
    facts += [Path("/sys/fs/cgroup") / name for name in PROCESSORS]
    ours = [packages / "fedcxr", packages / "server"]
    return [*sorted({*interpreter, *ours, *map(Path, system), *programs, *cards}), *facts]


def _cards() -> list[Path]:
    """Graphics cards, which hold nothing of the user's. Not all of /dev: disks and shared memory hold everything."""
    return [Path("/dev/kfd"), *Path("/dev/dri").glob("renderD*"), *Path("/dev").glob("nvidia*")]
