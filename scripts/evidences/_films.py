"""Films to measure on: a folder of one's own with a table, or phantoms; and intervals by patient."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.data.folder import Columns, Folder
from fedcxr.data.phantom import Phantom

Rows = npt.NDArray[np.intp]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--films", type=Path, help="a folder with films and a table; without it, phantoms")
    parser.add_argument("--table", default="metadata.csv", help="the table in that folder")
    parser.add_argument("--image", default="filename", help="the table's column of file names")
    parser.add_argument("--patient", default="patientid", help="the table's column of patients")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)


def open_films(options: argparse.Namespace) -> Cohort:
    if options.films is None:
        return Phantom(patients=100, size=options.size, seed=options.seed).open(cache_folder())
    columns = Columns(image=options.image, patient=options.patient)
    folder = Folder(root=str(options.films), table=options.table, size=options.size, columns=columns)
    return folder.open(cache_folder())


def halves(patients: npt.NDArray[np.object_], rng: np.random.Generator) -> tuple[Rows, Rows]:
    """The adversary's own films and those it attacks, with no patient in both."""
    names = rng.permutation(np.unique(patients))
    mine = np.isin(patients, names[: len(names) // 2])
    return np.flatnonzero(mine), np.flatnonzero(~mine)


class ByPatient:
    """Means with 95 % intervals from resampled patients: films of one patient are not independent."""

    def __init__(self, patients: npt.NDArray[np.generic], rng: np.random.Generator, draws: int = 1000) -> None:
        owner = np.unique(patients, return_inverse=True)[1]
        people = int(owner.max()) + 1
        self.weights = rng.multinomial(people, np.full(people, 1 / people), size=draws)[:, owner].astype(np.float64)

    def mean(self, per_film: npt.NDArray[np.generic]) -> tuple[float, float, float]:
        values = np.asarray(per_film, dtype=np.float64)
        means = self.weights @ values / self.weights.sum(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        return float(values.mean()), float(low), float(high)

    def told(self, per_film: npt.NDArray[np.generic], form: Callable[[float], str] = "{:.3f}".format) -> str:
        """As a table shows it."""
        value, low, high = (form(number) for number in self.mean(per_film))
        return f"{value} [{low}, {high}]"
