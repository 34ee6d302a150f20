"""First order: how grey the pixels inside a mask are, wherever they lie. Exact, from a histogram of whole greys."""

from __future__ import annotations

import numpy as np

from fedcxr.metrics.radiomics._levels import GREYS, TINY, Floats, Levels

MILLIMETRES = 1.0  # along a pixel


def first_order(levels: Levels) -> dict[str, Floats]:
    """18 features, (n,) each."""
    grey, count = np.arange(GREYS, dtype=np.float64), levels.greys.astype(np.float64)
    pixels = count.sum(axis=1)
    shares, binned = count / pixels[:, None], levels.counts / pixels[:, None]
    mean = shares @ grey
    away = grey - mean[:, None]
    variance, third, fourth = ((shares * away**power).sum(axis=1) for power in (2, 3, 4))
    flat = variance == 0
    spread = np.where(flat, 1.0, variance)
    energy = count @ grey**2
    low, quarter, median, three_quarters, high = (_percentile(levels, q) for q in (0.1, 0.25, 0.5, 0.75, 0.9))
    first, last = (count > 0).argmax(axis=1), GREYS - 1 - (count > 0)[:, ::-1].argmax(axis=1)
    robust = count * ((grey >= low[:, None]) & (grey <= high[:, None]))
    centre = robust @ grey / robust.sum(axis=1)
    return {
        "10Percentile": low,
        "90Percentile": high,
        "Energy": energy,
        "Entropy": -(binned * np.log2(binned + TINY)).sum(axis=1),
        "InterquartileRange": three_quarters - quarter,
        "Kurtosis": fourth / spread**2,
        "Maximum": last.astype(np.float64),
        "MeanAbsoluteDeviation": (shares * np.abs(away)).sum(axis=1),
        "Mean": mean,
        "Median": median,
        "Minimum": first.astype(np.float64),
        "Range": (last - first).astype(np.float64),
        "RobustMeanAbsoluteDeviation": (robust * np.abs(grey - centre[:, None])).sum(axis=1) / robust.sum(axis=1),
        "RootMeanSquared": np.sqrt(energy / pixels),
        "Skewness": third / spread**1.5,
        "TotalEnergy": energy * MILLIMETRES**2,
        "Uniformity": (binned**2).sum(axis=1),
        "Variance": variance,
    }


def _percentile(levels: Levels, q: float) -> Floats:  # (n,)
    """Between the two pixels, in the order of their greys, that are nearest."""
    below = levels.greys.cumsum(axis=1)
    place = q * (below[:, -1] - 1)
    under = np.floor(place)
    part = place - under
    at, then = ((below <= np.minimum(under + step, below[:, -1] - 1)[:, None]).sum(axis=1) for step in (0, 1))
    between = np.where(part < 0.5, at + (then - at) * part, then - (then - at) * (1 - part))
    return np.asarray(between)
