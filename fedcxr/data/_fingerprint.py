"""Whether anything has changed since a cohort was packed, told from the state of its files without reading its table.

cache/nih-<source>.seen    a line: the state everything was in, and the shard that was made or found then

The state is the name, size and time of every file that can matter, so it promises what a full look does: a shard is
made anew when a film, a list or the table changes. Who is on the films is no part of it, and no name is kept.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fedcxr.data import _shard as shard
from fedcxr.errors import FedcxrError
from fedcxr.storage.disk import write_atomic


@dataclass(frozen=True)
class WatchedPaths:
    """What decides what a source holds: nothing outside these files and folders."""

    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    below: bool = False  # and all folders below them


@dataclass(frozen=True)
class Fingerprint:
    """The note on a source, and the state its files are in now."""

    note: Path
    state: str

    @classmethod
    def of(cls, note: Path, watched: WatchedPaths, reader: type) -> Fingerprint | None:
        """None where the files do not let themselves be looked at: then only a full look can tell."""
        digest = hashlib.blake2b(digest_size=16)
        try:
            for told in _told(watched, reader):
                digest.update(f"{told}\0".encode("utf-8", "surrogateescape"))
        except OSError:
            return None
        return cls(note, digest.hexdigest())

    def shard(self) -> Path | None:
        """The shard that was made when all was as it is now."""
        try:
            state, name = self.note.read_text(encoding="utf-8").split()
        except (OSError, ValueError):
            return None
        folder = self.note.parent / Path(name).name
        return folder if state == self.state and shard.is_there(folder) else None

    def keep(self, folder: Path) -> None:
        """Note that the films of this state are in the shard `folder`, which lies beside the note."""
        with suppress(FedcxrError):  # a cache that may only be read: the next process looks for itself
            write_atomic(self.note, f"{self.state} {folder.name}\n".encode())


def _told(watched: WatchedPaths, reader: type) -> Iterator[str]:
    # Another version of the reader may see other things in the same files.
    for file in (*sorted(Path(__file__).parent.glob("*.py")), Path(inspect.getfile(reader)), *watched.files):
        yield _state(file.name, file.stat())
    folders = [str(folder) for folder in reversed(watched.folders)]
    while folders:
        within, here = [], []
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    within.append(entry.path)
                    here.append(f"{entry.name}/")
                else:
                    here.append(_state(entry.name, _status(entry)))
        yield "\n".join(sorted(here))
        if watched.below:
            folders += sorted(within, reverse=True)


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except FileNotFoundError:  # a link to nowhere
        return entry.stat(follow_symlinks=False)


def _state(name: str, status: os.stat_result) -> str:
    return f"{name} {status.st_size} {status.st_mtime_ns}"
