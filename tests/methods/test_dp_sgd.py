"""Noisy sums over sampled patients: what a step is made of, what bounds it, and what it must not depend on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedcxr import plugins
from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError, PrivacySpent, Refused
from fedcxr.keys.provider import Job
from fedcxr.learning import Report
from fedcxr.learning.accounting import epsilon
from fedcxr.learning.spending import Spending
from fedcxr.methods import Round, RunContext
from fedcxr.methods._coded import release_key
from fedcxr.methods.dp_sgd import DpSgd
from fedcxr.protocol import initial_step, learn_step
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.simulation.keys import Simulated, simulated
from fedcxr.training import Plan, private
from fedcxr.training.private import Material, Mechanism, clipped_sum, fit_privately, noise

MakeCohort = Callable[..., Cohort]
CPU = RunContext("cpu", "fp32")
PEOPLE = (3, 2, 1, 3, 2, 3, 2, 1, 3, 2)  # films of each


def built(**parameters: Any) -> DpSgd:
    small = {"width": 4, "rounds": 2, "steps": 2, "steps_public": 2}
    return cast(DpSgd, plugins.build("method", {"name": "dp_sgd", **small, **parameters}))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As at a site."""
    with CPU.compute.session():
        yield


@pytest.fixture(scope="module")
def cohort(make_cohort: MakeCohort) -> Cohort:
    return make_cohort(PEOPLE, size=16)


# What a step is made of -------------------------------------------------------------------------------------------


def linear(inputs: Tensor, labels: Tensor, units: list[list[int]]) -> tuple[Any, Material]:
    """One layer without a weight in it yet, and what it learns from."""
    from opacus.grad_sample import GradSampleModule

    layer = nn.Linear(inputs.shape[1], labels.shape[1])
    for weights in layer.parameters():
        nn.init.zeros_(weights)
    owned = [np.array(unit, dtype=np.intp) for unit in units]
    material = Material(lambda rows: inputs[torch.from_numpy(rows)], labels, owned)
    return GradSampleModule(layer, loss_reduction="sum"), material


def everyone(material: Material) -> private.Rows:
    return np.arange(len(material.units))


def test_a_patients_gradient_is_the_mean_over_all_films() -> None:
    inputs, labels = torch.tensor([[1.0], [3.0], [-2.0]]), torch.tensor([[0.0], [0.0], [1.0]])
    hooked, material = linear(inputs, labels, [[0, 1], [2]])
    # By hand, at weights of zero: half the input where there is no finding, minus half of it where there is one.
    torch.testing.assert_close(
        clipped_sum(hooked, material, np.array([0]), 1e3), torch.tensor([1.0, 0.5], dtype=torch.float64)
    )
    torch.testing.assert_close(
        clipped_sum(hooked, material, everyone(material), 1e3), torch.tensor([2.0, 0.0], dtype=torch.float64)
    )


def test_what_passes_in_pieces_adds_up_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.standard_normal((30, 4)).astype(np.float32))
    labels = torch.from_numpy((rng.random((30, 2)) < 0.5).astype(np.float32))
    hooked, material = linear(inputs, labels, [list(range(9)), [9], [10, 11], list(range(12, 30))])
    whole = clipped_sum(hooked, material, everyone(material), 0.3)
    monkeypatch.setattr(private, "MOST_FILMS", 4)
    torch.testing.assert_close(clipped_sum(hooked, material, everyone(material), 0.3), whole, rtol=1e-6, atol=1e-7)


def test_what_is_unknown_of_a_film_tells_nothing() -> None:
    nan = float("nan")
    hooked, material = linear(torch.ones(2, 1), torch.tensor([[nan, nan], [1.0, nan]]), [[0], [1]])
    total = clipped_sum(hooked, material, everyone(material), 1e3)
    torch.testing.assert_close(total, torch.tensor([-0.5, 0.0, -0.5, 0.0], dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(width=32), st.sampled_from([0.0, 1.0, -1e30, 1e30, float("inf"), float("nan")])),
        min_size=1,
        max_size=6,
    ),
    st.floats(1e-3, 1e3),
    st.booleans(),
)
def test_nobody_moves_the_sum_further_than_the_bound(films: list[tuple[float, float]], clip: float, one: bool) -> None:
    """Whatever a patient's films and labels hold, and however many they are."""
    rest = torch.tensor([[0.5], [-1.0]])
    inputs = torch.cat([rest, torch.tensor([[value] for value, _ in films])])
    labels = torch.cat([torch.tensor([[1.0], [0.0]]), torch.tensor([[label] for _, label in films])])
    rows = list(range(2, 2 + len(films)))
    hooked, material = linear(inputs, labels, [[0], [1], *([rows] if one else [[row] for row in rows])])
    without = clipped_sum(hooked, material, np.arange(2), clip)
    for unit in range(2, len(material.units)):
        moved = clipped_sum(hooked, material, np.array([0, 1, unit]), clip) - without
        assert float(moved.norm()) <= clip * (1 + 1e-6)


