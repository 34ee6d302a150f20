"""Sex and age as one more opinion: how much likelier is one person than two, by what is told of two films?

Whether the sex is the same and how many years lie between two films are counted in pairs of one's own, each by itself.
What is not told of a film says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries import Leak
from fedcxr.adversaries._back_end import Album, Compare, Comparison, Scores
from fedcxr.adversaries._canonical import Numbers, People

YEARS = (0.5, 1.5, 2.5, 3.5, 5.5, 8.5, 12.5, 20.5, 30.5)  # between two films, at which the next bin begins
FEWEST = 0.5  # pairs that every bin is taken to hold beside those counted, so that nothing is impossible

Bins = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Demographics:
    """What an adversary was told of films, (n, 2) each: sex, 0 or 1, and age in years; NaN: unknown."""

    own: Numbers
    released: Numbers
    known: Numbers

    @classmethod
    def of(cls, leak: Leak) -> Self | None:
        """None where nothing was told."""
        held = leak.holdings.get("demographics")
        if held is None:
            return None
        own, released, known = (
            np.stack([held.arrays[f"{part} sex"], held.arrays[f"{part} age"]], axis=1).astype(np.float32)
            for part in ("own", "released", "known")
        )
        return cls(own, released, known)


def comparison(told: Numbers, album: Album) -> Comparison:
    """Learnt from all of one's own films, and for pairs judged from the others' alone, if there are others."""
    judged = album.judged
    others = np.setdiff1d(np.arange(len(told)), judged)
    without = others if len(others) else judged
    blind = _learnt(told[without], album.people[without])
    return Comparison(_learnt(told, album.people), blind(told[judged], told[judged]))


def _learnt(told: Numbers, people: People) -> Compare:
    apart = ~np.eye(len(people), dtype=bool)
    genuine = people[:, None] == people[None]
    tables = [
        _log_ratio(bins[genuine & apart], bins[~genuine], number)
        for bins, number in zip(_binned(told, told), (2, len(YEARS) + 1), strict=True)
    ]

    def compare(some: Numbers, others: Numbers) -> Scores:
        sex, years = (table[bins] for table, bins in zip(tables, _binned(some, others), strict=True))
        total: Scores = sex + years
        return total

    return compare


def _log_ratio(genuine: Bins, strangers: Bins, number: int) -> npt.NDArray[np.float32]:  # (number + 1,)
    """How much likelier each bin is among pairs of one person; the last bin is of the unknown."""
    frequencies = []
    for bins in (genuine, strangers):
        counts = np.bincount(bins, minlength=number + 1)[:number] + FEWEST
        frequencies.append(counts / counts.sum())
    return np.append(np.log(frequencies[0] / frequencies[1]), 0).astype(np.float32)


def _binned(some: Numbers, others: Numbers) -> tuple[Bins, Bins]:  # (n, m) each
    """Whether the sex is the same, 0 or 1, or unknown, 2; and of the years between the films which bin, or the last."""
    apart = np.abs(some[:, None] - others[None])
    sex = np.where(np.isnan(apart[..., 0]), 2, apart[..., 0] > 0)
    years = np.where(np.isnan(apart[..., 1]), len(YEARS) + 1, np.digitize(apart[..., 1], YEARS))
    return sex.astype(np.intp), years.astype(np.intp)
