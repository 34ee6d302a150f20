"""Where a module from outside lies: found without importing any of it, and imported from there and nowhere else."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from fedcxr.errors import ConfigError

MOST_FILES = 10_000  # of a package's sources
BESIDE = "__init__.py"


@dataclass(frozen=True)
class Location:
    """The file or the package that holds a module: all of the user's own files that whoever imports it may read."""

    module: str  # of that file or package: `ours`, or `tests.toys.ours` where nothing above it holds code
    file: str  # resolved; of a package its __init__.py

    @classmethod
    def of(cls, module: str) -> Location:
        """By Python's own search along `sys.path`, which runs no code of what it finds."""
        where: Sequence[str] = [*sys.path, ""]  # a console script does not search the user's folder, `python` would
        parts = module.split(".")
        PathFinder.invalidate_caches()
        for depth, part in enumerate(parts, start=1):
            found = PathFinder.find_spec(part, where) if part.isidentifier() else None
            if found is None:
                raise ConfigError("there is no such module", given=module)
            if found.has_location and found.origin is not None:
                return cls(".".join(parts[:depth]), str(_plain_file(Path(found.origin))))
            where = list(found.submodule_search_locations or ())
        raise ConfigError("this is a folder and no module", given=module, do=f"give it an {BESIDE}")

    def __post_init__(self) -> None:
        folder, home = self.readable, Path.home().resolve()
        if self.package and (home.is_relative_to(folder) or folder == folder.parent):
            raise ConfigError("a package in a home or root folder would open all of it", given=folder, do="move it")

    @property
    def package(self) -> bool:
        return Path(self.file).name == BESIDE

    @property
    def readable(self) -> Path:
        return Path(self.file).parent if self.package else Path(self.file)

    @property
    def digest(self) -> str:
        """SHA-256 of the sources."""
        hashed = hashlib.sha256()
        files = [Path(self.file)]
        if self.package:
            files = sorted(path for path in self.readable.rglob("*.py") if path.is_file() and not path.is_symlink())
        if len(files) > MOST_FILES:
            raise ConfigError("this package is too large", given=f"{len(files)} files", allowed=f"{MOST_FILES}")
        for path in files:
            content = path.read_bytes()
            hashed.update(f"{path.relative_to(self.readable.parent)} {len(content)} ".encode())
            hashed.update(content)
        return hashed.hexdigest()

    def open(self) -> None:
        """Have this process import it from here: inside a fence, the folder that it lies in cannot be searched."""
        sys.meta_path.insert(0, _Only(self))


class _Only(MetaPathFinder):
    """Finds one module; what lies in it, Python finds by itself."""

    def __init__(self, location: Location) -> None:
        self._location = location

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        whole = self._location.module
        if fullname == whole:
            inside = [str(self._location.readable)] if self._location.package else None
            return util.spec_from_file_location(whole, self._location.file, submodule_search_locations=inside)
        if whole.startswith(f"{fullname}."):  # a folder above it, of which nothing else is there
            return ModuleSpec(fullname, None, is_package=True)
        return None


def _plain_file(path: Path) -> Path:
    """The file behind a module, whatever it is called: a link to something else would open that."""
    path = path.resolve()
    known = path.name.endswith((*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES))
    if not known or not path.is_file():
        raise ConfigError("a module is a plain file of Python's", given=path)
    return path
