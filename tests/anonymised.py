"""Folders of films that somebody has anonymised, of phantoms and small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fedcxr.audit import Folders
from fedcxr.audit._fold import Study
from fedcxr.audit._network import Lessons
from fedcxr.audit.ladder import Budget
from fedcxr.training import Plan
from fedcxr.training.compute import Compute
from fedcxr.training.rising import Ascent

SIZE = 32
RENDERED = 70  # phantom patients, of whom those are chosen whom a test needs
SEVERAL, SINGLE, MOST = 24, 4, 3  # patients with several films, with one, and films of each
CPU = Compute.choose("cpu", "fp32")
Anonymise = Callable[[np.ndarray], np.ndarray]

# Enough to go through every line, and too little to find anybody out by networks.
TINY = Budget(
    "tiny",
    SIZE,
    200,
    2,
    1,
    Study(Plan(3, 1e-3), Ascent(4, 1e-3), Plan(2, 1e-3), Lessons(people=6)),
)


@dataclass(frozen=True)
class Hospital:
    """Original films on disk, and the table that says whose they are."""

    folder: Path
    films: np.ndarray  # (n, h, w)
    patients: list[str]
    names: list[str]

    @property
    def table(self) -> Path:
        return self.folder / "films.csv"

    def released(self, name: str, change: Anonymise, suffix: str = ".png") -> Folders:
        """The folders of an audit, whose released films are made by `change`, (n, h, w) at once."""
        place = self.folder / name
        place.mkdir()
        for film, called in zip(change(self.films), self.names, strict=True):
            Image.fromarray(film).save(place / f"{called}{suffix}")
        return self.folders(name)

    def folders(self, name: str) -> Folders:
        """The same, released before."""
        return Folders(self.folder / "original", self.folder / name, self.table)


def noisy(films: np.ndarray) -> np.ndarray:
    """An anonymiser as many are published."""
    return np.clip(films + np.random.default_rng(0).normal(0, 40, films.shape), 0, 255).astype(np.uint8)
