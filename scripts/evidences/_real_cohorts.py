"""The two collections of real films, read by the product's own reader, and what their tables say beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fedcxr.audit import scoring
from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.data._own_table import Findings
from fedcxr.data.folder import Columns, Folder
from fedcxr.errors import DataError
from fedcxr.pairs.lists import located, read_pair_list

FEWEST = 20  # people with two films: with fewer, an interval of an AUC is as wide as what there is to show

Codes = npt.NDArray[np.int64]  # (n,) anonymous numbers


@dataclass(frozen=True)
class RealFilms:
    """Films and what must be known about them to cross-validate without leaks."""

    name: str
    films: npt.NDArray[np.uint8]  # (n, h, w)
    patients: Codes
    sources: Codes  # covid: the publication; kermany, which has none: the label
    units: Codes  # what no two folds may share
    hospital: npt.NDArray[np.bool_]  # (n,) films of the one hospital with many patients
    labels: npt.NDArray[np.float32]  # (n, k) 0 or 1
    findings: tuple[str, ...]
    published: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]  # rows of a published list of pairs


def covid(data: Path, size: int) -> RealFilms:
    """Films out of 130 publications; no fold shares a patient or a publication with another."""
    root = data / "covid"
    cohort, table = _read(root, size, "finding", source="url")
    patients, sources = _codes(table["patientid"]), _codes(table["url"])
    pairs = located(read_pair_list(root / "pairs_published.txt"), list(table["filename"]))
    return RealFilms(
        "covid",
        cohort.films(),
        patients,
        sources,
        tied(patients, sources),
        table["location"].fillna("").str.contains("Hannover").to_numpy(dtype=bool),
        cohort.labels,
        cohort.findings,
        (pairs.a, pairs.b),
    )


def kermany(data: Path, size: int) -> RealFilms:
    """Films of children from one hospital; no fold shares a group, which may be one child or two of one number."""
    cohort, table = _read(data / "kermany", size, "label")
    nobody = np.zeros(len(table), dtype=bool)
    units, labels = _codes(table["group"]), _codes(table["label"])
    none = np.empty(0, dtype=np.intp)
    patients = _codes(table["patientid"])
    return RealFilms(
        "kermany", cohort.films(), patients, labels, units, nobody, cohort.labels, cohort.findings, (none, none)
    )


def _read(root: Path, size: int, label: str, source: str | None = None) -> tuple[Cohort, pd.DataFrame]:
    """A cohort and its table, film by film, in the order of the files' names.

    The reader's own order is that of its pseudonyms, which differ from site to site: folds would too.
    """
    columns = Columns(image="filename", patient="patientid", source=source)
    folder = Folder(root=str(root), size=size, called=root.name, columns=columns, findings=Findings(label=label))
    cohort = folder.open(cache_folder())
    names = np.array([file.name for file in folder.listing().files], dtype=object)
    order = np.argsort(names)
    table = pd.read_csv(root / "metadata.csv", dtype=str).set_index("filename", drop=False).loc[names[order]]
    return cohort.take(order), table


def _codes(column: pd.Series) -> Codes:
    return np.asarray(pd.factorize(column, sort=True)[0], dtype=np.int64)


def enough(cohort: RealFilms) -> None:
    """Refuse a collection that cannot show whether anybody is recognised."""
    films = np.bincount(cohort.patients)
    if (films > 1).sum() < FEWEST:
        raise DataError(
            f"{cohort.name}: too few people with two films to say anything",
            given=f"{(films > 1).sum()} of {(films > 0).sum()} people, {len(cohort.films)} films",
            allowed=f"{FEWEST} people with two films or more",
        )


def tied(first: Codes, second: Codes) -> Codes:
    """The groups of films that hang together through either code, step by step."""
    ends = (first, second + first.max() + 1)
    links = coo_array((np.ones(len(first)), ends), shape=(ends[1].max() + 1,) * 2)
    return np.asarray(connected_components(links, directed=False)[1][first], dtype=np.int64)


def folds_of(units: Codes, folds: int, rng: np.random.Generator) -> Codes:
    """A fold for every film: the largest unit first, each into the fold with the fewest films so far."""
    return scoring.folds(units, folds, rng).fold
