"""A file system of a few pages, on which there is soon no room: what writes to it is told so by the kernel."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def on_small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """A folder on a file system of so many bytes, which grows when asked; what is in it then stays."""
    kept = folder.with_name(f"{folder.name}.kept")
    mount = ["mount", "-t", "tmpfs", "-o", f"mode=700,size={size}", "tmpfs", str(folder)]
    shutil.copytree(folder, kept)

    def grow() -> None:
        subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)

    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs rights this process does not have")
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        yield grow
        shutil.rmtree(kept)
        shutil.copytree(folder, kept)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)
        kept.rename(folder)


def fill(file: Path) -> None:
    """Leave no room beside it."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as full:
        while full.write(bytes(4096)):
            pass
