"""The sum of many steps' privacy losses as one distribution on a grid, with every rounding to the safe side.

Whoever sees a step tells two neighbours apart by its privacy loss, log P(x) / Q(x) where x is drawn from P. Losses add
up over steps, and the distribution of their sum says for which epsilon and delta the whole is private (Sommer et al.
2019; Koskela et al. 2020, by FFT). With sampling rate q and noise s, P and Q of one step are

    (1 - q) N(0, s^2) + q N(1, s^2)    and    N(0, s^2)

where a unit is removed, and the other way about where it is added. What is rounded:

- Losses are put on a grid by splitting: what lies between two of its points goes to both, so that P's and Q's mass of
  it are kept (Doroshenko et al. 2022). Whoever saw such an outcome could forget which of both it was, and would see
  the real one: so the grid reveals at least as much. What it adds is of second order in its spacing.
- Losses above the grid count as infinite; those below it count as its lowest point.
- Sums above the window of the FFT are bounded by Chernoff's inequality, and taken off delta. Sums below the window come
  round to its top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

ROUNDING = 1e-12  # of probability: more than an FFT of float64 misplaces
CUT = 1e-4  # of delta, for losses above the grid, and again for sums above the window
SPREAD = 3e-4  # by which splitting may widen the variance of the sum, as a fraction of it
LONGEST = 1 << 20  # points of an FFT: above this the grid becomes coarser, and epsilon larger
FINEST = 1 << 15  # points between the ends of one step's losses, rare ones among them, likewise
RATES = np.geomspace(1e-2, 1e3, 24)  # of Chernoff's inequality, by the standard deviation of the sum


@dataclass(frozen=True)
class Step:
    """Poisson-subsampled Gaussian noise, some times over."""

    noise: float  # standard deviation, in units of what one neighbour has more
    rate: float
    times: int

    def loss(self, x: Floats) -> Floats:
        """Of having seen x, where a unit is removed; where one is added, it is the negative."""
        with np.errstate(divide="ignore"):  # at rate 1 there is no other part
            loss: Floats = np.logaddexp(np.log1p(-self.rate), math.log(self.rate) + (x - 0.5) / self.noise**2)
        return loss

    def seen(self, loss: Floats) -> Floats:
        """The x of this loss; minus infinity, if there is none so low."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            high = loss + np.log1p(-(1 - self.rate) * np.exp(-loss))
            low = np.log(np.maximum(np.expm1(loss) + self.rate, 0))
            log = np.where(loss > 0, high, low) - math.log(self.rate)
        return self.noise**2 * log + 0.5

    @property
    def variance(self) -> float:
        """Of the loss of one step."""
        x = np.linspace(-12 * self.noise, 1 + 12 * self.noise, 4001)
        density = (1 - self.rate) * np.exp(-((x / self.noise) ** 2) / 2)
        density += self.rate * np.exp(-(((x - 1) / self.noise) ** 2) / 2)
        loss, weights = self.loss(x), density / density.sum()
        return float(weights @ (loss - weights @ loss) ** 2)


@dataclass(frozen=True)
class Losses:
    """The losses of one step, on a grid: probability i is that of the loss (lowest + i) times the grid's spacing."""

    lowest: int
    probabilities: Floats  # what they lack of 1 is infinite
    infinite: float


def composed(steps: Sequence[Step], *, removed: bool, delta: float) -> float:
    """The epsilon that all of these together spend at this delta, where a unit is removed, or added."""
    times = sum(step.times for step in steps)
    variance = sum(step.times * step.variance for step in steps)
    cut = CUT * delta
    ends = [_ends(step, removed, cut / times) for step in steps]
    spacing = max(math.sqrt(6 * SPREAD * variance / times), max(high - low for low, high in ends) / FINEST, 1e-9)
    while True:
        parts = [_on_grid(step, removed, *end, spacing) for step, end in zip(steps, ends, strict=True)]
        lowest, highest = _window(steps, parts, spacing, max(math.sqrt(variance), spacing), cut)
        size = max(highest - lowest + 1, *(len(part.probabilities) for part in parts))
        if size <= LONGEST:
            break
        spacing *= 1.1 * size / LONGEST
    total = _sum(steps, parts, lowest, size)
    infinite = sum(step.times * part.infinite for step, part in zip(steps, parts, strict=True))
    return _epsilon(np.arange(lowest, lowest + len(total)) * spacing, total, delta - infinite - cut - ROUNDING)


