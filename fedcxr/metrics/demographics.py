"""Sex and age as evidence: how much likelier two films are of one person, from nothing but who is on them.

Beside a picture this sorts out half of all pairs by sex and most others by age. Log-odds at even prior odds, so that
they may be added to what else is known, as far as that is independent of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcxr.errors import DataError
from fedcxr.metrics import Floats, Ids
from fedcxr.metrics._own_pairs import balanced_pairs

YEARS = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0)  # where differences of age are told apart: finely where patients return


@dataclass(frozen=True)
class People:
    """Who is on some films: `sex` (n,) 0 or 1 and `age` (n,) in years; NaN: unknown."""

    sex: Floats
    age: Floats

    def __post_init__(self) -> None:
        if self.sex.shape != self.age.shape or self.sex.ndim != 1:
            raise DataError("sex and age are one number per film", given=f"{self.sex.shape} and {self.age.shape}")


@dataclass(frozen=True)
class DemographicBaseline:
    """Log-likelihood ratios of two facts about a pair of films: of equal sex or not, and how many years apart.

    A fact that is unknown of either film says nothing. The order of the two films does not matter.
    """

    sex: npt.NDArray[np.float32]  # (3,) equal, different, unknown
    age: npt.NDArray[np.float32]  # (len(YEARS) + 2,) by difference, then unknown

    @classmethod
    def fit(cls, people: People, patients: Ids, rng: np.random.Generator) -> DemographicBaseline:
        """Learn on own films: who is on them, and whose they are (n,)."""
        a, b, genuine = balanced_pairs(patients, rng)
        sexes = _sexes(people.sex[a], people.sex[b])
        years = _years(people.age[a], people.age[b])
        return cls(_ratios(sexes, genuine, 3), _ratios(years, genuine, len(YEARS) + 2))

    def score(self, some: People, others: People) -> npt.NDArray[np.float32]:  # (n, m)
        """Log-odds, at even prior odds, that films (n) and (m) are of one person."""
        sexes = _sexes(some.sex[:, None], others.sex[None])
        years = _years(some.age[:, None], others.age[None])
        return np.asarray(self.sex[sexes] + self.age[years], dtype=np.float32)


def _sexes(one: Floats, other: Floats) -> npt.NDArray[np.intp]:
    """0 equal, 1 different, 2 unknown."""
    unknown = np.isnan(one) | np.isnan(other)
    return np.where(unknown, 2, one != other).astype(np.intp)


def _years(one: Floats, other: Floats) -> npt.NDArray[np.intp]:
    """Which of the differences between YEARS; the last is unknown."""
    apart = np.abs(one - other)
    return np.where(np.isnan(apart), len(YEARS) + 1, np.searchsorted(YEARS, apart, side="right")).astype(np.intp)


def _ratios(facts: npt.NDArray[np.intp], genuine: npt.NDArray[np.bool_], kinds: int) -> npt.NDArray[np.float32]:
    """The log-ratio of each kind of fact among pairs of one patient and of two; the last kind is unknown, and says 0.

    One pair more of each kind than there were, as Laplace has it: what never occurred may occur.
    """
    counts = [np.bincount(facts[of], minlength=kinds)[: kinds - 1] + 1.0 for of in (genuine, ~genuine)]
    one, two = (np.log(count / count.sum()) for count in counts)
    return np.append(one - two, 0.0).astype(np.float32)
