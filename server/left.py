"""What a process that is not believed has left in its folder: measured, and removed, however it lies there."""

from __future__ import annotations

import os
from pathlib import Path

DEEPEST, MOST = 16, 10_000  # folders one inside the other; files and folders in all


def measured(folder: Path) -> int:
    """Bytes on the disk; an OSError for what nobody leaves by mistake."""
    size, entries, waiting = 0, 0, [(str(folder), 0)]
    while waiting:
        place, depth = waiting.pop()
        with os.scandir(place) as found:
            for entry in found:
                entries += 1
                if depth >= DEEPEST or entries > MOST:
                    raise OSError("more folders, or deeper ones, than any attack needs")
                try:
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, depth + 1))
                except FileNotFoundError:  # a draft that got its name
                    continue
    return size


def remove(folder: Path) -> None:
    """The folder and all in it, as far as that can be had; folders one inside the other are first laid side by side."""
    try:
        waiting, number = [folder], 0
        while waiting:
            place = waiting.pop()
            place.chmod(0o700)
            with os.scandir(place) as found:
                inside = list(found)
            for entry in inside:
                if entry.is_dir(follow_symlinks=False):
                    number += 1
                    beside = folder / f".removed-{os.getpid()}-{number}"
                    Path(entry.path).chmod(0o700)  # to be moved, a folder is written to
                    Path(entry.path).rename(beside)
                    waiting.append(beside)
                else:
                    Path(entry.path).unlink()
            if place != folder:
                place.rmdir()
        folder.rmdir()
    except OSError:
        return
