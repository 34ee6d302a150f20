"""Rising until it stops helping: what is looked at on the way changes nothing, and the way ends where it should."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from fedcxr.errors import TrainingDiverged
from fedcxr.rng import stream
from fedcxr.training.compute import Compute
from fedcxr.training.rising import FEWEST, Ascent, Figures, Rung, best, rise

FP32 = Compute.choose("cpu", "fp32")


def line() -> nn.Linear:
    network = nn.Linear(3, 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.5)
    return network


def loss(network: nn.Linear, rng: np.random.Generator) -> Tensor:
    x = torch.from_numpy(rng.standard_normal((8, 3)).astype(np.float32))
    distance: Tensor = network(x)[:, 0] - x.sum(1)
    return distance.square().mean()


def climbed(ascent: Ascent, figures: list[Figures] | None = None) -> list[Rung[nn.Linear]]:
    told = iter(figures or [])
    return rise(line(), loss, lambda _: next(told, None), ascent, FP32, lambda name: stream(1, name))


def weights(rung: Rung[nn.Linear]) -> list[float]:
    return [float(x) for parameter in rung.network.parameters() for x in parameter.detach().flatten()]


@given(longest=st.integers(1, 100_000))
def test_rungs_double_up_to_the_longest_run(longest: int) -> None:
    ascent = Ascent(longest, 1e-2)
    rungs = ascent.rungs
    assert rungs[-1] == longest
    assert len(rungs) <= 7
    assert all(2 * a <= b <= 2 * a + 1 for a, b in pairwise(rungs))
    assert all(rung >= FEWEST for rung in rungs[:-1])
    for rung in rungs:
        left = [ascent.cooling_rate(step, rung) for step in range(ascent.level(rung), rung)]
        assert all(0 < b < a <= 1e-2 for a, b in pairwise(left)) or rung <= ascent.warm_up


def test_a_rung_is_the_same_whatever_comes_before_and_after_it() -> None:
    long, short = climbed(Ascent(400, 1e-2)), climbed(Ascent(100, 1e-2))
    assert [rung.steps for rung in long] == [50, 100, 200, 400]
    assert [weights(rung) for rung in long[:2]] == [weights(rung) for rung in short]
    alone = rise(line(), loss, lambda _: None, Ascent(400, 1e-2, chance=1), FP32, lambda name: stream(1, name))
    assert weights(alone[-1]) == weights(long[-1])
    other = rise(line(), loss, lambda _: None, Ascent(100, 1e-2), FP32, lambda name: stream(2, name))
    assert weights(other[-1]) != weights(short[-1])


@pytest.mark.parametrize(
    ("figures", "rungs"),
    [
        pytest.param([0.7, 0.8, 0.9, 0.95, 0.96, 0.97, 0.98], 7, id="still rising"),
        pytest.param([0.9, 0.98, 0.98, 0.98], 4, id="high, and not before an eighth of the longest"),
        pytest.param([0.9, 0.9, 0.9, 0.95, 0.981, 0.983], 6, id="high"),
        pytest.param([0.7, 0.75, 0.8, 0.84, 0.83, 0.842], 6, id="two doublings without a gain"),
        pytest.param([0.7, 0.75, 0.8, 0.84, 0.83, 0.85, 0.85], 7, id="one look was wrong"),
        pytest.param([0.5, 0.51, 0.5, 0.51, 0.5, 0.5, 0.5], 7, id="whoever has not begun may still do so"),
    ],
)
def test_it_ends_where_a_doubling_has_stopped_helping(figures: list[float], rungs: int) -> None:
    assert reached([(figure,) for figure in figures]) == rungs


def test_it_goes_on_as_long_as_it_helps_anybody() -> None:
    slow, quick = [0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92], [0.98] * 7
    assert reached([(figure,) for figure in quick]) == 4
    assert reached(list(zip(slow, quick, strict=True))) == 7


def reached(figures: list[Figures]) -> int:
    """The rung after which nobody goes on."""
    ascent = Ascent(6400, 1e-2)
    rungs = enumerate(ascent.rungs, start=1)
    return next((number for number, rung in rungs if ascent.settled(rung, figures[:number])), len(figures))


def test_whoever_is_judged_stops_early_and_others_go_on_to_the_end() -> None:
    ascent = Ascent(400, 1e-2)
    assert [rung.figures for rung in climbed(ascent, [(0.98,)] * 4)] == [(0.98,)] * 2
    assert [rung.steps for rung in climbed(ascent)] == [50, 100, 200, 400]


def test_the_best_of_the_last_two_is_taken() -> None:
    one, two, three = (Rung(steps, line(), (figure,)) for steps, figure in ((1, 0.9), (2, 0.8), (4, 0.7)))
    assert best([one, two, three]) is two
    assert best([one]) is one
    assert best([Rung(1, line(), None), Rung(2, line(), None)]).steps == 2


def test_a_loss_that_is_no_number_is_told() -> None:
    with pytest.raises(TrainingDiverged, match="at step 1"):
        rise(line(), lambda n, _: n.weight.sum() * np.nan, lambda _: None, Ascent(5, 1.0), FP32, lambda n: stream(1, n))
