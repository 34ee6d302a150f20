"""Whose films a hospital practises on: pairs of two films of one patient, and films of everybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Couples:
    """The films of each patient side by side; patients with two films or more can be shown as pairs."""

    rows: Rows  # (n,) films, sorted by patient
    start: Rows  # (p,) where a patient's rows begin
    count: Rows  # (p,) how many films a patient has

    @classmethod
    def of(cls, patients: npt.NDArray[np.object_]) -> Couples:
        """All patients, in the order of their first films: what they are called must not matter."""
        _, first, number = np.unique(patients, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))
        number = order[number]
        rows = np.argsort(number, kind="stable").astype(np.intp)
        _, start, count = np.unique(number[rows], return_index=True, return_counts=True)
        return cls(rows, start.astype(np.intp), count.astype(np.intp))

    @property
    def paired(self) -> int:
        """How many patients have two films."""
        return int((self.count > 1).sum())

    def pairs(self, most: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """Two different films of each of up to `most` patients."""
        chosen = rng.permutation(np.flatnonzero(self.count > 1))[:most]
        first = rng.integers(self.count[chosen])
        second = (first + 1 + rng.integers(self.count[chosen] - 1)) % self.count[chosen]
        return self.rows[self.start[chosen] + first], self.rows[self.start[chosen] + second]

    def anyone(self, most: int, rng: np.random.Generator) -> Rows:
        """One film of each of up to `most` patients."""
        chosen = rng.permutation(len(self.count))[:most]
        rows: Rows = self.rows[self.start[chosen] + rng.integers(self.count[chosen])]
        return rows
