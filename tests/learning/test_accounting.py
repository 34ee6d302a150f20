"""The accountant: what others compute, what integrals say, and never a figure that is too low."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.stats import norm

from fedcxr.errors import ConfigError
from fedcxr.learning import accounting
from fedcxr.learning.accounting import epsilon, epsilon_rdp, gaussian_epsilon, noise_multiplier
from fedcxr.learning.spending import Spending

Kinds = tuple[tuple[float, float, int], ...]  # noise, rate, steps
Accountant = Callable[[Sequence[Spending], float], float]

NOISES = st.floats(0.5, 20)
RATES = st.floats(1e-3, 1)
STEPS = st.integers(1, 3000)
DELTAS = st.floats(1e-9, 1e-2)


def spent(noise: float, rate: float, steps: int) -> Spending:
    return Spending(unit="record", noise_multiplier=noise, sample_rate=rate, steps=steps)


# Others' accountants --------------------------------------------------------------------------------------------------

KNOWN = [
    (((1.0, 0.01, 1000),), 1e-5),
    (((0.6, 0.05, 50),), 1e-5),
    (((2.0, 0.1, 300),), 1e-6),
    (((1.0, 0.001, 10_000),), 1e-5),
    (((0.5, 1e-4, 1000),), 1e-7),
    (((5.0, 0.5, 100),), 1e-3),
    (((1.0, 0.01, 1000), (2.0, 0.05, 300), (0.7, 0.003, 50)), 1e-5),
]
KNOWN_IDS = [str(kinds) for kinds, _ in KNOWN]


@functools.cache
def bounds_by_prv(kinds: Kinds, delta: float) -> tuple[float, float]:
    """Opacus' own lower and upper bound."""
    accountant, mistake = PRVAccountant(), 4e-3
    accountant.history = list(kinds)
    losses = accountant._get_dprv(eps_error=mistake, delta_error=delta / 1000)
    low, _, high = losses.compute_epsilon(delta, delta / 1000, mistake)
    return float(low), float(high)


def agrees_with_prv(accountant: Accountant, kinds: Kinds, delta: float) -> bool:
    low, high = bounds_by_prv(kinds, delta)
    return low <= accountant([spent(*kind) for kind in kinds], delta) <= 1.01 * high


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("kinds", "delta"), KNOWN, ids=KNOWN_IDS)
def test_it_is_as_opacus_says(kinds: Kinds, delta: float) -> None:
    assert agrees_with_prv(epsilon, kinds, delta)
    by_rdp = RDPAccountant()
    by_rdp.history = list(kinds)
    ours = epsilon_rdp([spent(*kind) for kind in kinds], delta)
    assert ours == pytest.approx(by_rdp.get_epsilon(delta), rel=0.005)
    assert epsilon([spent(*kind) for kind in kinds], delta) < ours


def wrong(change: Callable[[Spending], Spending]) -> Accountant:
    return lambda kinds, delta: epsilon([change(kind) for kind in kinds], delta)


