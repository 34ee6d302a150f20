"""Flower's strategies at work: what Flower itself makes of the same updates, and the same again after any kill."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import ConfigError
from fedcxr.learning import CentralNoise, Learning
from fedcxr.learning.strategies import STRATEGIES
from fedcxr.methods import Weights
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from server.aggregation import Aggregation, noised
from server.exchange import Exchange
from server.inline import InlineGrid
from server.learning import learn
from server.register import Register
from server.simulate import client_app

SITES = [f"site-{number}" for number in range(1, 8)]
OPTIONS: dict[str, dict[str, Any]] = {
    "fedprox": {"proximal_mu": 0.1},
    "fedavgm": {"server_learning_rate": 0.7, "server_momentum": 0.9},
    "multikrum": {"num_malicious_nodes": 1, "num_nodes_to_select": 3},
    "krum": {"num_malicious_nodes": 2},
    "bulyan": {"num_malicious_nodes": 1},
}
REMEMBERING = [name for name, strategy in STRATEGIES.items() if strategy.remembers]
ROUNDS = 4


@pytest.fixture(autouse=True)
def within_flower() -> None:
    """Messages can be made in one of Flower's own processes, or where there is a grid."""
    InlineGrid(client_app(), 1, workers=1)


def start() -> Weights:
    """Not in the order of their names, on which some strategies rely."""
    rng = stream(0, "start")
    return {"slope": rng.normal(size=(3, 2)).astype(np.float32), "offset": rng.normal(size=2).astype(np.float32)}


def updates(number: int, before: Weights) -> dict[str, Release]:
    """What seven sites send in a round; their weights lie around those they were sent."""
    sent = {}
    for place, site in enumerate(SITES):
        rng = stream(number, site)
        moved = {n: (a.astype(float) + rng.normal(size=a.shape)).astype(np.float32) for n, a in sorted(before.items())}
        release = Release("update", site, "m", {}, {"films": 10 + place}).publishing(moved)
        sent[site] = Release.from_bytes(release.to_bytes())
    return sent


def learning(name: str) -> Learning:
    return Learning("federated", ROUNDS, name, OPTIONS.get(name, {}))


class Nodes:
    """All of a grid that Flower's own strategies look at before a round."""

    def get_node_ids(self) -> Iterable[int]:
        return range(len(SITES))


def by_flower(name: str) -> Weights:
    """The same rounds as a user of Flower would have them."""
    strategy = getattr(flower, STRATEGIES[name].__name__)(**OPTIONS.get(name, {}))
    weights = dict(sorted(start().items()))
    for number in range(1, ROUNDS + 1):
        replies = []
        for update in updates(number, weights).values():
            arrays = ArrayRecord({n: Array(a.astype(np.float64)) for n, a in sorted(update.weights.items())})
            metrics = MetricRecord({"num-examples": update.facts["films"]})
            replies.append(Message(RecordDict({"a": arrays, "m": metrics}), dst_node_id=1, message_type="train"))
        sent = ArrayRecord({n: Array(a.astype(np.float64)) for n, a in weights.items()})
        strategy.configure_train(number, sent, ConfigRecord(), Nodes())
        made, _ = strategy.aggregate_train(number, replies)
        weights = {n: array.numpy().astype(np.float32) for n, array in made.items()}
    return weights


def ours(name: str, folder: Path, killed_after: int | None = None) -> Weights:
    aggregation, weights = Aggregation(learning(name), folder), start()
    befores = []
    for number in range(1, ROUNDS + 1):
        befores.append(weights)
        weights = aggregation.combined(number, weights, updates(number, weights))
        if number == killed_after:
            aggregation = Aggregation(learning(name), folder)
            for earlier, before in enumerate(befores, start=1):
                aggregation.again(earlier, before)
    return weights


@pytest.mark.parametrize("name", STRATEGIES)
def test_rounds_are_flowers_own_to_the_last_bit(name: str, tmp_path: Path) -> None:
    flowers, made = by_flower(name), ours(name, tmp_path)
    assert made.keys() == flowers.keys()
    for key, array in flowers.items():
        np.testing.assert_array_equal(made[key], array)
        assert made[key].dtype == np.float32


@pytest.mark.parametrize("name", REMEMBERING)
def test_a_strategy_that_remembers_would_miss_what_it_forgot(name: str, tmp_path: Path) -> None:
    """The control of the test below: a new strategy that is not told of earlier rounds goes elsewhere."""
    aggregation, weights = Aggregation(learning(name), tmp_path), start()
    for number in range(1, ROUNDS + 1):
        weights = aggregation.combined(number, weights, updates(number, weights))
        aggregation = Aggregation(learning(name), tmp_path)
    assert any((weights[key] != array).any() for key, array in ours(name, tmp_path / "whole").items())


@pytest.mark.parametrize("killed_after", [1, 3])
@pytest.mark.parametrize("name", [*REMEMBERING, "fedavg"])
def test_a_killed_federation_remembers(name: str, killed_after: int, tmp_path: Path) -> None:
    whole, again = ours(name, tmp_path / "whole"), ours(name, tmp_path / "killed", killed_after)
    for key, array in whole.items():
        np.testing.assert_array_equal(again[key], array)


def test_the_mean_is_weighed_by_films_and_the_median_is_not(tmp_path: Path) -> None:
    sent = {
        site: Release("update", site, "m", {}, {"films": films}).publishing({"w": np.array([value], np.float32)})
        for site, films, value in (("site-1", 1, 0.0), ("site-2", 2, 3.0), ("site-3", 7, 10.0))
    }
    before: Weights = {"w": np.zeros(1, dtype=np.float32)}
    made = {
        name: float(Aggregation(Learning("federated", 1, name), tmp_path).combined(1, before, sent)["w"][0])
        for name in ("fedavg", "fedmedian")
    }
    assert made == {"fedavg": pytest.approx(7.6), "fedmedian": 3.0}


