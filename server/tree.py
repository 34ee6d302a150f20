"""Everything else is not there: a process gets a file tree of its own, with the given paths in it and nothing beside.

Landlock keeps files from being opened and not from being asked about: stat() tells of any file whether it exists, how
large it is and when it was last read, and so which of a public collection's films a hospital's cohort holds. Only a
tree without them says nothing. It takes a mount namespace, which some machines lend to no ordinary user.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from fedcxr.fence import kernel

NEW_MOUNTS = 0x00020000  # an unshare flag
OPEN_TREE, MOVE_MOUNT = 428, 429  # on every architecture
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
HERE = -100  # AT_FDCWD
A_COPY, WITH_MOUNTS_BELOW, CLOSE_ON_EXEC, OF_THE_DESCRIPTOR = 1, 0x8000, os.O_CLOEXEC, 4
NO_RIGHTS_LENT, NO_DEVICES, RECURSIVE, PRIVATE, DETACH = 2, 4, 1 << 14, 1 << 18, 2
MOUNTED_AT = "/proc"  # where the new tree hangs until it is the root: what exists on every Linux
MOST_LINKS = 40  # as the kernel follows


def leave(paths: Iterable[Path]) -> bool:
    """Make these the whole tree, at the places where they are; false where that is refused, and all is still there.

    The working folder is the one of the same name, or the root where there is none: no way leads back.
    """
    if sys.platform != "linux" or platform.machine() not in PIVOT_ROOT or not kernel.unshare(NEW_MOUNTS):
        return False
    try:
        was = Path.cwd()
    except FileNotFoundError:  # removed under its feet
        was = Path("/")
    given = [was / path for path in paths]
    # os.path: a Path raises where a folder on the way is closed to this user.
    real = _outermost(Path(os.path.realpath(path)) for path in given if os.path.exists(path))  # noqa: PTH110
    links = {link: to for path in given for link, to in _links(path).items() if not _below(link, real)}
    copies: dict[Path, int] = {}
    try:
        kernel.checked(kernel.mount(b"none", b"/", None, RECURSIVE | PRIVATE))
        for path in real:
            flags = A_COPY | WITH_MOUNTS_BELOW | CLOSE_ON_EXEC
            copies[path] = kernel.checked(kernel.call(OPEN_TREE, HERE, os.fsencode(path), flags))
        folders = {path for path in real if path.is_dir()}
        kernel.checked(kernel.mount(b"none", os.fsencode(MOUNTED_AT), b"tmpfs", NO_RIGHTS_LENT | NO_DEVICES))
    except OSError:
        return False
    else:
        try:
            _hang(copies, folders, links)
            kernel.checked(kernel.call(PIVOT_ROOT[platform.machine()], b".", b"."))
        except OSError:
            os.chdir("/")
            kernel.checked(kernel.umount(os.fsencode(MOUNTED_AT), DETACH))
            os.chdir(was)
            return False
        kernel.checked(kernel.umount(b".", DETACH))  # the old root, which lies over the new one
        os.chdir("/")
        with suppress(OSError):
            os.chdir(was)
        return True
    finally:
        for copy in copies.values():
            os.close(copy)


def _hang(copies: Mapping[Path, int], folders: Iterable[Path], links: Mapping[Path, str]) -> None:
    """Put every copy into the new tree, which is the working folder from here on."""
    os.chdir(MOUNTED_AT)
    for path, copy in copies.items():
        place = Path(os.path.relpath(path, "/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        if path in folders:
            place.mkdir(exist_ok=True)
        else:
            place.touch()
        kernel.checked(kernel.call(MOVE_MOUNT, copy, b"", HERE, os.fsencode(place), OF_THE_DESCRIPTOR))
    for link, to in links.items():
        place = Path(os.path.relpath(link, "/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(to)


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Those that lie in no other."""
    kept: list[Path] = []
    for path in sorted(set(paths)):  # what lies in a folder comes after it
        if not _below(path, kept):
            kept.append(path)
    return kept


def _below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _links(path: Path) -> dict[Path, str]:
    """All symbolic links on the way to a path, and what they say."""
    found: dict[Path, str] = {}
    at, steps = Path("/"), list(path.parts[1:])
    while steps and len(found) < MOST_LINKS:
        step = steps.pop(0)
        if step == "..":
            at = at.parent
        elif os.path.islink(at / step):  # noqa: PTH114
            to = found[at / step] = str((at / step).readlink())
            steps = [*Path(to).parts[to.startswith("/") :], *steps]
            at = Path("/") if to.startswith("/") else at
        else:
            at /= step
    return found
