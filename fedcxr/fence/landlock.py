"""Files: Linux's Landlock opens the given paths to this process and closes all others, to native code too."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from fedcxr.fence import kernel

# From the kernel's uapi header linux/landlock.h.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # on every architecture
PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

# Each interface handles the rights of the one before and more; what is handled and not granted is refused.
HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
WHOLE = 3  # the first interface that keeps a process from truncating what it may not write
NETWORK_FROM, ALL_TCP = 4, 3
SCOPES_FROM, ALL_SCOPES = 6, 3  # abstract sockets and signals stay inside the fence

# No EXECUTE: nothing is started. A library needs none to be loaded.
READING = READ_FILE | READ_DIR
# Only files and folders: no link, pipe, socket or device is left for whoever reads what was written.
WRITING = READING | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER
DRIVING = READING | WRITE_FILE | IOCTL_DEV
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # a rule on a file may name no folder rights


def version() -> int:
    """Which interface this kernel has; below 1 for none."""
    return kernel.call(CREATE_RULESET, None, 0, 1) if sys.platform == "linux" else 0


def restrict(readable: Iterable[Path], writable: Iterable[Path], devices: Iterable[Path]) -> None:
    """From here on, these and no others; what does not exist is skipped. Asks for no-new-privileges first."""
    interface = version()
    handled = HANDLED[max(v for v in HANDLED if v <= interface)]
    attributes = struct.pack("QQQ", handled, ALL_TCP, ALL_SCOPES)
    size = 8 if interface < NETWORK_FROM else 16 if interface < SCOPES_FROM else 24
    ruleset = kernel.checked(kernel.call(CREATE_RULESET, attributes[:size], size, 0))
    for paths, rights in ((readable, READING), (writable, WRITING), (devices, DRIVING)):
        for path in paths:
            _allow(ruleset, path, rights & handled)
    if Path("/proc/self").exists():
        os.open("/proc/self", os.O_PATH | os.O_CLOEXEC)  # never closed: its rule would be lost with its inode
    kernel.checked(kernel.call(RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # nothing to open, or nothing that this user could
    try:
        allowed = rights if path.is_dir() else rights & OF_A_FILE
        rule = struct.pack("=Qi", allowed, beneath)
        kernel.checked(kernel.call(ADD_RULE, ruleset, PATH_BENEATH, rule, 0))
    finally:
        os.close(beneath)
