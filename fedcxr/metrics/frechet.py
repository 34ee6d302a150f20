"""How far apart two sets of feature vectors lie: the Frechet distance of the normal distributions that fit them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def frechet(ours: Floats, theirs: Floats) -> float:
    """Of vectors (n, f) and (m, f), two or more each; also where there are fewer of them than features.

    d^2 = |mean - mean|^2 + tr S + tr T - 2 tr (S^1/2 T S^1/2)^1/2. With S = A'A and T = B'B the last trace is the sum
    of the singular values of AB', which needs no root of a matrix that may be singular.
    """
    (mean, a), (other, b) = _factor(ours), _factor(theirs)
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    squared = ((mean - other) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * shared
    return float(np.sqrt(max(squared, 0.0)))


def _factor(vectors: Floats) -> tuple[Floats, Floats]:
    """The mean, and A with A'A the covariance; no longer than wide."""
    mean = vectors.mean(axis=0)
    centred = (vectors - mean) / np.sqrt(len(vectors) - 1)
    return mean, np.asarray(np.linalg.qr(centred, mode="r") if len(centred) > centred.shape[1] else centred)
