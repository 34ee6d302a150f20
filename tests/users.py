"""Other users of this machine, as whom root runs this very Python, wherever it lies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOOLS = ("unshare", "setpriv", "mount")
# In a view of its own of the file system, folders that nobody else may enter on the way to Python are open ones, with
# nothing else in them.
OPENED = """
set -eu
hidden=$1 python=$2 user=$3
shift 3
umask 022
if [ "$hidden" ]; then
    mount --bind "$python" /mnt
    mount -t tmpfs -o mode=755 tmpfs "$hidden"
    mkdir -p "$python"
    mount --bind /mnt "$python"
fi
umask 077
exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs "$@"
"""


def as_user(user: int, *command: str, **more: Any) -> subprocess.Popen[str]:
    """A command that this user runs; one that begins with a dash is for Python."""
    given = [sys.executable, "-P", *command] if command[0].startswith("-") else command
    python = Path(sys.base_prefix)
    hidden = next((str(up) for up in reversed(python.parents) if not up.stat().st_mode & 0o001), "")
    variables = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **more.pop("variables", {})}
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", OPENED, "sh", hidden, str(python), str(user), *given],
        cwd="/", env=variables | {"PYTHONPATH": os.pathsep.join(sys.path)}, text=True, **more,
    )  # fmt: skip


def need_users() -> None:
    """Skip where only one user can be played."""
    if os.geteuid() != 0 or any(shutil.which(tool) is None for tool in TOOLS):
        pytest.skip("only root can play other users")
    if as_user(65534, "-c", "import sites", stderr=subprocess.DEVNULL).wait(60):
        pytest.skip("another user cannot start this Python")