def _ends(step: Step, removed: bool, cut: float) -> tuple[float, float]:
    """Below and above these, the losses of a step have at most this probability."""
    from scipy.special import ndtri

    usual = -float(ndtri(cut / 2)) * step.noise  # beyond which Q's x are that rare
    moved = 1 - float(ndtri(min(0.5, cut / (2 * step.rate)))) * step.noise  # and those of P's second part
    low, high = step.loss(np.array([-usual, max(usual, moved) if removed else usual]))
    return (float(low), float(high)) if removed else (-float(high), -float(low))


def _on_grid(step: Step, removed: bool, low: float, high: float, spacing: float) -> Losses:
    from scipy.special import ndtr

    lowest = math.floor(low / spacing)
    grid = np.arange(lowest, max(math.ceil(high / spacing), lowest + 1) + 1) * spacing
    x = step.seen(grid if removed else -grid)
    left, right = np.minimum(x[:-1], x[1:]), np.maximum(x[:-1], x[1:])
    plain = _log_mass(left / step.noise, right / step.noise)
    moved = _log_mass((left - 1) / step.noise, (right - 1) / step.noise)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mixed = np.logaddexp(np.log1p(-step.rate) + plain, math.log(step.rate) + moved)
        p, q = (mixed, plain) if removed else (plain, mixed)
        down = np.nan_to_num((np.exp(q - p + grid[1:]) - 1) / np.expm1(spacing), nan=0.0, posinf=1.0).clip(0, 1)
    probabilities = np.zeros(len(grid))
    probabilities[:-1] += np.exp(p) * down
    probabilities[1:] += np.exp(p) * (1 - down)
    if removed:
        below, above = (
            (1 - step.rate) * ndtr(sign * end / step.noise) + step.rate * ndtr(sign * (end - 1) / step.noise)
            for sign, end in ((1, x[0]), (-1, x[-1]))
        )
    else:
        below, above = ndtr(-x[0] / step.noise), ndtr(x[-1] / step.noise)
    probabilities[0] += below
    return Losses(lowest, probabilities, float(above))


def _log_mass(left: Floats, right: Floats) -> Floats:
    """The logarithm of the standard normal distribution's mass between two numbers, exact in both of its tails."""
    from scipy.special import log_ndtr

    upper = left > 0
    low, high = log_ndtr(np.where(upper, -right, left)), log_ndtr(np.where(upper, -left, right))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(high == -np.inf, -np.inf, high + np.log1p(-np.exp(low - high)))


def _window(
    steps: Sequence[Step], parts: Sequence[Losses], spacing: float, deviation: float, cut: float
) -> tuple[int, int]:
    """The points of the grid below and above which the sum has at most this probability."""

    def bound(sign: int, rate: float) -> float:
        moment = math.log(1 / cut)
        for step, part in zip(steps, parts, strict=True):
            exponents = sign * rate * spacing * (part.lowest + np.arange(len(part.probabilities)))
            most = exponents.max()
            weights = np.exp(np.maximum(exponents - most, -100))  # this and the next so high that nothing is denormal
            grown = float((np.maximum(part.probabilities, 1e-250) * weights).sum())  # of a BLAS, its threads would wait
            moment += step.times * (most + math.log(grown))
        return float(moment) / rate

    above = min(bound(1, rate) for rate in RATES / deviation)
    below = min(bound(-1, rate) for rate in RATES / deviation)
    return math.floor(-below / spacing), math.ceil(above / spacing)


def _sum(steps: Sequence[Step], parts: Sequence[Losses], lowest: int, size: int) -> Floats:
    """The probabilities of the sum, from the loss `lowest` times the spacing on; what is beyond `size` comes round."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(size, real=True)
    spectrum = np.ones(size // 2 + 1, dtype=np.complex128)
    for step, part in zip(steps, parts, strict=True):
        spectrum *= rfft(part.probabilities, size) ** step.times
    start = sum(step.times * part.lowest for step, part in zip(steps, parts, strict=True))
    return np.roll(irfft(spectrum, size), (start - lowest) % size)


def _epsilon(losses: Floats, probabilities: Floats, delta: float) -> float:
    """The least epsilon >= 0 with sum of p (1 - exp(epsilon - loss)) <= delta over all losses above epsilon."""
    counted = losses > 0
    if not counted.any():
        return 0.0
    losses, p = losses[counted][::-1], np.maximum(probabilities[counted], 0)[::-1]  # the largest first
    with np.errstate(divide="ignore"):
        logs = np.logaddexp.accumulate(np.log(p) - losses)
    sums = np.cumsum(p)
    if sums[-1] - np.exp(logs[-1]) <= delta:
        return 0.0
    spent = sums - np.exp(np.append(losses[1:], 0.0) + logs)  # delta, if epsilon were the next loss below
    first = int(np.argmax(spent > delta))  # so epsilon lies between that one and this
    return max(0.0, math.log(sums[first] - delta) - float(logs[first]))
