"""Some of the people in a cohort: the same ones first, however many are wanted, and of each split its share."""

from __future__ import annotations

import numpy as np

from fedcxr.cohort import Cohort
from fedcxr.world import Bools


def some_people(cohort: Cohort, people: int, rng: np.random.Generator) -> Bools:  # (n,)
    """Which films are of so many people, drawn at random; fewer are some of more, as a curve needs it."""
    names, first, number = np.unique(cohort.patients, return_index=True, return_inverse=True)
    split = cohort.index["split"].to_numpy(dtype=object)[first]
    turn = np.empty(len(names))  # when somebody's turn comes, between 0 and 1
    for part in np.unique(split):
        of_it = np.flatnonzero(split == part)
        turn[rng.permutation(of_it)] = (np.arange(len(of_it)) + 0.5) / len(of_it)
    chosen = np.zeros(len(names), dtype=np.bool_)
    chosen[np.argsort(turn, kind="stable")[:people]] = True
    return np.asarray(chosen[number])
