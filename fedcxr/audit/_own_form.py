"""What can be counted and weighed of a released file without looking at it as a picture of a chest."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float32]  # (k,)

LEVELS = 16  # equal shares of a film's pixels, between which grey levels are read
STEPS = (1, 2, 4)  # pixels between two that are compared


def numbers(path: Path, film: npt.NDArray[np.uint8], width: int, height: int) -> Numbers:
    """Of the file: bytes, width and height. Of the film: how well it packs, its grey levels, steps and quarters."""
    scaled = film.astype(np.float32) / 255
    shares = np.bincount(film.ravel(), minlength=256) / film.size
    present = shares[shares > 0]
    steps = [_step(part, step) for step in STEPS for part in (scaled, scaled.T)]
    quarters = [float(part.mean()) for half in np.array_split(scaled, 2) for part in np.array_split(half, 2, axis=1)]
    told = [
        math.log(max(path.stat().st_size, 1)),
        math.log(width),
        math.log(height),
        math.log(len(zlib.compress(film.tobytes(), 6))),
        math.log(len(zlib.compress(np.diff(film, axis=1, prepend=0).tobytes(), 6))),
        float(scaled.mean()),
        float(scaled.std()),
        float(-(present * np.log(present)).sum()),
        float(shares[0]),
        float(shares[255]),
        *steps,
        *quarters,
        *np.quantile(scaled, np.linspace(0, 1, LEVELS + 1)).tolist(),
    ]
    return np.array(told, dtype=np.float32)


def _step(scaled: npt.NDArray[np.floating[Any]], rows: int) -> float:
    """How much rows differ that lie so far apart: a logarithm."""
    return math.log(float(np.abs(scaled[rows:] - scaled[:-rows]).mean()) + 1e-3)