BROKEN = {
    "everyone is in every step": wrong(lambda one: one.model_copy(update={"sample_rate": 1.0})),
    "less noise than there is": wrong(
        lambda one: one.model_copy(update={"noise_multiplier": one.noise_multiplier / 2})
    ),
    "more noise than there is": wrong(
        lambda one: one.model_copy(update={"noise_multiplier": one.noise_multiplier * 2})
    ),
    "a step is forgotten in fifty": wrong(lambda one: one.model_copy(update={"steps": one.steps - one.steps // 50})),
    "runs do not add up": lambda kinds, delta: max(epsilon([kind], delta) for kind in kinds),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_accountant_would_be_noticed(broken: str) -> None:
    kinds, delta = KNOWN[-1]
    assert agrees_with_prv(epsilon, kinds, delta)
    assert not agrees_with_prv(BROKEN[broken], kinds, delta)


# Exact answers --------------------------------------------------------------------------------------------------------


@given(NOISES, STEPS, DELTAS)
def test_where_everyone_is_in_every_step_it_is_the_gaussian_mechanisms(noise: float, steps: int, delta: float) -> None:
    exact = gaussian_epsilon(noise, steps, delta)
    assert exact - 1e-6 <= epsilon([spent(noise, 1.0, steps)], delta) <= 1.002 * exact + 1e-3


@given(NOISES, st.integers(1, 1000), DELTAS)
def test_the_gaussian_mechanisms_epsilon_is_that_of_its_delta(noise: float, times: int, delta: float) -> None:
    """By the integral of max(0, p - exp(epsilon) q) over one dimension, which `times` of them come to."""
    mu, exact = math.sqrt(times) / noise, gaussian_epsilon(noise, times, delta)
    x = np.linspace(mu - 12, mu + 12, 200_001)
    loss = mu * x - mu**2 / 2
    found = float((norm.pdf(x, mu) * -np.expm1(np.minimum(exact - loss, 0))).sum() * (x[1] - x[0]))
    assert found <= delta * (1 + 1e-4)
    assert exact == 0 or found == pytest.approx(delta, rel=1e-3)


def delta_of_two(first: Spending, second: Spending, bound: float) -> float:
    """By adding up over what is seen of the first step; of the second, what then makes the loss too large is exact."""
    x = np.linspace(-12, 14, 200_001)
    noise, rate = second.noise_multiplier, second.sample_rate
    q, moved = (norm.pdf(x, mean, first.noise_multiplier) for mean in (0, 1))
    p = (1 - first.sample_rate) * q + first.sample_rate * moved
    deltas = []
    for sign, beyond in ((1, norm.sf), (-1, norm.cdf)):  # a unit is removed, or added
        ratio = np.exp(sign * bound) * q / p  # of the second step's densities: beyond it, what is seen counts
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = np.where(ratio <= 1 - rate, -np.inf, noise**2 * np.log((ratio - 1 + rate) / rate) + 0.5)
        q_rest, moved = (beyond(seen, mean, noise) for mean in (0, 1))
        with_it, without = p * ((1 - rate) * q_rest + rate * moved), q * q_rest
        ours, theirs = (with_it, without) if sign == 1 else (without, with_it)
        deltas.append(float((ours - math.exp(bound) * theirs).sum() * (x[1] - x[0])))
    return max(deltas)


@pytest.mark.parametrize(
    ("first", "second"),
    [((1.0, 0.3, 1), (0.7, 0.05, 1)), ((0.6, 0.01, 1), (0.6, 0.01, 1)), ((1.2, 0.9, 1), (1.0, 1.0, 1))],
    ids=str,
)
@pytest.mark.parametrize("delta", [1e-2, 1e-4, 1e-6])
def test_two_steps_are_what_adding_up_gives(
    first: tuple[float, float, int], second: tuple[float, float, int], delta: float
) -> None:
    both = spent(*first), spent(*second)
    found = epsilon(both, delta)
    assert 0.99 * delta <= delta_of_two(*both, found) <= delta


# What must hold of any ------------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(NOISES, RATES, STEPS, DELTAS, st.floats(1.02, 3))
@pytest.mark.parametrize("accountant", [epsilon, epsilon_rdp])
def test_less_noise_more_steps_more_people_and_less_delta_cost_more(
    accountant: Accountant, noise: float, rate: float, steps: int, delta: float, factor: float
) -> None:
    least = accountant([spent(noise, rate, steps)], delta)
    dearer = [
        accountant([spent(noise / factor, rate, steps)], delta),
        accountant([spent(noise, min(1.0, rate * factor), steps)], delta),
        accountant([spent(noise, rate, math.ceil(steps * factor))], delta),
        accountant([spent(noise, rate, steps)], max(delta / factor, 1e-10)),
        accountant([spent(noise, rate, steps), spent(20.0, rate, 1)], delta),
    ]
    assert least >= 0
    assert all(more >= least * (1 - 1e-3) for more in dearer)  # to within what the grid adds


@settings(max_examples=12)
@given(NOISES, RATES, st.integers(2, 3000), DELTAS, st.data())
def test_runs_cost_together_what_one_run_would(
    noise: float, rate: float, steps: int, delta: float, data: st.DataObject
) -> None:
    first = data.draw(st.integers(1, steps - 1))
    parts = [spent(noise, rate, first), spent(noise, rate, steps - first)]
    assert epsilon(parts, delta) == epsilon(parts[::-1], delta) == epsilon([spent(noise, rate, steps)], delta)


@settings(max_examples=4)
@given(st.floats(0.1, 50), st.floats(1e-8, 1e-3), RATES, STEPS)
def test_the_noise_for_a_budget_is_enough_and_hardly_more(bound: float, delta: float, rate: float, steps: int) -> None:
    noise = noise_multiplier(bound, delta, rate, steps)
    assert epsilon([spent(noise, rate, steps)], delta) <= bound
    assert noise / 1.0011 < 0.01 or epsilon([spent(noise / 1.0011, rate, steps)], delta) > bound


def test_nothing_costs_nothing() -> None:
    assert epsilon([], 1e-5) == epsilon_rdp([], 1e-5) == 0
    assert epsilon([spent(1e4, 1e-8, 1)], 1e-5) == 0
    assert gaussian_epsilon(1e6, 1, 1e-5) == 0


@settings(max_examples=8)
@given(
    st.lists(st.tuples(st.floats(0.01, 1e4), st.floats(1e-8, 1), st.integers(1, 10**8)), min_size=1, max_size=3),
    st.sampled_from([1e-10, 1e-5, 0.5]),
)
def test_at_its_borders_it_is_a_number(kinds: Kinds, delta: float) -> None:
    found = epsilon([spent(*kind) for kind in kinds], delta)
    assert 0 <= found < math.inf


@pytest.mark.parametrize(
    "ask",
    [
        *(lambda delta=delta: epsilon([spent(1.0, 0.1, 1)], delta) for delta in (0.0, -1.0, 1.0, 1e-12, math.nan)),
        lambda: epsilon_rdp([spent(1.0, 0.1, 1)], 0.0),
        lambda: gaussian_epsilon(1.0, 1, 1.0),
        *(lambda bound=bound: noise_multiplier(bound, 1e-5, 0.1, 10) for bound in (0.0, -1.0, math.inf, math.nan)),
        lambda: noise_multiplier(1.0, 1e-5, 0.0, 10),
        lambda: noise_multiplier(1.0, 1e-5, 1.1, 10),
        lambda: noise_multiplier(1.0, 1e-5, 0.1, 0),
        lambda: noise_multiplier(1e-9, 1e-10, 1.0, 10**4),
    ],
)
def test_what_is_no_question_is_refused(ask: Callable[[], float]) -> None:
    with pytest.raises(ConfigError):
        ask()


def test_ten_thousand_steps_are_fast() -> None:
    accounting._epsilon.cache_clear()
    epsilon([spent(1.1, 0.02, 9_999)], 1e-5)  # what is imported is not counted
    start = time.process_time()
    epsilon([spent(1.1, 0.02, 10_000)], 1e-5)
    assert time.process_time() - start < 0.3
