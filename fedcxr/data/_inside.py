"""Files of one folder and of nothing outside it, whatever a table or a link says."""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path, PurePosixPath

from fedcxr.data._decode import Unusable


class Inside:
    """A folder that is never left: what `..`, an absolute name or a link leads out of it is refused."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real_root = os.path.realpath(root)
        self._real = lru_cache(maxsize=4096)(os.path.realpath)  # of folders: many films lie in few

    def has(self, name: str) -> bool:
        """Whether anything is called so, be it usable or not."""
        return os.path.lexists(self._root / name)

    def file(self, name: str) -> Path:
        """The regular file of this name, which is below the folder; `Unusable` says why there is none."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or "\0" in name:
            raise Unusable("no name of a file")
        if ".." in parts or parts[0] == "/" or ":" in parts[0]:
            raise Unusable("outside the folder")
        path = self._root.joinpath(*parts)
        try:
            state = path.lstat()
            linked = stat.S_ISLNK(state.st_mode)
            if linked:
                state = path.stat()
            real = os.path.realpath(path) if linked else self._real(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            raise Unusable("missing") from None
        except OSError as error:
            raise Unusable(f"unreadable: {error.strerror}") from None
        if not Path(real).is_relative_to(self._real_root):
            raise Unusable("outside the folder")
        if not stat.S_ISREG(state.st_mode):
            raise Unusable("not a regular file")
        return path
