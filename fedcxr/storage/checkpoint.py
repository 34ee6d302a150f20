"""Arrays and facts in one file, written whole or not at all, and checked when read: safetensors, never pickle."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fedcxr.errors import StorageError
from fedcxr.storage.disk import explained, write_atomic

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Checkpoint:
    """What is kept: arrays by name, and facts that are plain JSON data or the state of a NumPy generator."""

    arrays: Arrays
    facts: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Replace the file, even if the machine stops in the middle: by the old one or by the new one."""
        arrays = {name: np.asarray(array, order="C") for name, array in self.arrays.items()}
        facts = json.dumps(self.facts, default=_plain)
        metadata = {"fedcxr": facts, "digest": _digest(arrays, facts)}
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, save(arrays, metadata))

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """What `write` wrote; a file that is damaged or somebody else's is an error."""
        with _opened(path) as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        facts = _facts(metadata, path)
        if metadata["digest"] != _digest(arrays, metadata["fedcxr"]):
            raise StorageError("a checkpoint is damaged", given=path, do="remove it to start again")
        return cls(arrays, facts)

    @staticmethod
    def facts_of(path: Path) -> Mapping[str, Any]:
        """The facts alone, without reading the arrays."""
        with _opened(path) as file:
            return _facts(file.metadata() or {}, path)


def fingerprint(*parts: object) -> str:
    """A short name for plain data, generator states and arrays: equal data, equal name."""
    text = json.dumps(parts, sort_keys=True, default=_plain)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def digest(arrays: Arrays) -> str:
    """A short name for arrays by name."""
    return _digest({name: np.asarray(array, order="C") for name, array in arrays.items()})


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except (SafetensorError, OSError) as error:
        what = "cannot read a checkpoint" if path.is_file() else "there is no checkpoint here"
        raise StorageError(what, given=path, do=str(error)) from None


def _facts(metadata: Mapping[str, str], path: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads(metadata["fedcxr"])
        _ = metadata["digest"]
    except (KeyError, ValueError):
        raise StorageError("this file is no checkpoint of fedcxr", given=path) from None
    return dict(facts)


def _digest(arrays: Arrays, facts: str = "") -> str:
    hashed = hashlib.blake2b(facts.encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        hashed.update(repr((name, array.dtype.str, array.shape)).encode())
        hashed.update(array.reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()


def _plain(value: object) -> object:
    """Arrays and numbers of NumPy, of which a generator's state is made."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"not plain data: {type(value).__name__}")
