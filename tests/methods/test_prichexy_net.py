"""Training against a classifier and a verifier: repeatable, interrupted and resumed, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from fedcxr import plugins
from fedcxr.cli import catalogue
from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError, DataError, StorageError, TrainingDiverged
from fedcxr.learning import Learning
from fedcxr.methods import Round, RunContext, Weights, _adversarial_training
from fedcxr.methods import _generator as generators
from fedcxr.methods.prichexy_net import PriCheXyNet
from fedcxr.models.flow import flow
from fedcxr.pairs.sampler import PairSampler
from fedcxr.rng import stream
from fedcxr.storage.checkpoint import Checkpoint, digest
from fedcxr.training import schedule

MakeCohort = Callable[..., Cohort]

SMALL: dict[str, Any] = {
    "widths": (4, 8), "width": 4, "batch": 6, "dimensions": 8,
    "steps_classifier": 2, "steps_verifier": 3, "steps": 4,
}  # fmt: skip
CPU = RunContext("cpu", "fp32")


def small(**fields: Any) -> PriCheXyNet:
    return cast(PriCheXyNet, plugins.build("method", {"name": "prichexy_net", **SMALL, **fields}))


@pytest.fixture(scope="module")
def cohort(make_cohort: MakeCohort) -> Cohort:
    return make_cohort((3, 2, 1, 3, 2, 3, 2, 1), size=32)


def learn(cohort: Cohort, context: RunContext = CPU, seed: int = 1, **fields: Any) -> Weights:
    return small(**fields).learn(cohort, stream(seed, "learn"), context)


@pytest.fixture(scope="module")
def learnt(cohort: Cohort) -> Weights:
    return learn(cohort)


# What comes out -------------------------------------------------------------------------------------------------------


def test_same_stream_same_weights_and_another_stream_others(cohort: Cohort, learnt: Weights) -> None:
    assert digest(learn(cohort)) == digest(learnt)
    assert digest(learn(cohort, seed=2)) != digest(learnt)


def test_the_weights_are_the_generators_and_the_size_of_its_films(cohort: Cohort, learnt: Weights) -> None:
    assert learnt["film_size"].tolist() == [32, 32]
    assert learnt["film_size"].dtype == np.int64
    assert {array.dtype.name for name, array in learnt.items() if name != "film_size"} == {"float32"}
    assert all(name.startswith("generator.") for name in learnt if name != "film_size")


def test_mu_zero_releases_the_very_bytes(cohort: Cohort) -> None:
    method = small(mu=0)
    protect = method.protector(method.learn(cohort, stream(1), CPU), CPU)
    np.testing.assert_array_equal(protect(cohort.films(), stream(1)), cohort.films())


def test_films_are_moved_and_no_further_than_mu(cohort: Cohort, learnt: Weights) -> None:
    """A ramp of 4 grey levels per pixel changes by at most 4 levels per pixel of displacement."""
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8) * 4, (2, 32, 32)).copy()
    method = small(mu=0.25, learning_rate=0.1)
    weights = method.learn(cohort, stream(1), CPU)
    change = np.abs(method.protector(weights, CPU)(ramp, stream(1)).astype(int) - ramp)
    assert 0 < change.max() <= 4 * 0.25 * 16 + 1


def test_pixels_are_those_of_a_film_of_256() -> None:
    assert small(mu="1.28 px").reach == small(mu=0.01).reach
    assert small(mu="128px").reach == 1.0
    assert plugins.build("method", small(mu="1.28 px").spec()) == small(mu="1.28 px")


@pytest.mark.parametrize("mu", ["129 px", "1", "-1 px", "px", -0.1, 1.01, None])
def test_displacements_without_meaning_are_refused(mu: object) -> None:
    with pytest.raises(ConfigError, match=r"prichexy_net: mu(:| is)"):
        small(mu=mu)


def test_ablations_learn_something_else(cohort: Cohort, learnt: Weights) -> None:
    assert len({digest(learn(cohort, against=who)) for who in ("both", "classifier", "verifier")}) == 3


def test_an_ablation_does_not_train_who_is_left_out(cohort: Cohort) -> None:
    stages: set[str] = set()
    learn(cohort, RunContext("cpu", "fp32", progress=lambda stage, *_: stages.add(stage)), against="classifier")
    assert stages == {"prichexy_net classifier", "prichexy_net against"}


def test_unknown_findings_are_no_reason_to_stop(make_cohort: MakeCohort) -> None:
    cohort = make_cohort((3, 2, 3), size=32)
    cohort.index.loc[:, list(cohort.findings)] = np.nan
    assert np.isfinite(learn(cohort)["generator.head.weight"]).all()


# Interrupted and resumed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 4, 5, 7, 8, 9])
def test_interrupted_after_any_step_and_resumed_it_is_as_if_nothing_had_happened(
    steps: int, cohort: Cohort, learnt: Weights, tmp_path: Path
) -> None:
    taken: list[str] = []

    def interrupt(stage: str, done: int, total: int) -> None:
        taken.append(stage)
        if len(taken) == steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(cohort, RunContext("cpu", "fp32", progress=interrupt, folder=tmp_path))
    resumed = learn(cohort, RunContext("cpu", "fp32", progress=interrupt, folder=tmp_path))
    assert digest(resumed) == digest(learnt)
    assert len(taken) == 9  # no step is taken twice


def test_killed_it_goes_on_from_the_last_checkpoint(
    cohort: Cohort, learnt: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(schedule, "SAVE_SHARE", 0)
    taken: list[str] = []

    def kill(stage: str, done: int, total: int) -> None:
        taken.append(stage)
        if len(taken) == 7:
            raise SystemError("killed")

    with pytest.raises(SystemError):
        learn(cohort, RunContext("cpu", "fp32", progress=kill, folder=tmp_path))
    assert digest(learn(cohort, RunContext("cpu", "fp32", progress=kill, folder=tmp_path))) == digest(learnt)
    assert len(taken) == 10  # the step that nobody had written down


def test_what_is_done_is_not_done_again(cohort: Cohort, learnt: Weights, tmp_path: Path) -> None:
    learn(cohort, RunContext("cpu", "fp32", folder=tmp_path))
    again = learn(cohort, RunContext("cpu", "fp32", progress=lambda *_: pytest.fail("a step"), folder=tmp_path))
    assert digest(again) == digest(learnt)


def test_another_training_in_the_same_folder_starts_afresh(cohort: Cohort, learnt: Weights, tmp_path: Path) -> None:
    learn(cohort, RunContext("cpu", "fp32", folder=tmp_path), seed=5)
    assert digest(learn(cohort, RunContext("cpu", "fp32", folder=tmp_path))) == digest(learnt)


def test_what_other_code_has_begun_is_not_gone_on_from(cohort: Cohort, learnt: Weights, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as earlier:
        earlier.setattr("fedcxr.storage.version.code_version", lambda: "another")
        with pytest.raises(KeyboardInterrupt):
            learn(cohort, RunContext("cpu", "fp32", progress=interrupt, folder=tmp_path))
    taken: list[str] = []
    again = RunContext("cpu", "fp32", progress=lambda stage, *_: taken.append(stage), folder=tmp_path)
    assert digest(learn(cohort, again)) == digest(learnt)
    assert len(taken) == 9  # every step


def test_a_damaged_checkpoint_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    learn(cohort, RunContext("cpu", "fp32", folder=tmp_path))
    path = tmp_path / "learning-0000.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        learn(cohort, RunContext("cpu", "fp32", folder=tmp_path))


def test_a_loss_that_is_no_number_stops_the_training_and_leaves_the_last_good_state(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(schedule, "SAVE_SHARE", 0)
    calls = iter([1.0] * 4 + [np.nan])  # the classifier's two steps alone, and two of four steps together
    honest = vars(_adversarial_training)["findings_loss"]
    monkeypatch.setattr(_adversarial_training, "findings_loss", lambda *told: honest(*told) * next(calls))
    with pytest.raises(TrainingDiverged, match=r"against: .* step 3 of 4: .* nan; given: learning rates: generator"):
        learn(cohort, RunContext("cpu", "fp32", folder=tmp_path))
    kept = Checkpoint.read(tmp_path / "learning-0000.safetensors")
    assert (kept.facts["step"], kept.facts["done"]) == (2, False)
    assert all(np.isfinite(array).all() for array in kept.arrays.values())


# Federations ----------------------------------------------------------------------------------------------------------


def turns(cohort: Cohort, folder: Path | None, start: Weights, seed: int = 1, turn: int | None = None) -> Weights:
    rounds, method = 2, small(fit="federated", rounds=2, steps=5)
    for number in range(rounds) if turn is None else [turn]:
        rng = stream(seed, "learn", number)
        start = method.learn(cohort, rng, RunContext("cpu", "fp32", folder=folder), start, Round(number, rounds))
    return start


def test_all_sites_of_a_federation_start_from_the_same_weights(cohort: Cohort, tmp_path: Path) -> None:
    method = small(fit="federated")
    assert method.learning == Learning("federated", 8)
    initial = method.initial(stream(0))
    assert digest(initial) == digest(method.initial(stream(0)))
    learnt = turns(cohort, tmp_path, initial)
    assert {n: a.shape for n, a in learnt.items()} == {n: a.shape for n, a in initial.items()}
    assert digest(learnt) != digest(initial)


def test_a_turn_that_is_asked_for_again_is_answered_with_the_same(cohort: Cohort, tmp_path: Path) -> None:
    initial = small().initial(stream(0))
    first = turns(cohort, tmp_path, initial, turn=0)
    second = turns(cohort, tmp_path, first, turn=1)
    assert digest(turns(cohort, tmp_path, initial, turn=0)) == digest(first)
    assert digest(turns(cohort, tmp_path, first, turn=1)) == digest(second)


def test_opponents_stay_at_the_site_between_turns(cohort: Cohort, tmp_path: Path) -> None:
    stages: list[str] = []
    method, weights = small(fit="federated", rounds=4), small().initial(stream(0))
    for number in (0, 1, 3):  # it could not take part in one turn
        context = RunContext("cpu", "fp32", progress=lambda stage, *_: stages.append(stage), folder=tmp_path)
        weights = method.learn(cohort, stream(1, number), context, weights, Round(number, 4))
    assert [stage.split()[1] for stage in stages] == ["classifier"] * 2 + ["verifier"] * 3 + ["against"] * 3
    assert not (tmp_path / "learning-0000.safetensors").exists()
    assert (tmp_path / "learning-0003.safetensors").exists()


def test_a_site_too_small_to_teach_hands_on_what_it_was_given(make_cohort: MakeCohort) -> None:
    initial = small().initial(stream(0))
    assert digest(turns(make_cohort((1, 1), size=32), None, initial)) == digest(initial)


def test_alone_a_site_too_small_to_learn_says_so(make_cohort: MakeCohort) -> None:
    with pytest.raises(DataError, match=r"too few patients to learn from.*2 films of 2 patients"):
        learn(make_cohort((1, 1), size=32))
    assert "film_size" in learn(make_cohort((1, 1), size=32), against="classifier")


# Weights from a file --------------------------------------------------------------------------------------------------


def test_weights_in_a_file_replace_learning(cohort: Cohort, learnt: Weights, tmp_path: Path) -> None:
    small().save(learnt, tmp_path / "generator.safetensors")
    method = small(weights=str(tmp_path / "generator.safetensors"), fit="federated")
    assert method.required_files() == (tmp_path / "generator.safetensors",)
    assert method.learning == Learning("local")
    context = RunContext("cpu", "fp32", progress=lambda *_: pytest.fail("a step"))
    assert digest(method.learn(cohort.take([0]), stream(9), context)) == digest(learnt)


def test_weights_of_another_generator_are_refused_at_load_time(learnt: Weights, tmp_path: Path) -> None:
    small().save(learnt, tmp_path / "generator.safetensors")
    path = str(tmp_path / "generator.safetensors")
    with pytest.raises(ConfigError, match=r"another widths.*\[4, 8\] in .*\[4, 8, 16\]"):
        small(weights=path, widths=(4, 8, 16)).required_files()
    with pytest.raises(ConfigError, match=r"another method.*prichexy_net in .*privacy_net"):
        plugins.build("method", {"name": "privacy_net", "weights": path}).required_files()
    with pytest.raises(ConfigError, match="there are no weights here"):
        small(weights=str(tmp_path / "nothing")).required_files()
    (tmp_path / "x").write_bytes(b"\x80\x04pickle")
    with pytest.raises(StorageError, match="cannot read"):
        small(weights=str(tmp_path / "x")).required_files()


def test_weights_for_films_of_another_size_are_refused(
    learnt: Weights, make_cohort: MakeCohort, tmp_path: Path
) -> None:
    small().save(learnt, tmp_path / "generator.safetensors")
    larger = make_cohort((3, 2, 3), size=64)
    with pytest.raises(ConfigError, match=r"another size.*64 x 64.*32 x 32"):
        learn(larger, weights=str(tmp_path / "generator.safetensors"))
    with pytest.raises(ConfigError, match=r"another size.*64 x 64.*32 x 32"):
        small().protector(learnt, CPU)(larger.films(), stream(1))


def test_weights_that_do_not_fit_or_are_not_finite_release_nothing(learnt: Weights) -> None:
    with pytest.raises(ConfigError, match=r"another generator.*missing"):
        small().protector({k: v for k, v in learnt.items() if k != "generator.head.bias"}, CPU)
    with pytest.raises(ConfigError, match=r"another generator.*generator\.down"):
        small(widths=(4, 16)).protector(learnt, CPU)
    with pytest.raises(ConfigError, match="let it learn first"):
        small().protector({}, CPU)
    poisoned = {**learnt, "generator.head.bias": np.full(8, np.nan, dtype=np.float32)}
    with pytest.raises(TrainingDiverged, match=r"not finite.*head\.bias"):
        small().protector(poisoned, CPU)
    # Finite weights can still give films that are not: no variance is negative.
    negative = {name: np.negative(array) if name.endswith("running_var") else array for name, array in learnt.items()}
    films = stream(1).integers(0, 256, (2, 32, 32), dtype=np.uint8)
    with pytest.raises(DataError, match="not finite"):
        small().protector(negative, CPU)(films, stream(1))


# Details --------------------------------------------------------------------------------------------------------------


def test_releasing_draws_nothing_and_does_not_depend_on_chunks(cohort: Cohort, learnt: Weights) -> None:
    protect, rng = small().protector(learnt, CPU), stream(1)
    before = repr(rng.bit_generator.state)
    films = cohort.films()
    whole = protect(films, rng)
    assert repr(rng.bit_generator.state) == before
    np.testing.assert_array_equal(np.concatenate([protect(films[:5], rng), protect(films[5:], rng)]), whole)
    assert protect(films[:0], rng).shape == (0, 32, 32)


def test_global_random_numbers_are_neither_used_nor_moved(cohort: Cohort, learnt: Weights) -> None:
    state = torch.get_rng_state()
    torch.rand(1)
    moved = torch.get_rng_state()
    assert digest(learn(cohort)) == digest(learnt)
    assert torch.equal(torch.get_rng_state(), moved)
    torch.set_rng_state(state)


def test_couples_are_two_films_of_one_patient() -> None:
    patients = np.array(["b", "a", "b", "c", "a", "b"], dtype=object)
    sampler = PairSampler.of(patients)
    rng = stream(1)
    seen = set()
    for _ in range(50):
        first, second = sampler.pairs(9, rng)
        assert sorted(patients[first]) == ["a", "b"]
        assert (patients[first] == patients[second]).all()
        assert (first != second).all()
        seen |= {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}
        assert sorted(patients[sampler.anyone(9, rng)]) == ["a", "b", "c"]
    assert seen == {frozenset(pair) for pair in ((0, 2), (0, 5), (2, 5), (1, 4))}


def test_fedcxr_methods_prints_paper_equations_and_deviations() -> None:
    told = catalogue.entry("method", "prichexy_net", "text").splitlines()
    for key in ("paper: ", "equations: F(x)", "deviations: ", "guarantee: none"):
        assert [line for line in told if line.startswith(key)]
    assert "equations" not in catalogue.entry("method", "none", "text")


def test_the_flow_that_is_drawn_is_the_flow_that_is_released(make_cohort: Any) -> None:
    """A film whose grey is its place: what is released says where each pixel came from."""
    method = PriCheXyNet(mu=0.1, widths=(4, 8))
    rng = np.random.default_rng(0)
    network = flow(method.widths, method.cell, method.reach, rng)
    with torch.no_grad():
        network.generator.head.weight.normal_(generator=torch.Generator().manual_seed(0))
    weights = generators.arrays_of(network, (32, 32))
    slope = np.ascontiguousarray(np.broadcast_to((np.arange(32) * 8).astype(np.uint8), (1, 32, 32)))
    for axis, film in ((0, slope), (1, np.ascontiguousarray(slope.transpose(0, 2, 1)))):
        moved = method.displacements(film, weights, RunContext("cpu", "fp32"))[0, axis]
        released = method.protector(weights, RunContext("cpu", "fp32"))(film, rng)[0].astype(float)
        places = np.arange(32)[None, :] if axis == 0 else np.arange(32)[:, None]
        expected = np.clip(places + moved, 0, 31) * 8
        assert np.abs(moved).max() > 0.3
        np.testing.assert_allclose(released, expected, atol=0.75)
