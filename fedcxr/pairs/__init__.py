"""Balanced pairs of films for verification, as in the papers: every genuine pair there is, and as many impostors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.errors import ConfigError, DataError

Rows = npt.NDArray[np.intp]
Negatives = Literal["random", "same-source"]

MOST_GENUINE = 50_000_000  # NIH ChestX-ray14 has 961,289; more than these do not fit into memory


@dataclass(frozen=True)
class Pairs:
    """Pairs of films by their place in an index, the genuine ones first."""

    a: Rows  # (n,)
    b: Rows  # (n,)
    genuine: npt.NDArray[np.bool_]  # (n,)

    def __len__(self) -> int:
        return len(self.genuine)


def balanced_pairs(
    index: pd.DataFrame,
    rng: np.random.Generator,
    *,
    count: int | None = None,
    per_patient: int | None = None,
    negatives: Negatives = "random",
) -> Pairs:
    """`count` pairs of films of an index, half of them of one patient; without a count, as many as there are.

    A patient gives at most `per_patient` genuine pairs, because a few patients own most of them (NIH's test pairs:
    50 of 492 patients own half). Impostors are drawn evenly from all pairs of two patients, or from those of one
    hospital, whose films cannot be told apart by their scanner. No pair occurs twice, in either order.
    """
    if count is not None and (count < 2 or count % 2):
        raise ConfigError("half of the pairs are genuine", given=f"{count} pairs", allowed="an even number from 2")
    if per_patient is not None and per_patient < 1:
        raise ConfigError("a patient gives at least one pair", given=per_patient, allowed="1 or more, or none: all")
    _, patient = np.unique(index["patient"].to_numpy(dtype=object), return_inverse=True)
    if negatives == "same-source":
        _, source = np.unique(index["source"].to_numpy(dtype=object), return_inverse=True)
    else:
        source = np.zeros(len(index), dtype=np.intp)
    genuine = genuine_pairs(patient, rng, per_patient=per_patient)
    if count is not None:
        if len(genuine) < count // 2:
            raise DataError(
                "not enough genuine pairs",
                given=f"{len(genuine)} of {count // 2}",
                do="ask for fewer pairs or allow more per patient",
            )
        genuine = genuine[np.sort(rng.choice(len(genuine), count // 2, replace=False))]
    impostors = impostor_pairs(patient, source, len(genuine), rng)
    a, b = np.concatenate([genuine, impostors]).T
    return Pairs(a, b, np.arange(len(a)) < len(genuine))


def genuine_pairs(
    patient: npt.NDArray[np.intp], rng: np.random.Generator, *, per_patient: int | None = None
) -> Rows:  # (n, 2)
    """All pairs of films of the same patient, or a random few of every patient; the earlier row stands first."""
    rows = np.argsort(patient, kind="stable")
    _, start, films = np.unique(patient[rows], return_index=True, return_counts=True)
    total = int((films * (films - 1) // 2).sum())
    if total > MOST_GENUINE:
        raise DataError("too many genuine pairs to list", given=f"{total:,}", allowed=f"up to {MOST_GENUINE:,}")
    # The k-th film of a patient is the second of k pairs: with the films 0 .. k-1 before it.
    before = np.arange(len(rows)) - np.repeat(start, films)
    second = np.repeat(np.arange(len(rows)), before)
    first = second - 1 - _places_within(before)
    pairs = rows[np.stack([first, second], axis=1)]
    if per_patient is not None:
        owner = patient[pairs[:, 0]]
        shuffled = np.lexsort([rng.random(len(pairs)), owner])
        _, owned = np.unique(owner, return_counts=True)
        pairs = pairs[np.sort(shuffled[_places_within(owned) < per_patient])]
    return np.asarray(pairs, dtype=np.intp).reshape(-1, 2)


def impostor_pairs(
    patient: npt.NDArray[np.intp], source: npt.NDArray[np.intp], count: int, rng: np.random.Generator
) -> Rows:  # (count, 2)
    """Different pairs of films of two patients at one source, each as likely as any other.

    Sorted by source and patient, the partners of a film are the films of its source before and after those of its
    patient: numbering them needs no rejection, however unevenly films are spread over patients.
    """
    rows = np.lexsort([patient, source])
    source_start, source_films = _runs(source[rows])
    patient_start, patient_films = _runs(source[rows] * (patient.max(initial=0) + 1) + patient[rows])
    partners = source_films - patient_films
    ends = np.cumsum(partners)
    ordered = int(ends[-1]) if len(ends) else 0  # every pair is counted from both of its ends
    if ordered // 2 < count:
        raise DataError(
            "not enough impostor pairs",
            given=f"{ordered // 2} of {count}",
            do="ask for fewer pairs, cap the genuine ones per patient, or allow impostors of all sources",
        )
    found = np.empty(0, dtype=np.int64)
    while len(found) < count:
        few = ordered <= 8 * count  # of more than these, random draws are nearly all different
        drawn = rng.permutation(ordered) if few else rng.integers(ordered, size=2 * count + 64)
        first = np.searchsorted(ends, drawn, side="right")
        place = drawn - (ends - partners)[first] + source_start[first]
        second = np.where(place < patient_start[first], place, place + patient_films[first])
        pair = np.minimum(first, second) * len(rows) + np.maximum(first, second)
        found = np.concatenate([found, pair])
        _, earliest = np.unique(found, return_index=True)
        found = found[np.sort(earliest)]
    pairs = rows[np.stack(np.divmod(found[:count], max(len(rows), 1)), axis=1)]
    # Which of the two stands first must tell nothing: the sorting would give it away.
    return np.asarray(rng.permuted(pairs, axis=1), dtype=np.intp)


def _places_within(lengths: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """0 .. n-1 for every length n, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _runs(values: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Where the run of equal values begins that each place of a sorted array belongs to, and how long it is."""
    _, start, inverse, length = np.unique(values, return_index=True, return_inverse=True, return_counts=True)
    return start[inverse], length[inverse]
