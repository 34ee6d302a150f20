"""What a process that is not believed has left is removed, however it lies there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def prune(folder: Path) -> None:
    """Leave the plain files that lie directly in it: nothing else was asked for."""
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            remove(Path(entry.path))
        elif not entry.is_file(follow_symlinks=False):
            Path(entry.path).unlink()


def remove(folder: Path) -> None:
    """The folder and all in it, as far as that can be had.

    Folders one inside the other are first laid side by side: they may be deeper than Python's stack and longer than
    any path.
    """
    places, number = [folder], 0
    for place in places:
        with suppress(OSError):
            place.chmod(0o700)
            with os.scandir(place) as found:
                entries = list(found)
            for entry in entries:
                with suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        Path(entry.path).unlink()
                        continue
                    number += 1
                    beside = folder / f".removed-{os.getpid()}-{number}"
                    Path(entry.path).chmod(0o700)  # to be moved, a folder is written to
                    Path(entry.path).rename(beside)
                    places.append(beside)
    for place in reversed(places):
        with suppress(OSError):
            place.rmdir()
