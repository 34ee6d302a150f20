"""GLCM: which grey levels are neighbours, in each of four directions, either way round; the mean over directions."""

from __future__ import annotations

import numpy as np

from fedcxr.metrics.radiomics._levels import BINS, TINY, Floats, Levels

LEVEL = np.arange(1, BINS + 1, dtype=np.float64)
SUM, APART = np.arange(2, 2 * BINS + 1), np.arange(BINS)  # of two levels: their sum, and how far they are apart


def _members(kinds: np.ndarray, of: np.ndarray) -> Floats:
    """Which pairs of levels are of which kind, (pairs, kinds)."""
    return np.asarray(of.reshape(-1, 1) == kinds, dtype=np.float64)


_I, _J = np.meshgrid(np.arange(1, BINS + 1), np.arange(1, BINS + 1), indexing="ij")
_BY_SUM, _BY_DISTANCE = _members(SUM, _I + _J), _members(APART, np.abs(_I - _J))


def cooccurrence(levels: Levels) -> dict[str, Floats]:
    """24 features, (n,) each; nan for a mask in which no two pixels are neighbours."""
    joint = _matrices(levels)  # (n, 4, BINS, BINS)
    n = len(joint)
    pairs = joint.sum(axis=(2, 3))
    there = pairs > 0  # a direction without any pair counts for nothing
    p = joint / np.where(there, pairs, 1.0)[:, :, None, None]
    flat = p.reshape(n, 4, -1)
    px, sums, differences = p.sum(axis=3), flat @ _BY_SUM, flat @ _BY_DISTANCE
    mean = px @ LEVEL
    variance = (px * (LEVEL - mean[..., None]) ** 2).sum(axis=2)
    product = flat @ (_I * _J).ravel().astype(np.float64)
    from_mean = SUM - 2 * mean[..., None]
    apart = differences @ APART
    entropy, of_sums, of_differences, of_levels = map(_entropy, (flat, sums, differences, px))
    independent = (px[..., :, None] * px[..., None, :]).reshape(n, 4, -1)
    log_independent = np.log2(independent + TINY)
    crossed, own = -(flat * log_independent).sum(axis=2), -(independent * log_independent).sum(axis=2)
    largest = levels.highest[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.where(variance == 0, 1.0, (product - mean**2) / (variance + TINY))
        informed = np.where(of_levels == 0, 0.0, (entropy - crossed) / of_levels)
    found = {
        "Autocorrelation": product,
        "ClusterProminence": (sums * from_mean**4).sum(axis=2),
        "ClusterShade": (sums * from_mean**3).sum(axis=2),
        "ClusterTendency": (sums * from_mean**2).sum(axis=2),
        "Contrast": differences @ APART**2,
        "Correlation": correlation,
        "DifferenceAverage": apart,
        "DifferenceEntropy": of_differences,
        "DifferenceVariance": (differences * (APART - apart[..., None]) ** 2).sum(axis=2),
        "Id": differences @ (1 / (1 + APART)),
        "Idm": differences @ (1 / (1 + APART**2)),
        "Idmn": (differences / (1 + APART**2 / largest**2)).sum(axis=2),
        "Idn": (differences / (1 + APART / largest)).sum(axis=2),
        "Imc1": informed,
        "Imc2": np.sqrt(np.maximum(1 - np.exp(-2 * (own - entropy)), 0.0)),
        "InverseVariance": differences[..., 1:] @ (1 / APART[1:] ** 2),
        "JointAverage": mean,
        "JointEnergy": (flat**2).sum(axis=2),
        "JointEntropy": entropy,
        "MCC": _maximal_correlation(p, px, levels),
        "MaximumProbability": flat.max(axis=2),
        "SumAverage": sums @ SUM,
        "SumEntropy": of_sums,
        "SumSquares": variance,
    }
    several = there.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: (one * there).sum(axis=1) / several for name, one in found.items()}


def _matrices(levels: Levels) -> Floats:  # (n, 4, BINS, BINS)
    """How often a level is beside another: right, below, below right, below left."""
    grid, side = levels.grid, BINS + 1
    n, _, width = grid.shape
    first = grid * side + np.arange(n)[:, None, None] * side**2
    beside = [
        first[:, :, :-1] + grid[:, :, 1:],
        first[:, :-1] + grid[:, 1:],
        first[:, :-1, : width - 1] + grid[:, 1:, 1:],
        first[:, :-1, 1:] + grid[:, 1:, : width - 1],
    ]
    counted = [np.bincount(codes.ravel(), minlength=n * side**2).reshape(n, side, side) for codes in beside]
    one_way = np.stack(counted, axis=1)[:, :, 1:, 1:].astype(np.float64)
    return one_way + one_way.swapaxes(2, 3)


def _entropy(shares: Floats) -> Floats:
    return np.asarray(-(shares * np.log2(shares + TINY)).sum(axis=2))


def _maximal_correlation(p: Floats, px: Floats, levels: Levels) -> Floats:  # (n, 4)
    """The second largest of how levels of neighbours correlate, however levels are told as numbers.

    Of Q = D^-1 P D^-1 P, whose eigenvalues are the squares of those of the symmetric D^-1/2 P D^-1/2.
    """
    root = np.where(px > 0, 1 / np.sqrt(np.where(px > 0, px, 1.0)), 0.0)
    alike = np.abs(np.linalg.eigvalsh(p * root[..., :, None] * root[..., None, :]))
    alone = (levels.counts > 0).sum(axis=1) < 2  # of one level nothing varies
    return np.where(alone[:, None], 1.0, np.sort(alike, axis=2)[..., -2])
