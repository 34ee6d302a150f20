"""Derives tables.json, the aggregate statistics a phantom cohort follows, from NIH's table of ChestX-ray14.

    python -m fedcxr.data.phantom.fit_tables Data_Entry_2017_v2020.csv > fedcxr/data/phantom/tables.json

Only shares, correlations and histograms leave this script; no row of the table does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.cohort import FINDINGS

Array = npt.NDArray[np.float64]

LATENT = (*FINDINGS, "AP")  # the projection is drawn together with the findings: the sick are filmed in bed
AGES = np.linspace(0, 1, 21)
MOST_VISITS = 60  # 95 of 30,805 patients have as many or more; one of them would own a small cohort


def main(table: Path) -> None:
    """Writes the statistics as JSON to standard output."""
    films = pd.read_csv(table, usecols=range(7), index_col=False)
    lines = (f'"{name}": {json.dumps(value)}' for name, value in statistics(films).items())
    sys.stdout.write("{\n " + ",\n ".join(lines) + "\n}\n")


def statistics(films: pd.DataFrame) -> dict[str, Any]:
    """Everything in tables.json."""
    labels = "|" + films["Finding Labels"] + "|"
    present = np.stack([labels.str.contains(f"|{finding}|", regex=False) for finding in FINDINGS], axis=1)
    latent = np.column_stack([present, films["View Position"] == "AP"]).astype(float)
    share = latent.mean(axis=0)
    together = latent.T @ latent / len(films)
    correlation = np.eye(len(LATENT))
    for i in range(len(LATENT)):
        for j in range(i):
            correlation[i, j] = correlation[j, i] = tetrachoric(share[i], share[j], together[i, j])

    patients = films.groupby("Patient ID")
    visits = patients.size().clip(upper=MOST_VISITS)
    first = patients.first()
    return {
        "source": "NIH ChestX-ray14, Data_Entry_2017_v2020.csv: 112,120 films of 30,805 patients",
        "made_by": "python -m fedcxr.data.phantom.fit_tables",
        "latent": list(LATENT),
        "share": _round(share),
        "correlation": [_round(row) for row in correlation],
        "persistence": _round(persistence(latent, films["Patient ID"].to_numpy())),
        "patients_with_visits": np.bincount(visits, minlength=MOST_VISITS + 1)[1:].tolist(),
        "male": round(float((first["Patient Gender"] == "M").mean()), 4),
        "age_quantiles": _round(np.quantile(first.loc[first["Patient Age"] <= 95, "Patient Age"], AGES)),
    }


def persistence(present: Array, patient: npt.NDArray[np.int64]) -> Array:
    """Correlation of the latent variables of two visits of one patient, drawn film first, then another film."""
    counts = pd.DataFrame(present).groupby(patient).sum().to_numpy()
    visits = pd.Series(patient).groupby(patient).size().to_numpy()[:, None]
    several = visits[:, 0] > 1
    counts, visits = counts[several], visits[several]
    share = counts.sum(axis=0) / visits.sum()
    both = (counts * (counts - 1) / (visits - 1)).sum(axis=0) / visits.sum()
    return np.array([tetrachoric(p, p, b) for p, b in zip(share, both, strict=True)])


def tetrachoric(first: float, second: float, both: float) -> float:
    """The correlation of two standard normals that exceed their thresholds with these three probabilities."""
    low, high = -0.999, 0.999
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if exceed_both(first, second, middle) < both else (low, middle)
    return (low + high) / 2


def exceed_both(first: float, second: float, correlation: float) -> float:
    """P(both exceed), by integrating Plackett's identity dP/dr = bivariate density from 0 to the correlation."""
    a, b = (NormalDist().inv_cdf(1 - share) for share in (first, second))
    nodes, weights = np.polynomial.legendre.leggauss(64)
    r = correlation * (nodes + 1) / 2
    density = np.exp(-(a * a - 2 * r * a * b + b * b) / (2 * (1 - r * r))) / (2 * np.pi * np.sqrt(1 - r * r))
    return first * second + float(correlation / 2 * (weights * density).sum())


def _round(values: Array) -> list[float]:
    return [round(float(value), 4) for value in values]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
