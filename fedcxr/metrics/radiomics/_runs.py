"""GLRLM: pixels of one level in a row, in each of four directions; the mean over directions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedcxr.metrics.radiomics._emphasis import Counted
from fedcxr.metrics.radiomics._levels import Floats, Levels

DIRECTIONS = 4
Whole = npt.NDArray[np.int64]


def runs(levels: Levels) -> dict[str, Floats]:
    """16 features, (n,) each; nan for a mask of one pixel. A direction whose lines hold one pixel each is none."""
    n, height, width = levels.grid.shape
    flat = np.concatenate([levels.grid.reshape(n, -1), np.zeros((n, 1), dtype=np.int64)], axis=1)
    owners, grey, lengths = [], [], []
    there = np.zeros((n, DIRECTIONS), dtype=np.bool_)
    for direction, (order, line) in enumerate(_lines(height, width)):
        walked = np.take(flat, order, axis=1).ravel()
        starts = np.flatnonzero(walked[1:] != walked[:-1]) + 1
        inside = walked[starts] > 0
        begun, length = starts[inside], np.diff(starts, append=len(walked))[inside]
        film = begun // len(order)
        owners.append(film * DIRECTIONS + direction)
        grey.append(walked[begun])
        lengths.append(length)
        there[film[length > 1], direction] = True
        if not there[:, direction].all():  # two runs of one pixel in a line will do
            lines = film * (line[-1] + 1) + line[begun % len(order)]
            there[film[1:][lines[1:] == lines[:-1]], direction] = True
    found = Counted.of(np.concatenate(owners), np.concatenate(grey), np.concatenate(lengths), n * DIRECTIONS)
    told = found.features("ShortRun", "LongRun", "RunLength", "Run", "RunEmphasis") | found.beside_pixels(
        "RunPercentage"
    )
    several = there.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return {name: (one.reshape(n, -1) * there).sum(axis=1) / several for name, one in told.items()}


@lru_cache(maxsize=4)
def _lines(height: int, width: int) -> tuple[tuple[Whole, Whole], ...]:
    """In which order each direction comes upon the pixels, and of which line each is.

    Every line begins with a place outside (h * w), so that no run goes on in the next.
    """
    places = np.arange(height * width).reshape(height, width)
    ways = [
        list(places),
        list(places.T),
        [places.diagonal(offset) for offset in range(1 - height, width)],
        [places[:, ::-1].diagonal(offset) for offset in range(1 - height, width)],
    ]
    return tuple(
        (
            np.concatenate([np.append(places.size, line) for line in way]),
            np.repeat(np.arange(len(way)), [len(line) + 1 for line in way]),
        )
        for way in ways
    )
