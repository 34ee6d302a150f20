"""Files in which a hospital says what counts: nobody else can have written one, or put another in its place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fedcxr.errors import ConfigError, DataError, Refused, StorageError
from fedcxr.scenario.document import LARGEST_FILE

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def own_text(path: Path, noun: str) -> str:
    """What is written in a file that nobody else can have written, or put in the place of another."""
    try:
        with path.open("rb") as file:
            _refuse_strangers(os.fstat(file.fileno()), path, noun)
            _refuse_strangers_on_the_way(path, noun)
            return file.read(LARGEST_FILE + 1).decode()
    except FileNotFoundError:
        raise DataError(f"there is no such {noun}", given=path) from None
    except UnicodeDecodeError:
        raise ConfigError(f"the {noun} is not text", given=path, allowed="UTF-8") from None
    except OSError as error:
        raise StorageError(f"cannot read the {noun}", given=path, do=error.strerror or "") from None


def _refuse_strangers_on_the_way(path: Path, noun: str) -> None:
    """No folder that the path leads through, and none that a link on it does, is one where others may put another."""
    way = path.absolute()
    for folder in reversed(way.parents):  # from the top: what is in a stranger's folder is not even looked at
        _refuse_strangers(folder.stat(), folder, noun)
    for part in (*reversed(way.parents), way):
        if part.is_symlink():
            _refuse_strangers(part.lstat(), part, noun)
            _refuse_strangers_on_the_way(part.parent / part.readlink(), noun)


def _refuse_strangers(held: os.stat_result, path: Path, noun: str) -> None:
    sticky = stat.S_ISDIR(held.st_mode) and held.st_mode & stat.S_ISVTX  # there everybody keeps what is theirs
    closed = sticky or stat.S_ISLNK(held.st_mode)  # a link's mode means nothing
    if held.st_uid not in (0, os.geteuid()) or (held.st_mode & OTHERS_MAY_WRITE and not closed):
        raise Refused(
            f"others may write the {noun}, or a folder that it is in",
            given=f"{path}, mode {stat.S_IMODE(held.st_mode):04o}, user {held.st_uid}",
            allowed="files and folders of your own or of root, which nobody else may write",
            do="run chmod go-w on it, or keep it elsewhere",
        )
