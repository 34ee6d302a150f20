"""A proof: a method that shares a model, of three rounds and averaged by Flower, is one file outside the package."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from averaged_model import AveragedModel
from rich.console import Console
from small import SMALL, figures

from fedcxr.cli.console import summary
from fedcxr.methods import Round, RunContext, Weights
from fedcxr.metrics import finding_aucs
from fedcxr.rng import stream
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.storage.checkpoint import Checkpoint
from server.simulate import Options, simulate

METHOD = "averaged_model:AveragedModel"
SITES = ("site-1", "site-2", "site-3")
CPU = RunContext("cpu", "fp32")


def scenario(**parameters: Any) -> Scenario:
    return Scenario.parse({**SMALL, "tasks": {}, "adversaries": {}, "method": {"name": METHOD, **parameters}})


def by_hand(of: Scenario, cache: Path) -> Weights:
    """Every site's learning, and means weighed by films, without any of the federation's code."""
    method, experiment = of.method, Experiment.open(of, cache)
    train = {site: experiment.site(site).where("train") for site in SITES}
    weights = method.initial(stream(0))
    for number in range(3):
        learnt = [
            method.learn(train[site], stream(of.seed, "site", site, "learn", number), CPU, weights, Round(number, 3))
            for site in SITES
        ]
        films = [len(train[site]) for site in SITES]
        weights = {
            name: np.average([one[name].astype(float) for one in learnt], axis=0, weights=films).astype(np.float32)
            for name in weights
        }
    return weights


def learnt_of(run: Run) -> Weights:
    learnt = run.learnt()
    assert learnt is not None
    return learnt.weights


def test_three_rounds_end_at_the_mean_of_what_the_sites_learnt(tmp_path: Path) -> None:
    of = scenario()
    run = simulate(of, Options(tmp_path / "runs", "inline"))
    expected = by_hand(of, tmp_path)
    for name, array in learnt_of(run).items():
        np.testing.assert_allclose(array.astype(float), expected[name].astype(float), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(
        Checkpoint.read(run.learnt_file("coordinator")).arrays["slopes"], learnt_of(run)["slopes"]
    )
    assert (run.folder / "learnt" / "round-0003.release").is_file()


def test_what_was_shared_is_a_model_and_no_film(tmp_path: Path) -> None:
    of = scenario()
    run = simulate(of, Options(tmp_path / "runs", "inline"))
    experiment = Experiment.open(of, tmp_path)
    for release in run.releases(SITES):
        assert (release.kind, len(release), dict(release.arrays)) == ("update", 0, {})
        assert release.facts["films"] == len(experiment.site(release.site).where("train"))
    assert run.result is not None
    assert [site["released"] for site in run.result["sites"]] == [0, 0, 0]
    assert (run.result["privacy"]["label_floor"], run.result["privacy"]["formal"]) == (None, None)
    said = io.StringIO()
    summary(run.result, run.folder, Console(file=said, width=160))
    assert f"{METHOD}, seed 0: 3 of 3 sites released 0 films of 60 patients" in said.getvalue()


def test_the_model_tells_the_findings_it_was_taught(tmp_path: Path) -> None:
    of, method = scenario(steps=300), AveragedModel()
    run = simulate(of, Options(tmp_path / "runs", "inline"))
    train = Experiment.open(of, tmp_path).cohort.where("train")
    scores = method.predict(train.films(), learnt_of(run), CPU)
    others = stream(1).permutation(len(scores))
    told, chance = (finding_aucs(train.labels, s, train.findings).mean_auc for s in (scores, scores[others]))
    assert told is not None
    assert chance is not None
    assert told > 0.75 > 0.6 > chance


def test_how_useful_it_is_is_told_of_the_model_that_was_shared(tmp_path: Path) -> None:
    """On the films of the test split, against the same ceiling as every other method; nothing else is measured."""
    of = Scenario.parse({**scenario(steps=300).document(), "tasks": SMALL["tasks"]})
    run = simulate(of, Options(tmp_path / "runs", "inline"))
    test = Experiment.open(of, tmp_path).cohort.where("test")
    scores = AveragedModel().predict(test.films(), learnt_of(run), CPU)
    expected = finding_aucs(test.labels, scores, test.findings, SMALL["tasks"]["findings"]["min_positives"])
    assert run.result is not None
    told = run.result["utility"]["findings"]
    assert told["trained"]["mean_auc"]["value"] == pytest.approx(expected.mean_auc)
    assert told["trained"]["per_finding"].keys() == told["raw"]["per_finding"].keys()
    assert [arm for arm, figures in told.items() if figures is None] == ["trained_released", "frozen", "unauthorised"]


@pytest.mark.slow
def test_killed_in_its_second_round_it_ends_at_the_same_bytes(tmp_path: Path) -> None:
    of = scenario(strategy="fedyogi", steps=10_000)  # it remembers more of earlier rounds than their model
    plan, killed = tmp_path / "plan.yaml", Run.place(tmp_path / "killed", of)
    plan.write_text(of.to_yaml())
    command = [sys.executable, "-m", "fedcxr.cli", "simulate", str(plan), "--out", str(tmp_path / "killed")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    whole = simulate(of, Options(tmp_path / "whole", "inline"))
    with subprocess.Popen([*command, "--engine", "inline"], env=environment, stderr=subprocess.DEVNULL) as victim:
        deadline = time.monotonic() + 120
        while not (killed.folder / "learnt" / "round-0001.release").is_file():
            assert time.monotonic() < deadline
            assert victim.poll() is None
            time.sleep(0.005)
        victim.send_signal(signal.SIGKILL)
    assert not (killed.folder / "learnt" / "round-0002.release").exists()
    first = (killed.folder / "learnt" / "round-0001.release").stat().st_mtime_ns
    done = subprocess.run(
        [*command, "--resume", "--format", "json"], env=environment, capture_output=True, timeout=300, check=True
    )
    assert (killed.folder / "learnt" / "round-0001.release").stat().st_mtime_ns == first
    assert (killed.folder / "learnt" / "learnt.release").read_bytes() == (
        whole.folder / "learnt" / "learnt.release"
    ).read_bytes()
    assert whole.result is not None
    assert figures(json.loads(done.stdout)) == figures(whole.result)
