"""A leak on disk: the folder that is all an adversary's process may read.

Written in two steps, so that an adversary can learn from its own films while the sites are still at work.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fedcxr import plugins
from fedcxr.adversaries import Auxiliary, Coded, Leak, Pairs
from fedcxr.methods import Method
from fedcxr.storage.checkpoint import Checkpoint
from fedcxr.storage.disk import explained, read_json, write_json

AUXILIARY = "auxiliary"  # the bulk of a leak and the same in the controls, so it lies beside them, once
COMPLETE = "mechanism.json"  # written last
CODED = "coded.json"  # of codes: their public facts
CODED_ARRAYS = ("public", "versions", "again", "opened", "films")
PAIRS = "pairs"  # of codes: films of the adversary's own that the sites released too
LEARNT = "learnt-{}.safetensors"  # by the mechanism, once for each version of it
LOOK_EVERY = 0.1  # seconds


def save_auxiliary(owned: Mapping[str, Auxiliary], attack: Path) -> None:
    """Write the adversary's own films, and per leak whose films it takes them for."""
    films = next(iter(owned.values()))
    _save(attack / AUXILIARY, films=films.films, sources=films.sources, held_out=films.held_out)
    for name, auxiliary in owned.items():
        _save(attack / name, people=auxiliary.people)


def save(leaks: Mapping[str, Leak], attack: Path) -> None:
    """Write what leaked, next to the auxiliary films that are there already."""
    for name, leak in leaks.items():
        if not (attack / name / COMPLETE).is_file():
            _save(attack / name, released=leak.released, known=leak.known)
            if leak.coded is not None:
                _save_coded(attack / name, leak.coded)
            for version, weights in enumerate(leak.learnt):
                Checkpoint(weights, {}).write(attack / name / LEARNT.format(f"{version:04}"))
            write_json(attack / name / COMPLETE, leak.mechanism.spec() if leak.mechanism else None)


def load_auxiliary(attack: Path, name: str) -> Auxiliary:
    """The adversary's own films, memory-mapped."""
    common = attack / AUXILIARY
    return Auxiliary(
        films=_load(common, "films"),
        people=_load(attack / name, "people"),
        sources=_load(common, "sources"),
        held_out=_load(common, "held_out"),
    )


def wait_for(attack: Path, name: str) -> Leak:
    """The whole leak, once it is there. Whoever writes it ends this process if it never will be."""
    own = attack / name
    while not (own / COMPLETE).is_file():
        time.sleep(LOOK_EVERY)
    mechanism = read_json(own / COMPLETE)
    return Leak(
        released=_load(own, "released"),
        known=_load(own, "known"),
        auxiliary=load_auxiliary(attack, name),
        mechanism=cast(Method, plugins.build("method", mechanism)) if mechanism else None,
        learnt=tuple(dict(Checkpoint.read(file).arrays) for file in sorted(own.glob(LEARNT.format("*")))),
        coded=_load_coded(own) if (own / CODED).is_file() else None,
    )


def _save_coded(folder: Path, coded: Coded) -> None:
    given = {name: getattr(coded, name) for name in CODED_ARRAYS}
    _save(folder, **{name: array for name, array in given.items() if array is not None})
    if coded.pairs is not None:
        _save(folder / PAIRS, **vars(coded.pairs))
    write_json(folder / CODED, dict(coded.facts))


def _load_coded(folder: Path) -> Coded:
    arrays: dict[str, Any] = {
        name: _load(folder, name) if (folder / f"{name}.npy").is_file() else None for name in CODED_ARRAYS
    }
    paired = folder / PAIRS
    pairs = Pairs(*(_load(paired, field.name) for field in fields(Pairs))) if paired.is_dir() else None
    return Coded(facts=read_json(folder / CODED), pairs=pairs, **arrays)


def _save(folder: Path, **arrays: npt.NDArray[Any]) -> None:
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)


def _load(folder: Path, name: str) -> npt.NDArray[Any]:
    return cast("npt.NDArray[Any]", np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))
