"""A hospital whose films are anonymised in every way that a test asks for."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import numpy as np
import pytest
from anonymised import CPU, MOST, RENDERED, SEVERAL, SINGLE, SIZE, TINY, Hospital, noisy
from PIL import Image

from fedcxr.audit import Audit, audit, scoring
from fedcxr.data.phantom import Phantom


@pytest.fixture(scope="session", autouse=True)
def few_replicates() -> Iterator[None]:
    """Intervals from as many draws of patients as a test needs."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(scoring, "REPLICATES", 200)
        yield


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    folder = tmp_path_factory.mktemp("hospital")
    cohort = Phantom(patients=RENDERED, size=SIZE, seed=3).open(folder / "cache")
    films, patients = cohort.films(), cohort.patients
    owners, counts = np.unique(patients, return_counts=True)
    chosen = [*owners[counts > 1][:SEVERAL], *owners[counts == 1][:SINGLE]]
    rows = np.concatenate([np.flatnonzero(patients == owner)[:MOST] for owner in chosen])
    films, patients = films[rows], patients[rows].tolist()
    names = [f"film-{row:03d}" for row in range(len(films))]
    (folder / "original").mkdir()
    for film, name in zip(films, names, strict=True):
        Image.fromarray(film).save(folder / "original" / f"{name}.png")
    with (folder / "films.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "patient"])
        writer.writerows(zip([f"{name}.png" for name in names], patients, strict=True))
    return Hospital(folder, films, patients, names)


@pytest.fixture(scope="session")
def found(hospital: Hospital) -> Audit:
    """What is found in films with noise, for all who only look at it."""
    return audit(hospital.released("noisy", noisy), budget=TINY, compute=CPU, seed=1)
