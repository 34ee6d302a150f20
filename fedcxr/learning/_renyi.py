"""Renyi divergences of Poisson-subsampled Gaussians (Mironov, Talwar & Zhang 2019), and the epsilon they bound.

Our deviation: the moment of a fractional order is not their series but the integral itself, by the trapezoidal rule.
Its spacing is a small part of the distance to the integrand's next singularity in the complex plane, so that it is
exact to float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

ORDERS = (*np.arange(1.05, 2, 0.05), *np.arange(2, 12, 0.1), *np.arange(12, 64, 1.0), *(2.0**k for k in range(6, 14)))
LONGEST = 1 << 20  # points of an integral: an order that takes more is left out, which can only loosen the bound


def epsilon(spent: Sequence[tuple[float, float, int]], delta: float) -> float:
    """The least over all orders, turned into an epsilon by Balle et al. 2020, theorem 21; of (noise, rate, steps)."""
    if not spent:
        return 0.0
    orders = np.array(ORDERS)
    total = sum(steps * np.array([divergence(order, noise, rate) for order in ORDERS]) for noise, rate, steps in spent)
    bounds = total + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    return max(0.0, float(bounds.min()))


@lru_cache(maxsize=1 << 14)
def divergence(order: float, noise: float, rate: float) -> float:
    """Of one step with the unit from one without it, which is more than the other way about (their theorem 5)."""
    from scipy.special import logsumexp

    if rate == 1:
        return order / (2 * noise**2)
    low, high = -12 * noise, order + 12 * noise
    points = math.ceil((high - low) / min(noise / 8, noise**2 / 2)) + 1
    if points > LONGEST:
        return math.inf
    x, spacing = np.linspace(low, high, points, retstep=True)
    loss = np.logaddexp(math.log1p(-rate), math.log(rate) + (x - 0.5) / noise**2)
    moment = logsumexp(order * loss - (x / noise) ** 2 / 2) + math.log(spacing / (noise * math.sqrt(2 * math.pi)))
    return max(0.0, float(moment)) / (order - 1)
