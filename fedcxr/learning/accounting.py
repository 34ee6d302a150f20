"""How much privacy learning spends: the figures that a hospital's ledger and a result's guarantee are made of.

Neighbours are two sets of which one has one unit more. Every epsilon here is an upper bound, and all but that by Renyi
divergences are tight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from fedcxr.errors import ConfigError
from fedcxr.learning import _renyi
from fedcxr.learning._losses import Step, composed
from fedcxr.learning.spending import Spending

SMALLEST_DELTA = 1e-10  # below this, the rounding of float64 would no longer be small beside it
PRECISION = 1e-3  # of the noise for a given epsilon
LEAST_NOISE, MOST_NOISE = 1e-2, 1e4  # between which it is looked for

Kind = tuple[float, float, int]  # noise, rate, steps


def epsilon(spent: Sequence[Spending], delta: float) -> float:
    """The epsilon that all of this together spends at this delta, whatever its units: by distributions of losses."""
    _check_delta(delta)
    return _epsilon(_merged(spent), delta)


def epsilon_rdp(spent: Sequence[Spending], delta: float) -> float:
    """The same by Renyi divergences: looser, and what most papers tell."""
    _check_delta(delta)
    return _renyi.epsilon(_merged(spent), delta)


def noise_multiplier(epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """The least noise with which so many steps spend no more than this, to a thousandth and rounded up."""
    if not 0 < epsilon < math.inf:
        raise ConfigError("a privacy budget is more than nothing, and finite", given=epsilon)
    _check_delta(delta)
    if not (0 < sample_rate <= 1 and steps >= 1):
        raise ConfigError("a sampling rate is above 0 and at most 1, of a step or more", given=(sample_rate, steps))

    def enough(noise: float) -> bool:
        return _epsilon(((noise, sample_rate, steps),), delta) <= epsilon

    little, much = LEAST_NOISE, 1.0
    while not enough(much):
        little, much = much, 2 * much
        if much > MOST_NOISE:
            raise ConfigError("no noise is enough for this", given=f"epsilon {epsilon:g} after {steps} steps")
    while much / 2 > little and enough(much / 2):
        much /= 2
    little = max(little, much / 2)
    while much > (1 + PRECISION) * little:
        middle = math.sqrt(little * much)
        little, much = (little, middle) if enough(middle) else (middle, much)
    return much


def gaussian_epsilon(noise_multiplier: float, times: int, delta: float) -> float:
    """The exact epsilon of a Gaussian mechanism that everyone is in, so many times (Balle & Wang 2018, theorem 8)."""
    from scipy.optimize import brentq
    from scipy.special import log_ndtr, ndtr

    _check_delta(delta)
    mu = math.sqrt(times) / noise_multiplier

    def excess(epsilon: float) -> float:
        return float(ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu))) - delta

    if excess(0.0) <= 0:
        return 0.0
    most = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta))  # where the first term alone is below delta
    return float(brentq(excess, 0.0, most, xtol=1e-12, rtol=1e-12)) * (1 + 1e-9)


def _merged(spent: Sequence[Spending]) -> tuple[Kind, ...]:
    """Alike steps together: what they spend does not depend on their order."""
    merged: dict[tuple[float, float], int] = {}
    for one in spent:
        kind = one.noise_multiplier, one.sample_rate
        merged[kind] = merged.get(kind, 0) + one.steps
    return tuple(sorted((*kind, steps) for kind, steps in merged.items()))


@lru_cache(maxsize=1 << 10)
def _epsilon(spent: tuple[Kind, ...], delta: float) -> float:
    steps = [Step(*kind) for kind in spent]
    return max(composed(steps, removed=removed, delta=delta) for removed in (True, False)) if steps else 0.0


def _check_delta(delta: float) -> None:
    if not SMALLEST_DELTA <= delta < 1:
        raise ConfigError("delta is a small probability", given=delta, allowed=f"{SMALLEST_DELTA:g} to less than 1")
