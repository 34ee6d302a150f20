"""GLDM: how many of the eight pixels around one have its very level, and itself."""

from __future__ import annotations

import numpy as np

from fedcxr.metrics.radiomics._emphasis import Counted
from fedcxr.metrics.radiomics._levels import Floats, Levels


def dependence(levels: Levels) -> dict[str, Floats]:
    """14 features, (n,) each."""
    grid = levels.grid
    alike = np.ones_like(grid)
    for ours, theirs in (
        (np.s_[:, :, :-1], np.s_[:, :, 1:]),
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:, :-1, :-1], np.s_[:, 1:, 1:]),
        (np.s_[:, :-1, 1:], np.s_[:, 1:, :-1]),
    ):
        same = grid[ours] == grid[theirs]
        alike[ours] += same
        alike[theirs] += same
    film, row, column = np.nonzero(grid)
    found = Counted.of(film, grid[film, row, column], alike[film, row, column], len(grid))
    return found.features("SmallDependence", "LargeDependence", "Dependence", "Dependence", "Emphasis")
