"""A network that hospitals train in rounds: what of it is shared, what stays, and where it begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SMALL

from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError, Refused
from fedcxr.learning.accounting import gaussian_epsilon
from fedcxr.methods import Round, RunContext, Weights, guarantee_of
from fedcxr.methods.fedavg import FedAvg
from fedcxr.models.backbone import Design
from fedcxr.models.classifier import classifier
from fedcxr.rng import stream
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.training import to_tensor
from server.simulate import Options, simulate

CPU = RunContext("cpu", "fp32")
TINY: dict[str, Any] = {"width": 2, "rounds": 2, "steps": 2, "batch": 4, "findings": ("Mass", "Edema")}
MakeCohort = Callable[..., Cohort]


@pytest.fixture(scope="module")
def cohort(make_cohort: MakeCohort) -> Cohort:
    return make_cohort((3, 2, 1, 3, 2), size=16)


def learnt(method: FedAvg, cohort: Cohort, turn: Round | None = None) -> tuple[Weights, Weights]:
    """Where a site began, and where it ended."""
    start = method.initial(stream(0))
    return start, method.learn(cohort, stream(1), CPU, start, turn or Round(0, method.rounds))


def distance(one: Weights, other: Weights) -> float:
    return float(sum(np.abs(one[name].astype(float) - other[name]).sum() for name in one))


@pytest.mark.parametrize(
    ("norm", "told"), [("shared", {"running_mean", "running_var"}), ("local", set()), ("group", set())]
)
def test_statistics_leave_a_site_only_where_they_are_shared(norm: Any, told: set[str], cohort: Cohort) -> None:
    start, ended = learnt(FedAvg(norm=norm, **TINY), cohort)
    last = {name.rsplit(".", 1)[-1] for name in ended}
    assert last - {"weight", "bias"} == told
    assert start.keys() == ended.keys()
    assert distance(start, ended) > 0


def test_whoever_uses_a_network_without_statistics_takes_those_of_the_films_at_hand(make_cohort: MakeCohort) -> None:
    """All films in one batch: as the network in training sees them, but for a variance by n - 1 in place of n."""
    method, cohort = FedAvg(norm="local", **TINY), make_cohort((2,) * 8, size=64)
    _, weights = learnt(method, cohort)
    network = classifier(Design(width=2), 2, stream(2))
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
    with torch.no_grad():
        expected = network.train()(to_tensor(cohort.films(), CPU.compute)).numpy()
    told = method.predict(cohort.films(), weights, CPU)
    np.testing.assert_allclose(told, expected, atol=0.02)
    assert np.abs(told - method.predict(cohort.films()[:4], weights, CPU)[0]).max() > 0


def test_a_film_that_is_normalised_by_itself_tells_nothing_of_others(cohort: Cohort) -> None:
    method = FedAvg(norm="group", **TINY)
    _, weights = learnt(method, cohort)
    whole = method.predict(cohort.films(), weights, CPU)
    np.testing.assert_allclose(method.predict(cohort.films()[:1], weights, CPU), whole[:1], atol=1e-5)


def test_a_network_makes_films_alike_by_itself_wherever_it_is_used(make_cohort: MakeCohort) -> None:
    """Where the model is tested, and for whoever asks what a film does to its weights."""
    method, cohort = FedAvg(normalise="bands", norm="group", **TINY), make_cohort((2,) * 4, size=48)
    start, weights = learnt(method, cohort)
    told, plainly = (one.predict(cohort.films(), weights, CPU) for one in (method, FedAvg(norm="group", **TINY)))
    assert np.abs(told - plainly).max() > 0.02
    step = method.one_step(start, np.ones((len(cohort), 2), dtype=np.float32), cohort.size, CPU.compute)
    assert step is not None
    films = to_tensor(cohort.films(), CPU.compute).requires_grad_()
    slopes = torch.autograd.grad(step.loss(films), step.weights, create_graph=True)
    (back,) = torch.autograd.grad(torch.stack([slope.square().sum() for slope in slopes]).sum(), films)
    assert back.isfinite().all()
    assert (back.abs().amax((1, 2, 3)) > 0).all()


def test_what_is_said_of_a_finding_may_learn_from_the_others(cohort: Cohort) -> None:
    method = FedAvg(comorbidity=True, **TINY)
    start, ended = learnt(method, cohort)
    assert not start["comorbid.weight"].any()
    assert ended["comorbid.weight"].all()
    without = {name: array for name, array in start.items() if name != "comorbid.weight"}
    same = FedAvg(**TINY).predict(cohort.films(), without, CPU)
    np.testing.assert_array_equal(method.predict(cohort.films(), start, CPU), same)


def test_a_site_learns_otherwise_from_labels_that_it_does_not_believe(cohort: Cohort) -> None:
    believed = FedAvg(**TINY)
    doubted = FedAvg(label_noise={"sensitivity": 0.7, "specificity": 0.9}, **TINY)
    ends = [learnt(method, cohort)[1] for method in (believed, doubted)]
    assert distance(*ends) > 0
    labels = doubted.labels(cohort)
    step, plain = (one.one_step(ends[0], labels, cohort.size, CPU.compute) for one in (doubted, believed))
    assert step is not None
    assert plain is not None
    films = to_tensor(cohort.films(), CPU.compute)
    assert step.loss(films).item() != plain.loss(films).item()


def test_each_site_finds_out_by_itself_how_often_its_labels_are_right() -> None:
    """From what the model that it was sent says of its films, and of no finding of which that does not tell."""
    method = FedAvg(
        label_noise={"estimated": True, "findings": {"Edema": {"sensitivity": 0.6, "specificity": 0.8}}}, **TINY
    )
    truth = stream(3).random(400) < 0.5
    wrong = np.where(truth, stream(4).random(400) < 0.2, stream(5).random(400) < 0.1)
    labels = np.stack([truth ^ wrong, truth], axis=1).astype(np.float32)
    scores = np.where(truth, 4.0, -4.0)[:, None].repeat(2, axis=1).astype(np.float32)
    told = method.correction(labels, CPU.compute, scores)
    assert told is not None
    assert told.sensitivity.tolist() == pytest.approx([0.8, 0.6], abs=0.06)
    assert told.specificity.tolist() == pytest.approx([0.9, 0.8], abs=0.06)
    nothing = method.correction(labels[:8], CPU.compute, scores[:8])
    assert nothing is not None
    assert nothing.sensitivity.tolist() == pytest.approx([1.0, 0.6])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"file": "/etc/passwd"}, "no file that a scenario names"),
        ({"findings": {"Mess": {"sensitivity": 0.9, "specificity": 0.9}}}, "Mass"),
        ({"sensitivity": 0.5, "specificity": 0.5}, "sum to more than 1"),
        ({"learnt": True}, "its own films alone"),
    ],
)
def test_rates_that_say_nothing_or_are_of_nothing_are_refused(wrong: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FedAvg(label_noise=wrong, **TINY)


def test_places_of_things_are_learnt_at_sites_that_have_them(cohort: Cohort, annotated: Callable[..., Cohort]) -> None:
    """Each site tells what it has learnt of them; one without learns as if nobody had asked, to the last bit."""
    method, told = FedAvg(anatomy=("boxes", "heart", "lungs"), **TINY), list[Any]()
    assert method.anatomy == ("lungs", "heart", "boxes")
    context = replace(CPU, report=lambda facts: told.append(dict(facts)))
    start, ends = method.initial(stream(0)), list[Weights]()
    for films in (annotated(cohort, organs=["lungs"]), cohort):
        ends.append(method.learn(films, stream(1), context, start, Round(0, 2)))
    assert told == [{"anatomy": ["lungs", "boxes"]}, {"anatomy": []}]
    assert start["places.weight"].shape == (4, 8, 1, 1)
    before, after = (one["places.weight"].astype(float) for one in (start, ends[0]))
    left = after / before  # nobody has a heart: it shrinks as all weights do
    assert [bool(np.ptp(one) > 1e-5) for one in left] == [True, False, True, True]
    plain_start, plain_end = learnt(FedAvg(**TINY), cohort)
    assert {name: array.tobytes() for name, array in plain_start.items()}.items() <= {
        name: array.tobytes() for name, array in start.items()
    }.items()
    for name, array in plain_end.items():
        np.testing.assert_array_equal(array, ends[1][name])
    np.testing.assert_array_equal(ends[1]["places.weight"], start["places.weight"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"anatomy": ["liver"]}, "'lungs', 'heart' or 'boxes'"),
        ({"anatomy": ["lungs"], "network": "resnet18"}, "anatomy: .*resnet18 has none; set network: narrow"),
    ],
)
def test_places_that_nobody_could_learn_are_refused(wrong: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FedAvg(**wrong)


def test_fedprox_keeps_weights_near_what_was_sent(cohort: Cohort) -> None:
    free = FedAvg(**{**TINY, "steps": 6})
    held = FedAvg(**{**TINY, "steps": 6}, strategy="fedprox", options={"proximal_mu": 1000.0})
    moved = [distance(*learnt(method, cohort)) for method in (free, held)]
    assert moved[1] < 0.8 * moved[0]


def test_learning_rates_fall_over_all_rounds_together(cohort: Cohort) -> None:
    method = FedAvg(**{**TINY, "rounds": 10}, weight_decay=0.0, norm="group")
    middle, last = (distance(*learnt(method, cohort, Round(number, 10))) for number in (2, 9))
    assert last < 0.3 * middle


def test_a_sites_voice_is_its_films_or_one() -> None:
    assert [FedAvg(weighting=how, **TINY).counted(70) for how in ("films", "equal")] == [70, 1]


def test_what_sites_are_compared_with_knows_nothing_of_strategies_and_noise() -> None:
    method = FedAvg(
        strategy="fedprox", options={"proximal_mu": 1.0}, participation=0.5, norm="group",
        central={"clip": 1.0, "noise_multiplier": 1.0}, **TINY,
    )  # fmt: skip
    assert method.unguarded() == FedAvg(norm="group", **TINY)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"strategy": "fedsome"}, "strategy"),
        ({"options": {"beta": 0.1}}, "beta"),
        ({"participation": 0}, "participation"),
        ({"central": {"clip": 1.0, "noise_multiplier": 1.0}}, "statistics of batches"),
        ({"central": {"clip": 0.0, "noise_multiplier": 1.0}, "norm": "group"}, "clip"),
        ({"strategy": "krum", "options": {"num_malicious_nodes": 1}, "participation": 0.7}, "needs more sites"),
        ({"start": "public"}, "there are none"),
    ],
)
def test_what_cannot_be_is_refused_with_the_scenario(wrong: dict[str, Any], said: str) -> None:
    method = {"name": "fedavg", **TINY, **wrong}
    with pytest.raises(ConfigError, match=said):
        Scenario.parse({**SMALL, "sites": 5, "tasks": {}, "adversaries": {}, "method": method})


def test_weights_of_another_network_are_no_beginning(cohort: Cohort, tmp_path: Path) -> None:
    one, other = FedAvg(**TINY), FedAvg(**{**TINY, "width": 4})
    _, weights = learnt(one, cohort)
    one.save(weights, tmp_path / "model.safetensors")
    start = str(tmp_path / "model.safetensors")
    assert distance(FedAvg(**TINY, start=start).initial(stream(5)), weights) == 0
    with pytest.raises(Refused, match="another network"):
        FedAvg(**{**TINY, "width": 4}, start=start).initial(stream(5))
    assert other.initial(stream(5)).keys() == weights.keys()


def test_a_beginning_that_is_not_there_is_missed_before_anybody_learns() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        FedAvg(**TINY, start="publik").required_files()


def test_noise_on_whole_sites_is_a_guarantee_of_sites() -> None:
    method = FedAvg(norm="group", central={"clip": 1.0, "noise_multiplier": 4.0}, **{**TINY, "rounds": 9})
    told = guarantee_of(method)
    assert told is not None
    assert told.unit == "site"
    assert told.epsilon == pytest.approx(gaussian_epsilon(4.0, 9, 1e-5))
    assert guarantee_of(FedAvg(**TINY)) is None


# A federation as a whole -----------------------------------------------------------------------------------------


def federation(tmp_path: Path, public: bool = False, **method: Any) -> Run:
    document: dict[str, Any] = {**SMALL, "adversaries": {}, "method": {"name": "fedavg", **TINY, **method}}
    if public:
        document["public"] = {"source": "phantom", "patients": 20, "size": 32, "seed": 9}
    return simulate(Scenario.parse(document), Options(tmp_path, "inline"))


def test_a_federation_stands_beside_what_it_is_compared_with(tmp_path: Path) -> None:
    run = federation(tmp_path, public=True, start="public", participation=0.6)
    assert run.result is not None
    figures = run.result["utility"]["findings"]
    assert [point["round"] for point in figures["curve"]] == [0, 1, 2]
    assert figures["curve"][-1]["mean_auc"] == figures["trained"]["mean_auc"]["value"]
    assert figures["curve"][0]["mean_auc"] == figures["start"]["mean_auc"]["value"]
    assert figures["together"]["mean_auc"]["value"] != figures["trained"]["mean_auc"]["value"]
    assert set(figures["alone"]["by_site"]) == {"site-1", "site-2", "site-3"}
    alone = [one["value"] for one in figures["alone"]["by_site"].values()]
    assert figures["alone"]["mean_auc"]["value"] == pytest.approx(np.mean(alone))
    # Two of three sites were asked in each round.
    assert [len({report.site for report in run.reports() if report.round == number}) for number in (1, 2)] == [2, 2]
    began = dict(run.rounds())[0].weights
    assert distance(began, FedAvg(**TINY).initial(stream(0, "coordinator", "initial"))) > 0
    assert (run.folder / "pictures" / "findings.curve.png").is_file()


def test_all_sites_are_asked_in_some_round() -> None:
    method = FedAvg(**TINY, participation=0.4)
    names = tuple(f"site-{number}" for number in range(5))
    asked = [method.learning.participants(names, stream(0, number)) for number in range(20)]
    assert {len(one) for one in asked} == {2}
    assert set().union(*asked) == set(names)
    assert FedAvg(**TINY).learning.participants(names, stream(0)) == names
