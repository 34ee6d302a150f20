"""How well a figure of a thing agrees with the same figure of what was made of it: ICC and relative errors.

The ICC is that of absolute agreement of single measurements, ICC(A,1) (McGraw and Wong, Psychological Methods 1996;
ICC(2,1) of Shrout and Fleiss, 1979): unlike the ICC of consistency, ICC(3,1), it is lowered by a shift that all things
have in common, which matters to whoever has learnt on the one kind and reads the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CLASSES: Mapping[str, float] = {"poor": 0.40, "fair": 0.60, "good": 0.75, "excellent": math.inf}  # up to and with
VARIES = 1e-9  # of its largest value: what differs by less is rounding


def constant(values: Floats) -> npt.NDArray[np.bool_]:  # (f,)
    """Which of f figures of n things, (n, f), do not vary: there is nothing that could agree."""
    return np.asarray(np.ptp(values, axis=0) <= VARIES * np.abs(values).max(axis=0))


def icc(ours: Floats, theirs: Floats, times: Floats | None = None) -> Floats:  # (f,), or (r, f) with weights
    """Of f figures of n things, (n, f) each; with `times` (n, r), in which each thing counts so often, r times over.

    nan where nothing varies, or where fewer than two things count.
    """
    weights = np.ones((len(ours), 1)) if times is None else np.asarray(times, dtype=np.float64)
    pooled = np.concatenate([ours, theirs])
    scale = pooled.std(axis=0)
    a, b = ((one - pooled.mean(axis=0)) / np.where(scale > 0, scale, 1.0) for one in (ours, theirs))
    n = weights.sum(axis=0)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_a, mean_b = (weights.T @ one / n for one in (a, b))
        freedom = n - 1
        aa, bb, ab = (
            (weights.T @ product - n * means) / freedom
            for product, means in ((a * a, mean_a**2), (b * b, mean_b**2), (a * b, mean_a * mean_b))
        )
        shift = (mean_a - mean_b) ** 2 - (aa + bb - 2 * ab) / n
        whole = aa + bb + shift
        found = np.where((scale > 0) & (n > 1) & (whole > 0), 2 * ab / whole, np.nan)
    return found[0] if times is None else found


def class_of(value: float) -> str:
    """Of an ICC."""
    return next(name for name, most in CLASSES.items() if value <= most)


def relative_errors(ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:  # (f,) each
    """The mean of (theirs - ours) / ours over things, and of its size; nan where ours is 0 throughout."""
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.where(ours != 0, (theirs - ours) / ours, np.nan)
    known = np.isfinite(errors)
    things = known.sum(axis=0)
    with np.errstate(invalid="ignore"):
        errors = np.where(known, errors, 0.0)
        return errors.sum(axis=0) / things, np.abs(errors).sum(axis=0) / things