def test_fifty_films_of_a_patient_move_the_sum_as_far_as_one(make_cohort: MakeCohort) -> None:
    """Whose films are of one patient at the site: without them the sum differs by the bound, of records by fifty."""
    cohort = make_cohort((50, 1, 1), size=16).take(np.arange(52))
    labels = torch.tensor(cohort.labels)
    inputs = torch.from_numpy(cohort.films().reshape(52, -1).astype(np.float32))
    clip = 1e-2
    moved = {}
    for unit in ("patient", "record"):
        units = built(unit=unit, noise_multiplier=1.0)._units(cohort)
        hooked, material = linear(inputs, labels, [list(rows) for rows in units])
        theirs = np.array(
            [place for place, rows in enumerate(units) if (cohort.patients[rows] == cohort.patients[0]).all()]
        )
        others = np.setdiff1d(everyone(material), theirs)
        whole, rest = (clipped_sum(hooked, material, chosen, clip) for chosen in (everyone(material), others))
        moved[unit] = float((whole - rest).norm()) / clip
    assert moved["patient"] == pytest.approx(1, abs=1e-3)
    assert 2 < moved["record"] <= 50


def test_noise_is_as_strong_as_it_is_said_to_be() -> None:
    """Where no gradient is left, weights move by the noise alone: deviation times bound over divisor, at rate 1."""
    inputs, labels = torch.zeros(3, 400), torch.full((3, 50), float("nan"))
    layer = nn.Linear(400, 50)
    before = torch.cat([weights.detach().clone().flatten() for weights in layer.parameters()])
    material = Material(lambda rows: inputs[torch.from_numpy(rows)], labels, [np.array([row]) for row in range(3)])
    mechanism = Mechanism(clip=0.25, noise_multiplier=8.0, sample_rate=0.5, divisor=10.0)
    plan = Plan(1, learning_rate=1.0, weight_decay=0.0, warm_up=0.0)
    fit_privately(layer, material, mechanism, plan, lambda weights: torch.optim.SGD(weights, lr=1.0), stream(0))
    moved = torch.cat([weights.detach().flatten() for weights in layer.parameters()]) - before
    n, deviation = len(moved), 8.0 * 0.25 / 10.0
    assert abs(float(moved.mean())) < 5 * deviation / n**0.5
    assert float(moved.std()) == pytest.approx(deviation, rel=5 / (2 * n) ** 0.5)
    beyond = float((moved.abs() > 2 * deviation).float().mean())
    assert beyond == pytest.approx(0.0455, abs=5 * (0.0455 / n) ** 0.5)  # as of a Gaussian


def test_noise_is_drawn_from_the_generator_and_from_nothing_else() -> None:
    like = torch.zeros(1000, dtype=torch.float64)
    torch.testing.assert_close(noise(like, 1.0, stream(1)), noise(like, 1.0, stream(1)), rtol=0, atol=0)
    assert not torch.equal(noise(like, 1.0, stream(1)), noise(like, 1.0, stream(2)))


