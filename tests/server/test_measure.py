"""What is made once for several runs, and what is begun before the sites have released anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from small import SMALL, figures

from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.storage.artefacts import Artefacts
from server import measure
from server import simulate as engines
from server.simulate import Options, simulate


def run_of(out: Path, scale: float, **changes: Any) -> Run:
    scenario = Scenario.parse({**SMALL, "method": {"name": "noise", "scale": scale}, **changes})
    return simulate(scenario, Options(out, "inline"))


def stages(run: Run) -> set[str]:
    """What was reported on the way."""
    lines = (run.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return {event["stage"] for line in lines if (event := json.loads(line))["event"] == "progress"}


@pytest.fixture
def cache(tmp_path: Path, nobodys_own_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store of artefacts beside the cohorts that other tests have rendered."""
    own = tmp_path / "cache"
    own.mkdir()
    for made in (nobodys_own_files / "cache").glob("*"):
        if made.name != "artefacts":
            (own / made.name).symlink_to(made)
    monkeypatch.setenv("FEDCXR_CACHE", str(own))
    return own


CLEAN = {
    "findings clean",
    "attack linkage protected: verifier clean",
    "attack linkage control_shuffled: verifier clean",
    "attack linkage control_raw: verifier retrained",
}


def test_a_run_with_other_noise_trains_nothing_on_clean_films_again(cache: Path, tmp_path: Path) -> None:
    first = run_of(tmp_path / "first", 0.1)
    assert stages(first) >= CLEAN
    second = run_of(tmp_path / "second", 0.3)
    assert not stages(second) & CLEAN
    assert {"findings released", "attack linkage protected: verifier retrained"} <= stages(second)
    assert len(Artefacts.below(cache).clear()) > 0
    alone = run_of(tmp_path / "alone", 0.3)
    assert stages(alone) >= CLEAN
    assert second.result is not None
    assert alone.result is not None
    assert figures(second.result) == figures(alone.result)


def test_another_seed_is_another_world(cache: Path, tmp_path: Path) -> None:
    run_of(tmp_path / "first", 0.1, adversaries={})
    assert "findings clean" in stages(run_of(tmp_path / "second", 0.1, seed=1, adversaries={}))


def test_work_that_needs_no_release_begins_before_there_is_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def foresee(*_: Any) -> None:
        order.append("ahead")

    def collected(run: Run, options: Options, access: Mapping[str, str]) -> None:
        order.append("release")
        collect(run, options, access)

    collect = engines._collect
    monkeypatch.setattr(measure, "_foresee", foresee)
    monkeypatch.setattr(engines, "_collect", collected)
    run_of(tmp_path, 0.1, adversaries={}, tasks={})
    assert order == ["ahead", "release"]


def test_what_fails_ahead_fails_the_run(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ArithmeticError("not today")

    monkeypatch.setattr(measure, "_foresee", broken)
    with pytest.raises(ArithmeticError, match="not today"):
        run_of(tmp_path, 0.1, adversaries={}, tasks={})
