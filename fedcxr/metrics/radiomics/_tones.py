"""NGTDM: how far a pixel's level is from the mean of the eight around it."""

from __future__ import annotations

import numpy as np

from fedcxr.metrics.radiomics._levels import BINS, Floats, Levels

LEVEL = np.arange(1, BINS + 1, dtype=np.float64)
MOST_COARSE = 1e6  # of a film in which no pixel differs from those around it


def tones(levels: Levels) -> dict[str, Floats]:
    """5 features, (n,) each."""
    grid = levels.grid
    n = len(grid)
    around, several = _around(grid), _around((grid > 0).astype(np.int64))
    differs = np.abs(grid - around / np.maximum(several, 1)) * (several > 0)
    codes = np.arange(n)[:, None, None] * (BINS + 1) + grid
    s = np.bincount(codes.ravel(), differs.ravel(), n * (BINS + 1)).reshape(n, -1)[:, 1:]
    p = levels.counts / levels.counts.sum(axis=1, keepdims=True)
    there, pixels, total = p > 0, levels.counts.sum(axis=1), s.sum(axis=1)
    both = there[:, :, None] & there[:, None, :]
    apart = np.abs(LEVEL[:, None] - LEVEL)
    weighted, sums = p * s, np.where(both, p[:, :, None] + p[:, None, :], 0.0)
    coarse, several_levels = weighted.sum(axis=1), there.sum(axis=1)
    spread = np.einsum("ni,nj,ij->n", p, p, apart**2)
    by_level = p * LEVEL
    busy = (np.abs(by_level[:, :, None] - by_level[:, None, :]) * both).sum(axis=(1, 2))
    jumps = apart * (weighted[:, :, None] + weighted[:, None, :]) * both / np.where(sums > 0, sums, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ways = several_levels * (several_levels - 1)
        return {
            "Busyness": np.where(busy == 0, 0.0, coarse / busy),
            "Coarseness": np.where(coarse == 0, MOST_COARSE, 1 / coarse),
            "Complexity": jumps.sum(axis=(1, 2)) / pixels,
            "Contrast": np.where(ways == 0, 0.0, spread * total / pixels / ways),
            "Strength": np.where(total == 0, 0.0, (sums * apart**2).sum(axis=(1, 2)) / total),
        }


def _around(values: np.ndarray) -> np.ndarray:  # (n, h, w)
    """The sum over the eight pixels around each."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return np.asarray(rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] - values)
