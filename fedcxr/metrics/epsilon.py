"""An empirical lower bound on epsilon: what an attack that tells members from others proves about any guarantee.

Under (epsilon, delta) differential privacy every test of membership has TPR <= e^epsilon FPR + delta, and the same with
the rates of those who are let through (Kairouz et al. 2015; Jagielski et al. 2020). So rates that were observed,
bounded by Clopper and Pearson, bound epsilon from below. The test is chosen on one half of the people and its rates are
taken from the other half, or the bound would be of whoever happened to stand out.

Our deviation: the rates are over people in one model, not over many models with and without one person, and people
count as independent of each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcxr.errors import DataError
from fedcxr.metrics import Floats, finite_order

Counts = npt.NDArray[np.intp]
FEWEST = 4  # members, and as many others, of whom a half chooses a test and the other half takes it


@dataclass(frozen=True)
class Bound:
    """What is proved of epsilon with some confidence."""

    value: float  # epsilon is at least this
    provable: float  # what a test without a mistake would have proved with so many people
    delta: float
    confidence: float
    people: int  # whose rates were taken: half of all


def epsilon_at_least(
    members: Floats, others: Floats, delta: float, rng: np.random.Generator, confidence: float = 0.95
) -> Bound | None:
    """From scores of people who were learnt from and of people who were not; None: there are too few of either."""
    if not 0 < confidence < 1 or not 0 <= delta < 1:
        raise DataError("confidence and delta are shares", given=f"{confidence} and {delta}")
    if min(len(members), len(others)) < FEWEST:
        return None
    (chosen, taken), (others_chosen, others_taken) = halves(members, rng), halves(others, rng)
    levels = np.unique(np.concatenate([chosen, others_chosen]))
    thresholds = (levels[:-1] + levels[1:]) / 2 if len(levels) > 1 else levels
    sides = _Rates.of(chosen, others_chosen, thresholds)
    found = [side.bounds(delta, confidence) for side in sides]
    side, place = divmod(int(np.argmax(found)), len(thresholds))
    tested = _Rates.of(taken, others_taken, thresholds[[place]])[side]
    flawless = _Rates(np.array([len(taken)]), len(taken), np.array([0]), len(others_taken))
    value, provable = (float(rates.bounds(delta, confidence)[0]) for rates in (tested, flawless))
    return Bound(value, provable, delta, confidence, len(taken) + len(others_taken))


def halves(scores: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Two halves at random."""
    order = rng.permutation(len(scores))
    return finite_order(scores)[order[::2]], finite_order(scores)[order[1::2]]


@dataclass(frozen=True)
class _Rates:
    """Of whom a test says something: rightly, of so many, and wrongly, of so many."""

    right: Counts  # (t,) one for each threshold
    of_right: int
    wrong: Counts  # (t,)
    of_wrong: int

    @classmethod
    def of(cls, members: Floats, others: Floats, thresholds: Floats) -> tuple[_Rates, _Rates]:
        """Whoever scores more than a threshold is called a member; and whoever does not is called another."""
        above, false = (
            len(scores) - np.searchsorted(np.sort(scores), thresholds, "right") for scores in (members, others)
        )
        m, n = len(members), len(others)
        return cls(above, m, false, n), cls(n - false, n, m - above, m)

    def bounds(self, delta: float, confidence: float) -> npt.NDArray[np.float64]:  # (t,)
        """The least epsilon with which such rates are seen, each rate bounded with half of what may go wrong."""
        from scipy.stats import beta

        level = (1 - confidence) / 2
        at_least = np.where(self.right > 0, beta.ppf(level, self.right, self.of_right - self.right + 1), 0.0)
        at_most = np.where(
            self.wrong < self.of_wrong, beta.ppf(1 - level, self.wrong + 1, self.of_wrong - self.wrong), 1.0
        )
        more = np.maximum(at_least - delta, 0.0)
        with np.errstate(divide="ignore"):
            return np.maximum(np.log(more / at_most), 0.0)
