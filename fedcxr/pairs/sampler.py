"""Films by person, and what whoever learns from them draws: two films of one person, or one of anybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class PairSampler:
    """The films of each patient side by side; patients with two films or more can be shown as pairs."""

    rows: Rows  # (n,) films, sorted by patient
    start: Rows  # (p,) where a patient's rows begin
    count: Rows  # (p,) how many films a patient has

    @classmethod
    def of(cls, patients: npt.NDArray[np.object_]) -> PairSampler:
        """All patients, in the order of their first films: what they are called must not matter."""
        _, first, number = np.unique(patients, return_index=True, return_inverse=True)
        return cls(*sorted_by(np.argsort(np.argsort(first))[number]))

    @property
    def paired(self) -> int:
        """How many patients have two films."""
        return int((self.count > 1).sum())

    def pairs(self, most: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """Two different films of each of up to `most` patients."""
        return self.two_each(rng.permutation(np.flatnonzero(self.count > 1))[:most], rng)

    def two_each(self, chosen: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """Two different films of each of these patients; the same one twice of somebody who has no other."""
        first = rng.integers(self.count[chosen])
        others = np.maximum(self.count[chosen] - 1, 1)
        second = (first + 1 + rng.integers(others)) % self.count[chosen]
        return self.rows[self.start[chosen] + first], self.rows[self.start[chosen] + second]

    def anyone(self, most: int, rng: np.random.Generator) -> Rows:
        """One film of each of up to `most` patients."""
        chosen = rng.permutation(len(self.count))[:most]
        rows: Rows = self.rows[self.start[chosen] + rng.integers(self.count[chosen])]
        return rows


def sorted_by(number: npt.NDArray[np.integer]) -> tuple[Rows, Rows, Rows]:
    """Rows sorted by whose they are, where each one's begin, and how many each has."""
    rows = np.argsort(number, kind="stable").astype(np.intp)
    _, start, count = np.unique(number[rows], return_index=True, return_counts=True)
    return rows, start.astype(np.intp), count.astype(np.intp)
