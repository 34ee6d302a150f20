"""What a process that is not believed has left is removed, however it lies there."""

from __future__ import annotations

import os
from pathlib import Path


def remove(folder: Path) -> None:
    """The folder and all in it, as far as that can be had.

    Folders one inside the other are first laid side by side: they may be deeper than Python's stack and longer than
    any path.
    """
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
