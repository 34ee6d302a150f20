"""What membership attacks make of a model's margins on films, beside those of shadow models. Higher: likelier a member.

A margin is the log-odds of what is true of a film. Of several findings, `loss`, `calibrated` and `trajectory` take the
mean cross-entropy over those that are known; `rmia` and `lira` add up their log-likelihood ratios, as if findings were
independent given membership.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcxr.metrics.confidence import losses, mean_known, sum_known

Margins = npt.NDArray[np.float64]  # (..., films, findings); NaN: not known
Bools = npt.NDArray[np.bool_]
Losses = npt.NDArray[np.float64]  # (..., films)
Scores = npt.NDArray[np.float64]  # (films,)


@dataclass(frozen=True)
class Films:
    """How sure models are of some films."""

    target: Margins  # (n, k) of the model that was shared
    shadows: Margins  # (s, n, k)
    inside: Bools  # (s, n) whether a shadow was learnt from a film: half of all are, of each

    def by(self, shadows: int) -> Films:
        """As if there were so many shadows, an even number."""
        return Films(self.target, self.shadows[:shadows], self.inside[:shadows])

    def known(self) -> Films:
        """Without findings of which nothing is known of any film."""
        columns = ~np.isnan(self.target).all(axis=0)
        return Films(self.target[:, columns], self.shadows[..., columns], self.inside)

    def take(self, rows: slice) -> Films:
        """These films alone."""
        return Films(self.target[rows], self.shadows[:, rows], self.inside[:, rows])


@dataclass(frozen=True)
class Rounds:
    """How much models err on the films that are asked about, in rounds on the way to the last."""

    target: Losses  # (r, n) of the model of a round; of several, of that which errs least
    shadows: Losses  # (s, r, n)


@dataclass(frozen=True)
class Evidence:
    """All that attackers compare."""

    asked: Films
    population: Films  # who surely were not learnt from
    rounds: Rounds | None = None  # None: the models on the way were not granted

    def by(self, shadows: int) -> Evidence:
        """As if there were so many shadows, an even number."""
        rounds = self.rounds and Rounds(self.rounds.target, self.rounds.shadows[:shadows])
        return Evidence(self.asked.by(shadows), self.population.by(shadows), rounds)


def loss(evidence: Evidence) -> Scores:
    """Yeom et al., CSF 2018: the less a model errs on a film, the likelier it has seen it."""
    return -mean_known(losses(evidence.asked.target))


def calibrated(evidence: Evidence) -> Scores:
    """Watson et al., ICLR 2022: how much less it errs than models that have not seen the film."""
    films = evidence.asked
    return _outside(mean_known(losses(films.shadows)), films.inside) - mean_known(losses(films.target))


def rmia(evidence: Evidence) -> Scores:
    """Zarifzadeh et al., ICML 2024, with gamma 1: the share of other people's films whose likelihood ratio is less.

    What is divided by is the mean probability over shadows, half of which have seen a film: the paper's online form,
    for which no model more is needed. Between two films of the population, the ratio itself decides.
    """
    ratio, others = _log_ratio(evidence.asked), _log_ratio(evidence.population)
    below = np.searchsorted(np.sort(others), ratio, "right")
    return np.asarray((below + (1 + ratio / (1 + np.abs(ratio))) / 2) / (len(others) + 1))


def lira(evidence: Evidence) -> Scores:
    """Carlini et al., S&P 2022: log-likelihood ratio of two normal distributions of the margin, in and out.

    With few shadows a film's own means are hardly known. So the variance of a finding is one, pooled over films and
    both sides (the paper pools it over films), and the gap between a film's means is drawn towards that of all films,
    as far as it may be noise, and is never less than nothing: whoever has seen a film is not less sure of it. These are
    our deviations. The ratio is then linear, and that the target is surer than any shadow tells for membership.
    """
    films, count = evidence.asked.known(), len(evidence.asked.shadows)
    weight = films.inside[..., None]
    means = [np.where(one, films.shadows, 0.0).sum(axis=0) / (count / 2) for one in (weight, ~weight)]
    middle, gap = (means[0] + means[1]) / 2, means[0] - means[1]
    about = np.where(weight, means[0], means[1]) if count > 2 else np.nanmean(films.shadows, axis=1, keepdims=True)
    spare = (count - 2) / count if count > 2 else 1.0
    variance = np.maximum(np.nanmean(np.square(films.shadows - about), axis=(0, 1)) / spare, 1e-6)  # (k,)
    noise = 4 * variance / count  # of a gap between two means
    usual = np.nanmean(gap, axis=0)
    real = np.maximum(np.nanmean(np.square(gap - usual), axis=0) - noise, 0.0)
    shrunk = usual + (gap - usual) * real / (real + noise)
    return sum_known(np.maximum(shrunk, 0.0) * (films.target - middle) / variance)


def trajectory(evidence: Evidence) -> Scores:
    """After Liu et al., CCS 2022: `calibrated` in every round whose models are known, averaged over rounds.

    Our deviation: a mean, where the paper learns a network.
    """
    rounds = evidence.rounds
    assert rounds is not None, "asked for only where they were granted"
    outside = np.stack([_outside(one, evidence.asked.inside) for one in rounds.shadows.swapaxes(0, 1)])  # (r, n)
    return np.asarray((outside - rounds.target).mean(axis=0))


def _outside(values: npt.NDArray[np.float64], inside: Bools) -> Scores:
    """The mean over shadows (s, n) that have not seen a film."""
    return np.asarray(np.where(inside, 0.0, values).sum(axis=0) / (~inside).sum(axis=0))


def _log_ratio(films: Films) -> Scores:
    """Log of the probability of what is true, over what shadows give it on average; summed over findings."""
    return sum_known(-losses(films.target) - np.log(np.exp(-losses(films.shadows)).mean(axis=0)))


SIGNALS: Mapping[str, Callable[[Evidence], Scores]] = {
    "loss": loss,
    "calibrated": calibrated,
    "rmia": rmia,
    "lira": lira,
    "trajectory": trajectory,
}
