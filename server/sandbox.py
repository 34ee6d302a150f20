"""A fence around a process: after `confine`, it reads and writes the given folders, computes, and does nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from fedcxr.errors import FenceMissing
from fedcxr.fence import kernel, landlock, process, seccomp
from fedcxr.fence.places import cards, system
from fedcxr.fence.strength import NEEDED, strength
from server import audit_hook, tree
from server.limits import Limits

OURS = ("fedcxr", "server")  # packages
NEW_IPC, NEW_USER, NEW_NETWORK = 0x08000000, 0x10000000, 0x40000000  # unshare flags


def confine(readable: Iterable[Path], writable: Iterable[Path], limits: Limits, *, weaker: bool = False) -> str:
    """Fence this process in for good, and say with what. Call it before anything foreign is imported.

    Files are Landlock's (from its interface 3), everything else is the filter of `fedcxr.fence.seccomp`, amounts are
    `Limits`; besides, this process leaves the network, the shared memory and the file tree of others, keeps no
    descriptor but stdin, stdout and stderr, and no capability, not even root's.
    Where the kernel has no such Landlock or filter: FenceMissing, unless a `weaker` fence is asked for, which then
    says so.
    """
    process.alone()
    interface, filtered = landlock.version(), seccomp.supported()
    said, whole = strength()
    if not whole and not weaker:
        raise FenceMissing(
            "this machine cannot fence an adversary in",
            given=said,
            allowed=NEEDED,
            do="use such a machine, or ask for a weaker fence, which a hostile adversary can leave",
        )
    process.close_inherited()
    own_user = _leave_others()
    given = [*readable, *writable]
    readable, writable, devices = [*system(OURS), *readable], [Path("/dev/null"), *writable], cards()
    hidden = tree.leave([Path("/proc"), *readable, *writable, *devices])
    readable, writable = _resolved(readable), _resolved(writable)
    limits.enforce(counted_alone=own_user)
    process.give_up_privileges()
    _reachable(given)
    if interface >= 1:
        landlock.restrict(readable, writable, devices)
    else:
        audit_hook.guard(readable, [*writable, *devices])
    if filtered:
        seccomp.restrict()
    kinds = (
        f"landlock v{interface}" if interface >= 1 else "audit hook",
        "seccomp" if filtered else "no filter of system calls",
        *([] if hidden else ["names, sizes and times of other files not hidden"]),
    )
    return ("" if whole else "weaker: ") + ", ".join(kinds)


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


def _reachable(given: Sequence[Path]) -> None:
    """Without capabilities root cannot enter what others keep to themselves: said here and not by an import."""
    for path in given:
        if os.path.lexists(path) and not os.access(path, os.R_OK):
            raise FenceMissing(
                "inside its fence an adversary could not read what it is given",
                given=path,
                do="run the command as the owner of this folder",
            )
