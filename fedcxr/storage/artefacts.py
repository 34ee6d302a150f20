"""Things that are made once and shared by runs and processes: networks of the experimenter's, codecs, lung masks.

folder/<kind>-<SHA-256>.safetensors        what was made, named by all that it was made from; appears by one rename
folder/<kind>-<SHA-256>.safetensors.lock   held while it is being made; a second process waits, then reads
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.errors import ConfigError, FedcxrError, Refused, StorageError
from fedcxr.storage.checkpoint import Arrays, Checkpoint
from fedcxr.storage.private import DRAFT, private_folder
from fedcxr.storage.version import code_version

SUFFIX, LOCK = ".safetensors", ".lock"
KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")
KEY = re.compile(rf"({KIND.pattern})-[0-9a-f]{{64}}")
LIBRARIES = ("numpy", "torch")  # another version of these computes other last digits


@dataclass(frozen=True)
class Entry:
    """One artefact on file."""

    key: str
    kind: str
    size: int  # bytes
    used: float  # seconds since 1970: when it was last made or read


@dataclass(frozen=True)
class Artefacts:
    """A folder of artefacts, for one user's eyes alone: networks remember the films they have seen.

    It is a help and never a condition. Where it cannot be read or written, because the disk is full, the folder
    somebody else's or the file system without locks, what was made is used and not kept, and nothing is said: the
    figures are the same, and the next run takes as long as this one. What is damaged counts as absent.
    """

    folder: Path

    @classmethod
    def below(cls, cache: Path) -> Artefacts:
        """The store's place in a cache folder."""
        return cls(cache / "artefacts")

    @staticmethod
    def key(kind: str, /, **specification: Any) -> str:
        """The name of what this code makes from plain data; arrays are specified by `digest_of`.

        Everything that changes what is made must be in it: seeds, sizes, device, precision, threads, and `versions`
        of a class from outside. The version of our code and of the libraries that compute is added here.
        """
        if not KIND.fullmatch(kind):
            raise ConfigError("this is no kind of artefact", given=kind, allowed="a-z, 0-9 and _, such as `verifier`")
        document = {"kind": kind, "code": code_version(), "libraries": _libraries(), "specification": specification}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_refused)
        return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()}"

    def made(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """What is on file, or else what `make` makes, kept for the next; of several who ask at once one makes it.

        Whether it was made or read shows in nothing: contiguous arrays, in the order of their names.
        """
        found = self.get(key)  # without the lock: a file is whole or absent
        if found is not None:
            return found
        with self._alone(key):
            found = self.get(key)
            if found is None:
                found = _in_order(make())
                self._keep(key, found)
        return found

    def get(self, key: str) -> Arrays | None:
        """What is on file under this name, whole and as it was made, or None."""
        path = self._path(key)
        try:
            if os.path.lexists(self.folder):
                private_folder(self.folder)  # what others can put there is none of ours, whatever it is called
            kept = Checkpoint.read(path)
        except (FedcxrError, OSError):
            return None
        if kept.facts.get("key") != key:  # somebody gave it another's name
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return _in_order(kept.arrays)

    def put(self, key: str, arrays: Arrays) -> None:
        """Keep what was made elsewhere, by a process that may not write here."""
        with self._alone(key):
            self._keep(key, _in_order(arrays))

    def entries(self) -> tuple[Entry, ...]:
        """What is on file, by kind, what was used last coming last."""
        found = []
        for path in self._files(SUFFIX):
            match = KEY.fullmatch(path.name.removesuffix(SUFFIX))
            with contextlib.suppress(FileNotFoundError):  # cleared meanwhile
                if match:
                    about = path.stat()
                    found.append(Entry(match[0], match[1], about.st_size, about.st_mtime))
        return tuple(sorted(found, key=lambda entry: (entry.kind, entry.used)))

    def clear(self, kind: str | None = None, older_than_s: float | None = None) -> tuple[Entry, ...]:
        """Delete what is of this kind and was not used for so long, and what killed makers left; returns the former.

        Whoever reads one of them reads on; whoever makes one right now is left alone.
        """
        chosen = self.chosen(kind, older_than_s)
        try:
            for entry in chosen:
                self._path(entry.key).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError("cannot delete an artefact", given=self.folder, do=error.strerror or "") from None
        for path in (*self._files(LOCK), *self._files(DRAFT)):
            found = KEY.search(path.name)
            with contextlib.suppress(OSError):  # refused: somebody holds it
                if found:
                    with self._held(found[0], wait=False):
                        pass  # whoever holds the lock sweeps
        return chosen

    def chosen(self, kind: str | None = None, older_than_s: float | None = None) -> tuple[Entry, ...]:
        """What `clear` would delete."""
        latest = float("inf") if older_than_s is None else time.time() - older_than_s
        return tuple(entry for entry in self.entries() if kind in (None, entry.kind) and entry.used <= latest)

    def _keep(self, key: str, arrays: Arrays) -> None:
        with contextlib.suppress(FedcxrError, OSError):
            private_folder(self.folder)
            Checkpoint(arrays, {"key": key}).write(self._path(key))

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ConfigError("this is no key of an artefact", given=key, allowed="what Artefacts.key returns")
        return self.folder / f"{key}{SUFFIX}"

    def _files(self, suffix: str) -> list[Path]:
        try:
            return [path for path in self.folder.iterdir() if path.name.endswith(suffix)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StorageError("cannot read the artefacts", given=self.folder, do=error.strerror or "") from None

    # Locks ------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """While nobody else makes this; where that cannot be had, all the same."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(Refused, OSError):
                private_folder(self.folder)
                stack.enter_context(self._held(key, wait=True))
            yield

    @contextlib.contextmanager
    def _held(self, key: str, *, wait: bool) -> Iterator[None]:
        """The lock of one artefact, gone from the disk when it is let go; an OSError if it cannot be had.

        The kernel lets go of it however we end. Whoever waited for a lock that is gone waited for nothing: another may
        have made the file anew and hold that, so we look whether what we hold is what lies there.
        """
        path = self._path(key).with_name(f"{key}{SUFFIX}{LOCK}")
        while True:
            with contextlib.ExitStack() as stack:
                lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                stack.callback(os.close, lock)
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _lies_at(path, lock):
                    continue
                stack.callback(_removed, path)  # before it is let go of: nobody else can hold a file of this name
                for draft in self.folder.glob(f".{key}{SUFFIX}.*{DRAFT}"):
                    draft.unlink(missing_ok=True)  # of a maker that was killed
                yield
                return


def digest_of(array: npt.NDArray[Any]) -> str:
    """What stands for an array in a specification: SHA-256 of its type, shape and values."""
    if array.dtype.hasobject:
        raise ConfigError("an array of objects has no digest", given=array.dtype, do="make it one of numbers or text")
    hashed = hashlib.sha256(repr((array.dtype.str, array.shape)).encode())
    hashed.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()


def digest_of_file(path: Path) -> str:
    """What stands for a file of the user's in a specification."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refused(value: object) -> object:
    raise ConfigError("a specification is plain data", given=type(value).__name__, do="give arrays by digest_of")


def _in_order(arrays: Arrays) -> Arrays:
    """As they come back from disk: other strides or another order of summing would change last digits."""
    return {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}


def _removed(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _lies_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _libraries() -> dict[str, str | None]:
    return {name: _version(name) for name in LIBRARIES}


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
