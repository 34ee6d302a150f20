"""What can be counted and weighed of a released file without looking at it as a picture of a chest."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float32]  # (k,)

LEVELS = 16  # equal shares of a film's pixels, between which grey levels are read
STEPS = (1, 2, 4)  # pixels between two that are compared


def numbers(path: Path, film: npt.NDArray[np.uint8], width: int, height: int) -> Numbers:
    """Of the file: bytes, width and height. Of the film: how well it packs, its grey levels, its steps and its halves."""
    scaled = film.astype(np.float32) / 255
    shares = np.bincount(film.ravel(), minlength=256) / film.size
    present = shares[shares > 0]
    steps = [
        math.log(float(np.abs(d).mean()) + 1e-3) for s in STEPS for d in (scaled[s:] - scaled[:-s], _across(scaled, s))
    ]
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


def _across(scaled: npt.NDArray[np.float32], step: int) -> npt.NDArray[np.float32]:
    return np.asarray(scaled[:, step:] - scaled[:, :-step])
