"""What an attack finds of single people: how many of their films it tells where one in a hundred of others' is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.metrics import Floats, verification
from fedcxr.questions._people import quantiles

Counts = npt.NDArray[np.float64]
AT = "0.01"  # share of films of which it is not true that may be told; a higher one finds everybody by luck


@dataclass(frozen=True)
class ToldApart:
    """By person, how often something was said that is true of their films, and how often it could be said."""

    right: Counts  # (p,)
    of: Counts  # (p,)

    @classmethod
    def of_films(cls, questions: Iterable[tuple[Floats, Floats]], people: npt.NDArray[np.intp]) -> ToldApart:
        """Of n films of 0, 1, ... p - 1: by question, scores and whether it is true of each, 1 or 0, or NaN: unknown.

        A question of which so few films are not true that one in a hundred cannot be seen is left out.
        """
        right, of = np.zeros(people.max(initial=-1) + 1), np.zeros(people.max(initial=-1) + 1)
        for scores, answer in questions:
            true = answer == 1
            point = verification(scores[true], scores[answer == 0]).at_fpr[AT]
            if point is not None:
                right += np.bincount(people, true & (scores > point.above), len(of))
                of += np.bincount(people, true, len(of))
        return cls(right, of)

    @property
    def rates(self) -> Counts:
        """Of everybody who has such films."""
        return self.right[self.of > 0] / self.of[self.of > 0]

    def told(self) -> dict[str, Any] | None:
        """For result.json; None: nobody has such films, or they are too few to see a rate of one in a hundred."""
        rates, films = self.rates, self.of[self.of > 0]
        if not len(rates):
            return None
        worst = int(np.lexsort((films, rates))[-1])
        return {
            "patients": len(rates),
            f"tpr_at_{AT}": quantiles(rates),
            "always_found": int((rates == 1).sum()),
            "never_found": int((rates == 0).sum()),
            "worst": {"films": int(films[worst]), f"tpr_at_{AT}": float(rates[worst])},
        }
