"""Grey levels for texture: between the darkest and the brightest pixel inside a mask, so many bins of equal width."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BINS = 64
GREYS = 256
TINY = float(np.spacing(1.0))  # what pyradiomics adds below a logarithm or a fraction


@dataclass(frozen=True)
class Levels:
    """Films of one shape, binned each for itself."""

    grid: npt.NDArray[np.int64]  # (n, h, w) of 1 to BINS; 0 outside the mask
    greys: npt.NDArray[np.int64]  # (n, GREYS) how many pixels inside have this grey

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:  # (n, BINS)
        """How many pixels have a level."""
        n = len(self.grid)
        codes = np.arange(n)[:, None, None] * (BINS + 1) + self.grid
        return np.asarray(np.bincount(codes.ravel(), minlength=n * (BINS + 1)).reshape(n, -1)[:, 1:])

    @property
    def highest(self) -> npt.NDArray[np.int64]:  # (n,)
        return np.asarray(self.grid.max(axis=(1, 2)))


def binned(films: npt.NDArray[np.uint8], masks: Bools) -> Levels:
    """Levels inside masks, none of which is empty. A film of one grey is all of the middle level."""
    n = len(films)
    codes = np.where(masks, films, np.int64(GREYS)) + np.arange(n)[:, None, None] * (GREYS + 1)
    greys = np.bincount(codes.ravel(), minlength=n * (GREYS + 1)).reshape(n, -1)[:, :GREYS]
    levels = np.zeros((n, GREYS + 1), dtype=np.int64)
    for row, present in enumerate(greys > 0):
        lowest, highest = np.flatnonzero(present)[[0, -1]]
        edges = np.histogram_bin_edges(np.array([lowest, highest], dtype=np.float64), BINS)
        edges[-1] += 1  # the last bin has its upper edge
        levels[row, lowest : highest + 1] = np.searchsorted(edges, np.arange(lowest, highest + 1), side="right")
    return Levels(levels.ravel()[codes], greys)
