"""A hospital whose films are anonymised in every way that a test asks for."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from anonymised import MOST, RENDERED, SEVERAL, SINGLE, SIZE, Hospital
from PIL import Image

from fedcxr.data.phantom import Phantom


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
