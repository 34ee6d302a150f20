"""A leak on disk: the folder that is all an adversary's process may read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fedcxr import plugins
from fedcxr.adversaries import Auxiliary, Leak
from fedcxr.methods import Method
from fedcxr.runs import explained, read_json, write_json

AUXILIARY = "auxiliary"  # the bulk of a leak and the same in the controls, so it lies beside them, once


def save(leaks: dict[str, Leak], attack: Path) -> None:
    """Write some leaks that differ in what was released and in whose films the auxiliary ones are."""
    auxiliary = next(iter(leaks.values())).auxiliary
    _save(attack / AUXILIARY, films=auxiliary.films, sources=auxiliary.sources, held_out=auxiliary.held_out)
    for name, leak in leaks.items():
        _save(attack / name, released=leak.released, known=leak.known, people=leak.auxiliary.people)
        write_json(attack / name / "mechanism.json", leak.mechanism.spec() if leak.mechanism else None)


def load(attack: Path, name: str) -> Leak:
    """One leak, its films memory-mapped."""
    common, own = attack / AUXILIARY, attack / name
    mechanism = read_json(own / "mechanism.json")
    return Leak(
        released=_load(own, "released"),
        known=_load(own, "known"),
        auxiliary=Auxiliary(
            films=_load(common, "films"),
            people=_load(own, "people"),
            sources=_load(common, "sources"),
            held_out=_load(common, "held_out"),
        ),
        mechanism=cast(Method, plugins.build("method", mechanism)) if mechanism else None,
    )


def _save(folder: Path, **arrays: npt.NDArray[np.generic]) -> None:
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)


def _load(folder: Path, name: str) -> Any:
    return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
