"""Pairs of films to learn from: as many of one patient as of two."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.errors import DataError
from fedcxr.metrics import Ids

Indices = npt.NDArray[np.intp]

MAX_PAIRS = 50_000  # of each kind: far more than a few weights per finding need


def balanced_pairs(patients: Ids, rng: np.random.Generator) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
    """As many pairs within patients as across patients: first films, second films, genuine or not."""
    _, patient = np.unique(patients, return_inverse=True)
    genuine = _genuine_pairs(patient)
    if not genuine.shape[1] or not np.any(patient):
        raise DataError(
            "what two films of one patient have in common cannot be learnt",
            given=f"{len(patient)} films of {len(np.unique(patient))} patients",
            allowed="at least two patients, one of them with two films",
            do="give the adversary a larger auxiliary cohort",
        )
    if genuine.shape[1] > MAX_PAIRS:
        genuine = genuine[:, rng.choice(genuine.shape[1], MAX_PAIRS, replace=False)]
    impostors = _impostor_pairs(patient, genuine.shape[1], rng)
    a, b = np.concatenate([genuine, impostors], axis=1)
    return a, b, np.repeat([True, False], genuine.shape[1])


def _genuine_pairs(patient: npt.NDArray[Any]) -> Indices:  # (2, pairs)
    """Every pair of films of one patient."""
    order = np.argsort(patient, kind="stable")
    films = np.split(order, np.flatnonzero(np.diff(patient[order])) + 1)
    return np.concatenate([own[np.stack(np.triu_indices(len(own), 1))] for own in films], axis=1)


def _impostor_pairs(patient: npt.NDArray[Any], count: int, rng: np.random.Generator) -> Indices:  # (2, count)
    """Random pairs of films of two patients; the caller has made sure that there are two."""
    kept: list[Indices] = []
    while sum(pairs.shape[1] for pairs in kept) < count:
        pairs = rng.integers(len(patient), size=(2, count))
        kept.append(pairs[:, patient[pairs[0]] != patient[pairs[1]]])
    return np.concatenate(kept, axis=1)[:, :count]