def test_whole_numbers_must_be_everyones(tmp_path: Path) -> None:
    sent = {
        site: Release("update", site, "m", {}, {"films": 1}).publishing({"size": np.array([size], np.int64)})
        for site, size in (("site-1", 64), ("site-2", 32))
    }
    with pytest.raises(ConfigError, match="different films; given: size of site-2"):
        Aggregation(Learning("federated"), tmp_path).combined(1, {"size": np.array([64])}, sent)


# Killed ---------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a kill between one file and the next."""


def rounds(out: Path) -> tuple[bytes, list[bytes], tuple[Any, ...]]:
    """A federation that remembers, taken as far as it goes: its model, the updates of each round, and reports."""
    document = {
        "sites": 3,
        "cohort": {"source": "phantom", "patients": 20, "size": 32},
        "method": {
            "name": "learners:Greyer",
            "fit": "federated",
            "strategy": "fedadam",
            "options": {"eta": 0.5},
            "tells": True,
        },
        "compute": {"device": "cpu", "precision": "fp32", "timeout_s": 60.0},
    }
    scenario = Scenario.parse({**document, "tasks": {}, "adversaries": {}})
    run = Run.place(out, scenario)
    with run.begun(resume=True):
        grid = InlineGrid(client_app(), 3, workers=2)
        learnt = learn(Exchange(grid, run, Register.of_simulation(scenario)), run, keep_updates=True)
        assert learnt is not None
        assert not run.means.exists()
        assert [(number, update.site) for number, update in run.updates()] == [
            (number, f"site-{site}") for number in (1, 2, 3) for site in (1, 2, 3)
        ]
        return learnt.to_bytes(), [update.to_bytes() for _, update in run.updates()], run.reports()


@pytest.mark.slow
def test_a_federation_killed_before_any_of_its_files_ends_at_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rounds(tmp_path / "whole")
    files, last = 0, 10**9

    def count(_: int) -> None:
        nonlocal files
        files += 1
        if files == last:
            raise Killed

    monkeypatch.setattr("fedcxr.storage.disk.os.fsync", count)
    assert rounds(tmp_path / "counted") == whole
    every = files
    assert every > 3 * (1 + 3 + 1 + 1)  # a mean, three updates, the reports and the outcome of each round
    for last in range(1, every + 1):
        files = 0
        with pytest.raises(Killed):
            rounds(tmp_path / str(last))
        assert rounds(tmp_path / str(last)) == whole


def test_measured_variances_are_no_steps_of_a_strategy(tmp_path: Path) -> None:
    """FedAdam would step below zero along a variance that falls; it is averaged."""
    before: Weights = {"0.running_var": np.full(2, 0.05, np.float32), "0.weight": np.ones(2, np.float32)}
    sent = {
        site: Release("update", site, "m", {}, {"films": 1}).publishing(
            {"0.running_var": np.full(2, 0.01, np.float32), "0.weight": np.zeros(2, np.float32)}
        )
        for site in SITES
    }
    made = Aggregation(Learning("federated", 1, "fedadam"), tmp_path).combined(1, before, sent)
    np.testing.assert_allclose(made["0.running_var"].astype(float), 0.01)
    assert (made["0.weight"].astype(float) > 0).all()


@given(
    sites=st.integers(1, 5), missing=st.integers(0, 2), clip=st.floats(0.01, 10), scale=st.floats(0, 1e4),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_no_site_moves_a_noised_mean_further_than_it_may(
    sites: int, missing: int, clip: float, scale: float, seed: int
) -> None:
    """Without it, the same noise: what is left is the site's own part, never longer than clip over all asked."""
    rng, how = stream(seed), CentralNoise(clip=clip, noise_multiplier=1.0)
    before: Weights = {"a": rng.normal(size=(3, 2)), "b": rng.normal(size=4)}
    sent: list[Weights] = [
        {n: a.astype(float) + scale * rng.normal(size=a.shape) for n, a in before.items()} for _ in range(sites)
    ]
    asked = sites + missing
    whole, less = (noised(before, some, how, asked, stream(seed, "noise")) for some in (sent, sent[1:]))
    moved = np.sqrt(sum(np.square(whole[name] - less[name]).sum() for name in before))
    assert moved <= clip / asked * (1 + 1e-9)


def test_the_noise_on_a_mean_is_as_wide_as_is_told() -> None:
    before: Weights = {"a": np.zeros(20_000)}
    how = CentralNoise(clip=0.5, noise_multiplier=3.0)
    made = noised(before, [{"a": np.zeros(20_000)}] * 4, how, 4, stream(1))
    assert np.std(made["a"]) == pytest.approx(0.5 * 3.0 / 4, rel=0.03)


def test_a_round_with_noise_is_the_same_again(tmp_path: Path) -> None:
    learning = Learning("federated", 1, central=CentralNoise(clip=1.0, noise_multiplier=1.0))
    once, again = (
        Aggregation(learning, tmp_path, lambda number: stream(number, "noise")).combined(
            1, start(), updates(1, start())
        )
        for _ in range(2)
    )
    for name, array in once.items():
        np.testing.assert_array_equal(array, again[name])
    with pytest.raises(ConfigError, match="noise"):
        Aggregation(learning, tmp_path).combined(1, start(), updates(1, start()))