def test_each_patient_is_in_as_many_steps_as_the_rate_says(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled: list[private.Rows] = []

    def watched(hooked: Any, material: Material, units: private.Rows, clip: float) -> Tensor:
        sampled.append(units)
        return torch.zeros(sum(w.numel() for w in hooked.parameters()), dtype=torch.float64)

    monkeypatch.setattr(private, "clipped_sum", watched)
    method = built(noise_multiplier=1.0, sample_rate=0.2, steps=300, rounds=1, width=1)
    method.learn(cohort, stream(3), CPU)
    taken = np.bincount(np.concatenate(sampled), minlength=len(PEOPLE))
    assert len(sampled) == 300
    assert len(taken) == len(PEOPLE)
    assert (np.abs(taken - 60) < 5 * (300 * 0.2 * 0.8) ** 0.5).all()
    assert len({len(units) for units in sampled}) > 3  # Poisson, not batches of one size
    assert any(not len(units) for units in sampled)  # and empty ones are steps as well


# What it must not depend on ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["patient", "record"])
@pytest.mark.parametrize("more", ["nobody", "film", "patient"])
def test_no_constant_of_a_step_depends_on_how_many_there_are(
    unit: str, more: str, make_cohort: MakeCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = {"nobody": (), "film": (3, 3), "patient": (3, 2, 1)}[more]
    method, told, made = built(unit=unit), {}, []

    def watched(network: Any, material: Material, mechanism: Mechanism, plan: Plan, *rest: Any) -> None:
        made.append((mechanism, plan))

    monkeypatch.setattr(private, "fit_privately", watched)
    whole = make_cohort((3, 2), size=16)
    for cohort in (whole, make_cohort(people, size=16) if people else whole.take([])):
        facts: dict[str, Any] = {}
        method.learn(cohort, stream(1), replace(CPU, report=facts.update), turn=Round(0, 2))
        release = method.release(cohort, release_key("site-1", stream(0)), {}, stream(2), CPU)
        told[len(cohort)] = (facts, release.facts, method.counted(len(cohort)), method.spending(Round(0, 2)))
    assert made[0] == made[1]
    assert len(told) == 2
    one, other = told.values()
    assert one == other


def test_a_site_without_a_film_sends_what_noise_alone_makes(cohort: Cohort) -> None:
    """Refusing would tell that there is none; the mean over all sites only gets noisier."""
    method = built()
    start = method.initial(stream(0))
    learnt = method.learn(cohort.take([]), stream(1), CPU, start, Round(0, 2))
    assert any((learnt[name] != start[name]).any() for name in start)


def test_the_same_stream_learns_the_same_whatever_is_known_elsewhere(cohort: Cohort) -> None:
    method = built()
    before = torch.get_rng_state()
    one = method.learn(cohort, stream(1), CPU, turn=Round(0, 2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    other = method.learn(cohort, stream(1), CPU, turn=Round(0, 2))
    torch.set_rng_state(before)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_whoever_could_be_told_outright_is_refused_at_the_site(cohort: Cohort) -> None:
    """With a delta of one in the patients, one of them may be published whole; their number is in no message."""
    built(delta=0.0999).learn(cohort, stream(0), CPU)
    with pytest.raises(Refused, match="delta allows one of this site's patients to be told outright") as caught:
        built(delta=0.1).learn(cohort, stream(0), CPU)
    assert "10" not in str(caught.value).replace("0.1", "")
    with pytest.raises(Refused, match="records"):
        built(unit="record", delta=0.0999).learn(cohort, stream(0), CPU)
    built(noise_multiplier=0.0, delta=0.5).learn(cohort, stream(0), CPU)  # guarantees nothing anyway


@pytest.mark.parametrize("refused", [False, True])
def test_nothing_is_spent_on_learning_that_is_refused(
    cohort: Cohort, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    delta = (1.0 if refused else 0.999) / len(set(cohort.where("train").patients))
    scenario, spent = Scenario.parse({"method": built(delta=delta).spec()}), []

    def begin(keys: Simulated, job: Job, images: Sequence[str], spending: Spending | None = None) -> None:
        spent.append(spending)
        raise PrivacySpent("as far as this test goes")

    monkeypatch.setattr(Simulated, "begin", begin)
    with pytest.raises(Refused, match="delta allows" if refused else "as far as"):
        learn_step(scenario, "site-1", cohort, simulated(scenario, "site-1"), initial_step(scenario), Round(0, 2))
    assert len(spent) == (0 if refused else 1)


# What it guarantees -----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Optimal order:UserWarning")  # of its own search for a grid
@pytest.mark.parametrize(
    ("target", "rate", "rounds", "steps"), [(8.0, 0.5, 20, 10), (1.0, 0.1, 10, 30), (3.0, 0.9, 5, 4)]
)
def test_epsilon_is_what_opacus_reckons_too(target: float, rate: float, rounds: int, steps: int) -> None:
    from opacus.accountants import PRVAccountant

    method = built(epsilon=target, sample_rate=rate, rounds=rounds, steps=steps)
    guarantee = method.guarantee()
    assert guarantee is not None
    assert (guarantee.unit, guarantee.delta) == ("patient", 1e-5)
    assert 0.99 * target <= guarantee.epsilon <= target
    accountant = PRVAccountant()
    accountant.history = [(method.noise, rate, rounds * steps)]
    assert guarantee.epsilon == pytest.approx(accountant.get_epsilon(1e-5, eps_error=0.005 * target), rel=0.01)
    assert guarantee.epsilon_rdp is not None
    assert guarantee.epsilon < guarantee.epsilon_rdp < 1.3 * guarantee.epsilon


def test_it_counts_the_rounds_of_the_site_that_learnt_most() -> None:
    method = built(noise_multiplier=1.0, sample_rate=0.2, rounds=5, steps=7, unit="record")
    turns = [("a", 1), ("b", 1), ("a", 3)]
    guarantee = method.guarantee([Report(site, number, 1) for site, number in turns])
    assert guarantee is not None
    assert guarantee.unit == "record"
    spent = Spending(unit="record", noise_multiplier=1.0, sample_rate=0.2, steps=14)
    assert guarantee.epsilon == epsilon([spent], 1e-5)
    assert method.spending(Round(2, 5)) == spent.model_copy(update={"steps": 7})
    whole = method.guarantee()
    assert whole is not None
    assert whole.epsilon > guarantee.epsilon


def test_without_noise_there_is_no_guarantee() -> None:
    method = built(noise_multiplier=0.0)
    assert method.guarantee() is None
    assert method.spending(Round()) is None


def test_it_is_compared_with_the_same_network_without_a_guarantee(cohort: Cohort) -> None:
    method = built()
    plain = method.unguarded()
    assert plain.guarantee() is None
    start = method.initial(stream(0))
    small = plain.model_copy(update={"batch": 4})
    assert small.learn(cohort, stream(1), CPU, start, Round(0, 2)).keys() == start.keys()


# The last layer alone ---------------------------------------------------------------------------------------------


def test_the_last_layer_learns_alone(cohort: Cohort) -> None:
    method = built(start="public", train="head")
    start = method.initial(stream(0))
    learnt = method.learn(cohort, stream(1), CPU, start, Round(0, 2))
    changed = {name for name in start if (learnt[name] != start[name]).any()}
    assert changed == {"head.weight", "head.bias"}


def test_the_whole_network_learns(cohort: Cohort) -> None:
    start = built().initial(stream(0))
    learnt = built().learn(cohort, stream(1), CPU, start, Round(0, 2))
    assert all((learnt[name] != start[name]).any() for name in start)


# Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"epsilon": 0}, "epsilon"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"epsilon": None}, "epsilon and noise_multiplier: give one"),
        ({"epsilon": 8.0, "noise_multiplier": 1.0}, "epsilon and noise_multiplier: give one"),
        ({"noise_multiplier": 0.001}, "guarantees nothing"),
        ({"delta": 0}, "delta"),
        ({"delta": 1}, "delta"),
        ({"norm": "batch"}, "mixes its films"),
        ({"norm": "shared"}, "mixes its films"),
        ({"train": "head"}, "set `start`"),
        ({"strategy": "fedprox", "options": {"proximal_mu": 0.1}}, "the sites' own work"),
        ({"unit": "site"}, "unit"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"sample_rate": 1.5}, "sample_rate"),
        ({"clip": 0}, "clip"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_by_name(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        built(**parameters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("parameters", [{}, {"epsilon": 2.0}, {"noise_multiplier": 2.0}, {"noise_multiplier": 0.0}])
def test_what_is_written_down_is_read_again(parameters: dict[str, Any]) -> None:
    method = built(**parameters)
    assert plugins.build("method", method.model_dump(mode="json") | {"name": "dp_sgd"}) == method


def test_without_opacus_one_line_says_what_to_do(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus.grad_sample", None)
    assert built().guarantee() is not None  # nobody but a site that learns needs it
    with pytest.raises(ConfigError, match="pip install opacus"):
        built().learn(cohort, stream(0), CPU)
