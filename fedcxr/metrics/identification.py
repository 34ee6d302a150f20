"""Searching a gallery for each of many probes: at which rank its patient is found, and who is found who is not there.

Every candidate of a gallery is scored against every probe. A probe has a mate if a candidate is of its patient; one
without is of somebody unknown, and whatever is found of them is a false alarm (open set). Candidates with equal scores
are taken in random order and the expected value is reported, as in `retrieval`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.metrics import Bools, Floats, finite_order

Counts = npt.NDArray[np.intp]

RANKS = (1, 5, 10, 20, 50)
FALSE_ALARM_RATES = ("0.01", "0.1")  # as text, because they are keys of result.json


@dataclass(frozen=True)
class Search:
    """What is found, probe by probe, of those that have a candidate to be compared with at all."""

    top: Floats  # (n,) the best score
    mated: Bools  # (n,) whether there is anything to be found
    better: Counts  # (n,) candidates that score higher than the best mate
    tied: Counts  # (n,) those that score the same, itself among them
    mates: Counts  # (n,) the mates among those

    @classmethod
    def of(cls, scores: Floats, genuine: Bools, allowed: Bools | None = None) -> Search:
        """Scores (q, g), which of these pairs are of one patient, and which may be compared (None: all)."""
        scores = finite_order(scores)
        compared = np.ones_like(genuine) if allowed is None else allowed
        asked = compared.any(axis=1)
        scores, genuine, compared = scores[asked], (genuine & compared)[asked], compared[asked]
        best = np.where(genuine, scores, -np.inf).max(axis=1, initial=-np.inf)
        level = compared & (scores == best[:, None])
        return cls(
            top=np.where(compared, scores, -np.inf).max(axis=1, initial=-np.inf),
            mated=np.asarray(genuine.any(axis=1)),
            better=(compared & (scores > best[:, None])).sum(axis=1),
            tied=level.sum(axis=1),
            mates=(level & genuine).sum(axis=1),
        )

    def within(self, rank: int) -> npt.NDArray[np.float64]:  # (n,)
        """The chance that one of the first so many candidates is a mate; 0 for who has none."""
        drawn = np.clip(rank - self.better, 0, self.tied)  # of the candidates that tie, without putting back
        missed = np.ones(len(self.top))
        for place in range(int(drawn.max(initial=0))):
            left = np.maximum(self.tied - self.mates - place, 0) / np.maximum(self.tied - place, 1)
            missed *= np.where(place < drawn, left, 1.0)
        return np.where(self.mated, 1 - missed, 0.0)

    @cached_property
    def first(self) -> npt.NDArray[np.float64]:  # (n,)
        """The chance that a mate is found first."""
        return self.within(1)

    @property
    def rank_curve(self) -> dict[str, float | None]:
        """By rank, the share of mated probes that are found by then (cumulative match characteristic)."""
        if not self.mated.any():
            return dict.fromkeys(map(str, RANKS))
        return {str(rank): float(self.within(rank)[self.mated].mean()) for rank in RANKS}

    @property
    def open_set(self) -> dict[str, Any]:
        """By false alarm rate, the share of mated probes whose mate is found first and accepted.

        A false alarm is a probe of somebody unknown of whom anything is accepted. None where there are too few of them
        to observe such a rate.
        """
        strangers = np.sort(self.top[~self.mated])[::-1]
        found = {
            rate: self._identified(int(len(strangers) * float(rate) + 1e-9), strangers) for rate in FALSE_ALARM_RATES
        }
        return {"mated": int(self.mated.sum()), "unknown": len(strangers), "at_false_alarms": found}

    def _identified(self, alarms: int, strangers: Floats) -> dict[str, Any] | None:
        if not alarms or not self.mated.any():
            return None
        above = strangers[alarms]
        raised = int((strangers > above).sum())
        rate = float((self.first * (self.top > above))[self.mated].mean())
        return {"rate": rate, "false_alarms": raised, "realised": raised / len(strangers)}
