"""Which code this is: what another version has stored is told apart from one's own."""

from __future__ import annotations

import functools
import hashlib
import secrets
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGES = ("fedcxr", "sites", "server")
BYTE_CODE = (".pyc", ".pyo")


@functools.cache
def code_version() -> str:
    """SHA-256 of our sources and of the data that lies among them: of a checkout, a wheel or a bundle alike.

    It is strict: a comment that changes makes another version. Whoever decides what changes no figure can be wrong,
    and then an old figure is believed; being too strict costs a run.
    """
    return digest_of_sources(Path(__file__).resolve().parents[2])


def versions(classes: Iterable[type]) -> dict[str, str]:
    """The version of our code, and of each module outside it that these plug-ins are written in.

    What such a module imports in turn is not looked at, but for the classes that a plug-in is derived from.
    """
    outside = sorted({module for cls in classes for module in _from_outside(cls)})
    return {"fedcxr": code_version(), **{module: hashlib.sha256(_source(module)).hexdigest() for module in outside}}


def digest_of_sources(root: Path) -> str:
    """Names and contents of all files of the packages that lie here; some installations lack some of them."""
    hashed = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in _sources(root)):
        content = path.read_bytes()
        hashed.update(f"{len(name)} {name} {len(content)} ".encode())
        hashed.update(content)
    return hashed.hexdigest()


def _sources(root: Path) -> Iterator[Path]:
    """Every file but what Python and editors leave beside sources."""
    for package in PACKAGES:
        for path in (root / package).rglob("*"):
            if path.suffix not in BYTE_CODE and not path.name.startswith(".") and path.is_file():
                yield path


def _from_outside(cls: type) -> set[str]:
    """The modules of the class and of those it is derived from, without ours and what ours are derived from."""
    ours = {base for base in cls.__mro__ if _root(base) in PACKAGES}
    theirs = set(cls.__mro__) - {base for our in ours for base in our.__mro__}
    return {base.__module__ for base in theirs if _root(base) not in sys.stdlib_module_names}


def _root(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _source(module: str) -> bytes:
    file = getattr(sys.modules.get(module), "__file__", None)
    # Typed in at a prompt: nobody can tell what it was, so it is equal to nothing.
    return Path(file).read_bytes() if file else secrets.token_bytes(16)
