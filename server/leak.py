"""A leak on disk: the folder that is all an adversary's process may read.

What is held before anything was released is written first, so that an adversary can learn from its own films while the
sites are still at work. Arrays that several leaks have in common lie on the disk once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries import Leak
from fedcxr.knowledge import Holding
from fedcxr.questions import Asked, Part
from fedcxr.storage.artefacts import digest_of
from fedcxr.storage.checkpoint import Checkpoint
from fedcxr.storage.disk import explained, read_json, write_array, write_json
from fedcxr.view import View

COMPLETE = "leak.json"  # written last: what is held by now, and what an answer consists of; null: nothing is asked
EARLY = "held.json"  # what is held before anything was released
ARRAYS = "arrays"  # of all leaks, by content
VIEW, GIVEN, MODEL = "view", "given", "model.safetensors"
HELD = "held {}"  # so that no kind of knowledge is called like anything else here
LOOK_EVERY = 0.1  # seconds
FEW = 64  # arrays that are all mapped from disk; what is mapped stays open, and weights of rounds are thousands
MAPPED = 1 << 20  # bytes: of more arrays than a few, those in smaller files are read


def save_early(held: Mapping[str, Holding], leak: Path) -> str:
    """Write what an adversary holds from the start; returns a fingerprint of it."""
    with explained(leak):
        leak.mkdir(parents=True, exist_ok=True)  # also for who holds nothing
    told = {kind: _save(holding, leak, HELD.format(kind)) for kind, holding in held.items()}
    write_json(leak / EARLY, told)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def save(
    leak: Leak | None,
    asked: Asked | None,
    folder: Path,
    about_to_end: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> None:
    """Write the rest, once the sites have released; None: there is nothing to ask.

    `about_to_end` hears what the leak holds, by fingerprints, and what is asked, before anybody reads of it.
    """
    if is_complete(folder):
        return
    told = None if leak is None or asked is None else _save_late(leak, asked, folder)
    if told is not None:
        about_to_end(told)
    write_json(folder / COMPLETE, told)


def _save_late(leak: Leak, asked: Asked, folder: Path) -> dict[str, Any]:
    view = leak.view
    seen = Holding({**{f"form {form}": array for form, array in view.forms.items()}, **_rows(view)})
    early = read_json(folder / EARLY)
    if view.model is not None:
        Checkpoint(view.model, {}).write(folder / MODEL)
    late = {k: _save(one, folder, HELD.format(k)) for k, one in leak.holdings.items() if k not in early}
    return {
        "view": _save(seen, folder, VIEW),
        "model": None if view.model is None else {name: digest_of(array) for name, array in view.model.items()},
        "holdings": early | late,
        "given": None if leak.given is None else _save(leak.given, folder, GIVEN),
        "parts": {
            name: [list(part.shape), np.dtype(part.dtype).name, part.optional, part.gaps]
            for name, part in asked.parts.items()
        },
    }


def is_complete(folder: Path) -> bool:
    """Whether it may be read."""
    return (folder / COMPLETE).is_file()


def contents(folder: Path) -> Any:
    """What a complete leak holds, by fingerprints, and what is asked; None: nothing is."""
    return read_json(folder / COMPLETE)


def parts_of(told: Mapping[str, Any]) -> dict[str, Part]:
    """What an answer to this leak consists of."""
    return {name: Part(tuple(shape), np.dtype(dtype), *flags) for name, (shape, dtype, *flags) in told["parts"].items()}


def early_files(folder: Path) -> list[Path]:
    """What `load_early` reads."""
    return [folder / EARLY, *(folder / _file(HELD.format(kind)) for kind in read_json(folder / EARLY))]


def load_early(folder: Path) -> dict[str, Holding]:
    """What is held from the start, memory-mapped."""
    return {kind: _load(folder, HELD.format(kind), told) for kind, told in read_json(folder / EARLY).items()}


def wait_for(folder: Path) -> None:
    """Until the whole leak is there. Whoever writes it ends this process if it never will be."""
    while not is_complete(folder):
        time.sleep(LOOK_EVERY)


def read(folder: Path) -> tuple[Leak, dict[str, Part]] | None:
    """The whole leak, and what an answer consists of; None: nothing is asked."""
    told = contents(folder)
    if told is None:
        return None
    seen = _load(folder, VIEW, told["view"]).arrays
    model = folder / MODEL
    view = View(
        forms={name.removeprefix("form "): array for name, array in seen.items() if name.startswith("form ")},
        opened=cast("npt.NDArray[np.bool_]", seen["opened"]),
        versions=cast("npt.NDArray[np.int64]", seen["versions"]),
        model=dict(Checkpoint.read(model).arrays) if model.is_file() else None,
    )
    holdings = {kind: _load(folder, HELD.format(kind), own) for kind, own in told["holdings"].items()}
    given = None if told["given"] is None else _load(folder, GIVEN, told["given"])
    return Leak(view, holdings, given), parts_of(told)


def _rows(view: View) -> dict[str, npt.NDArray[Any]]:
    return {"opened": view.opened, "versions": view.versions}


def _save(holding: Holding, leak: Path, name: str) -> dict[str, Any]:
    """Write its arrays as numbered files; returns what they are called and its facts."""
    folder, store = leak / _file(name), leak.parent / ARRAYS
    names, digests = list(holding.arrays), []
    with explained(leak):
        for place in (folder, store):
            place.mkdir(parents=True, exist_ok=True)
        for number, array in enumerate(holding.arrays.values()):
            digests.append(digest_of(array))
            kept = store / f"{digests[-1]}.npy"
            if not kept.is_file():
                write_array(kept, array)  # an array of this name is whole
            _link(kept, folder / f"{number}.npy")
    return {"arrays": names, "digests": digests, "facts": dict(holding.facts)}


def _load(leak: Path, name: str, told: Mapping[str, Any]) -> Holding:
    files: Iterable[Path] = (leak / _file(name) / f"{number}.npy" for number in range(len(told["arrays"])))
    smallest = 0 if len(told["arrays"]) <= FEW else MAPPED
    return Holding(dict(zip(told["arrays"], (_array(file, smallest) for file in files), strict=True)), told["facts"])


def _array(file: Path, smallest: int) -> npt.NDArray[Any]:
    """An array that cannot be written, mapped from disk unless its file is smaller."""
    mapped = file.stat().st_size >= smallest
    array: npt.NDArray[Any] = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    array.flags.writeable = False
    return array


def _link(kept: Path, path: Path) -> None:
    path.unlink(missing_ok=True)
    try:
        os.link(kept, path)
    except OSError:  # a disk without hard links
        shutil.copyfile(kept, path)


def _file(name: str) -> str:
    """A kind of knowledge from outside is called `module:Class`."""
    return name.replace(":", ".")
