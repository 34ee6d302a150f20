"""Replicates of a figure that can be subtracted from another run's, whatever that run did with the films.

How often a patient is drawn in a replicate follows from the patient's name alone: once on average, as Poisson's law has
it. So two runs draw the patients that they have in common equally often, whichever others they have, and in the
difference of two replicates it cancels out how easy these patients are. Runs whose seeds differ share patients too, and
that their figures stand or fall together shows as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.metrics import MIN_POSITIVES, Bools, Floats, Ids, scored_findings
from fedcxr.metrics._ranking import Indices, Weights, kept, rank, row_means, share
from fedcxr.rng import stream

REPLICATES = 500  # the standard error that they give is right to 3 %
MOST_NEGATIVES = 500_000  # more than these are thinned to a random subset
_CELLS = 32_000_000  # weights held at once, 128 MB
_DIGITS = 5


@dataclass(frozen=True)
class Replicates:
    """Of one figure of one run."""

    patients: int
    values: tuple[float | None, ...]  # None where the figure is undefined

    @classmethod
    def of(cls, patients: int, values: npt.NDArray[np.float64]) -> Replicates:
        return cls(patients, tuple(None if np.isnan(one) else round(float(one), _DIGITS) for one in values))

    def told(self) -> dict[str, Any]:
        """As plain data."""
        return {"patients": self.patients, "values": list(self.values)}


def of_pairs(scores: Floats, genuine: Bools, pairs: Indices, names: Ids) -> Replicates | None:
    """Of the AUC of n scored pairs of films, (2, n) by the places of their patients among `names`.

    None where fewer than two pairs of patients are genuine, or are not. Counted are the patients of the first side.
    """
    chosen = kept(genuine, MOST_NEGATIVES, stream(0, "paired", "thinned"))
    ranking = rank(scores[chosen], genuine[chosen], pairs[:, chosen], len(names))
    if not ranking.varies:
        return None
    aucs = np.concatenate([ranking.aucs(times) for times in _weights(names, ranking.cells)])
    return Replicates.of(len(np.unique(pairs[0])), aucs)


def of_findings(labels: Floats, scores: Floats, patients: Ids, min_positives: int = MIN_POSITIVES) -> Replicates | None:
    """Of the mean AUC of the findings: labels (n, k) of 0, 1 or NaN, scores (n, k); None where it cannot vary."""
    names, owner = np.unique(patients, return_inverse=True)
    rankings = []
    for column in np.flatnonzero(scored_findings(labels, min_positives)).tolist():
        known = ~np.isnan(labels[:, column])
        pair = np.stack([owner[known], owner[known]])  # a film is weighted as a pair within its patient is
        rankings.append(rank(scores[known, column], labels[known, column] == 1, pair, len(names)))
    if not any(ranking.varies for ranking in rankings):
        return None
    cells = max(ranking.cells for ranking in rankings)
    drawn = _weights(names, cells)
    means = [row_means(np.stack([ranking.aucs(times) for ranking in rankings], axis=1)) for times in drawn]
    return Replicates.of(len(names), np.concatenate(means))


def of_films(patients: Ids, figure: Callable[[Weights], npt.NDArray[np.float64]]) -> Replicates | None:
    """Of any figure of n films, from how often each counts, (n, r); None unless they are of two patients or more."""
    names, owner = np.unique(patients, return_inverse=True)
    if len(names) < 2:
        return None
    drawn = _weights(names, len(owner))
    return Replicates.of(len(names), np.concatenate([figure(times[owner]) for times in drawn]))


def of_means(values: Floats, patients: Ids) -> Replicates | None:
    """Of the mean of a figure per film, (n,), nan where a film has none; None where two patients do not have it."""
    known = ~np.isnan(values)
    some = values[known].astype(np.float64)

    def mean(times: Weights) -> npt.NDArray[np.float64]:
        drawn = times.astype(np.float64)
        return share(some @ drawn, drawn.sum(axis=0))

    return of_films(patients[known], mean)


def _weights(names: Ids, cells: int) -> Iterator[Weights]:
    """How often each patient is drawn, (patients + 1, r) for r replicates at a time; the last row is ones."""
    times = np.ones((len(names) + 1, REPLICATES), dtype=np.float32)
    for row, name in enumerate(names):
        times[row] = stream(0, "paired", "patient", str(name)).poisson(1.0, REPLICATES)
    together = max(8, _CELLS // (len(names) + cells))
    for start in range(0, REPLICATES, together):
        yield np.ascontiguousarray(times[:, start : start + together])
