"""Whole runs: the same figures on every engine and after every kill, and the promises of result.json."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faults import readable
from small import SMALL, figures

from fedcxr.cli import console
from fedcxr.cli.runs import runs_show
from fedcxr.errors import OtherVersion
from fedcxr.report import dpia
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from server.simulate import Options, simulate


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return simulate(Scenario.parse(SMALL), Options(tmp_path_factory.mktemp("runs"), "inline"))


def result_of(run: Run) -> dict[str, Any]:
    assert run.result is not None
    return run.result


def pictures_of(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run.folder / "pictures").iterdir()}


def test_a_result_keeps_the_promises_of_schema_1(finished: Run) -> None:
    result = result_of(finished)
    assert set(result) == {
        "schema", "run", "scenario", "environment", "sites", "utility", "access", "privacy", "cost",
    }  # fmt: skip
    assert result["access"] is None  # noise has no keys
    assert result["schema"] == 1
    assert set(result["run"]) == {"id", "method", "seed", "engine", "preset", "device", "wall_s", "complete"}
    levels = result["utility"]["findings"]
    assert set(levels) == {"trained", "trained_released", "frozen", "raw", "unauthorised", "subgroups"}
    assert levels.pop("unauthorised") is None
    assert {kind for arm in levels.pop("subgroups").values() for kind in arm} == {"sex", "age", "site"}
    for level in levels.values():
        low, high = level["mean_auc"]["ci95"]
        assert 0 <= low <= high <= 1
    assert result["utility"]["fidelity"] is None  # nobody measured it, and unknown is not 0
    assert {(a["adversary"], a["attacker"]) for a in result["privacy"]["attacks"]} == {
        ("verifier", "naive"),
        ("verifier", "retrained"),
        ("verifier", "linear"),
        ("verifier", "fused"),
    }
    for attack in result["privacy"]["attacks"]:
        assert set(attack["tpr_at_fpr"]) == {"0.01", "0.001"}
        assert attack["auc"]["runs"] == 1
        assert isinstance(attack["conclusive"], bool)
    assert result["privacy"]["worst_case"]["auc"]["value"] == max(
        a["auc"]["value"] for a in result["privacy"]["attacks"]
    )
    assert result["privacy"]["formal"] is None
    assert 0 < result["cost"]["bytes_up"] - sum(site["bytes_released"] for site in result["sites"]) < 2000  # words


def test_what_an_officer_is_told_can_be_read_from_a_result(finished: Run) -> None:
    told = dpia.assess([result_of(finished)])
    entries = result_of(finished)["privacy"]["attacks"]
    [linked] = [one for one in told["criteria"]["linkability"] if one["measure"] == "verification"]
    assert linked["attack"]["value"] in [entry["auc"]["value"] for entry in entries]
    assert (linked["residual"]["value"] is None) is (linked["residual"]["refused_because"] is not None)
    assert all(text for _, text in dpia.paragraphs(told))


def test_a_run_is_shown_again_as_it_was_printed(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    console.summary(result_of(finished), finished.folder, console.stdout())
    printed = capsys.readouterr().out
    runs_show(finished.folder.name[:10], finished.folder.parents[1])
    assert capsys.readouterr().out == printed


def test_a_run_folder_holds_what_a_reader_needs_and_nothing_of_the_leak(finished: Run) -> None:
    assert Scenario.from_yaml((finished.folder / "scenario.yaml").read_text()) == finished.scenario
    assert {p.name for p in (finished.folder / "pictures").iterdir()} == {
        "README.txt", "linkage.matches.png", "site-1.png", "site-2.png", "site-3.png",
    }  # fmt: skip
    assert stat.S_IMODE((finished.folder / "pictures").stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in (finished.folder / "pictures").iterdir()} == {0o600}
    assert stat.S_IMODE((finished.folder / "answers").stat().st_mode) == 0o700
    assert stat.S_IMODE((finished.folder / "answers" / "answers.csv").stat().st_mode) == 0o600
    assert not list(finished.folder.glob("attack/*"))  # copies of real films go when the attack is over


def test_a_run_that_was_not_measured_twice_resumes_to_the_same_document(finished: Run) -> None:
    before = (finished.folder / "result.json").read_bytes()
    again = simulate(finished.scenario, Options(finished.folder.parents[1], "inline", resume=True))
    assert (again.folder / "result.json").read_bytes() == before


def test_a_result_of_other_code_is_not_taken_for_ones_own(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcxr.storage.version.code_version", lambda: "f" * 64)
    with pytest.raises(OtherVersion):
        simulate(finished.scenario, Options(finished.folder.parents[1], "inline", resume=True))


def test_a_run_killed_when_all_sites_had_answered_resumes_to_the_same_figures(finished: Run, tmp_path: Path) -> None:
    killed = tmp_path / finished.folder.parent.name / finished.folder.name
    shutil.copytree(finished.folder, killed)
    for unwritten in ("result.json", "stages/collect.json"):
        (killed / unwritten).unlink()
    shutil.rmtree(killed / "pictures")
    resumed = simulate(finished.scenario, Options(tmp_path, "inline", resume=True))
    assert resumed.folder == killed
    assert figures(result_of(resumed)) == figures(result_of(finished))
    assert pictures_of(resumed) == pictures_of(finished)


@pytest.mark.slow
def test_ray_gives_the_figures_of_the_inline_engine(finished: Run, tmp_path: Path) -> None:
    on_ray = simulate(finished.scenario, Options(tmp_path, "ray"))
    assert figures(result_of(on_ray)) == figures(result_of(finished))
    assert pictures_of(on_ray) == pictures_of(finished)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_figures_do_not_depend_on_the_number_of_workers(finished: Run, tmp_path: Path, workers: int) -> None:
    scenario = Scenario.parse({**SMALL, "compute": {**SMALL["compute"], "workers": workers}})
    assert figures(result_of(simulate(scenario, Options(tmp_path, "inline")))) == figures(result_of(finished))


@pytest.mark.slow
def test_a_run_killed_anywhere_resumes_to_the_same_figures(finished: Run, tmp_path: Path) -> None:
    """kill -9 after a random while that grows, again and again, until one attempt gets through."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(finished.scenario.to_yaml())
    command = [
        *(sys.executable, "-m", "fedcxr.cli", "simulate", str(plan), "--engine", "inline"),
        *("--out", str(tmp_path / "runs"), "--resume", "--format", "json"),
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    kills, pause = 0, random.Random(7)
    while True:
        attempt = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            said, _ = attempt.communicate(timeout=2.0 * 1.4**kills + pause.random())
            break
        except subprocess.TimeoutExpired:
            attempt.send_signal(signal.SIGKILL)
            attempt.communicate()
            kills += 1
    assert kills > 0
    assert attempt.returncode == 0
    assert figures(json.loads(said)) == figures(result_of(finished))


def test_the_adversary_reaches_no_answer_no_original_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spy raises if it can read any of it; that the same paths can be read from here is the control."""
    monkeypatch.setenv("FEDCXR_TEST_SECRET", "canary")
    cache = tmp_path / "cache"
    monkeypatch.setenv("FEDCXR_CACHE", str(cache))
    Scenario.parse(SMALL).sources[0].open(cache)
    targets = [*map(str, cache.rglob("images.npy")), str(Path(__file__)), "/etc/passwd"]
    assert len(targets) == 3
    assert all(readable(Path(target)) for target in targets)
    spying = Scenario.parse({**SMALL, "tasks": {}, "adversaries": {"faults:Spy": {"targets": targets}}})
    run = simulate(spying, Options(tmp_path / "runs", "inline"))
    assert [a["attacker"] for a in result_of(run)["privacy"]["attacks"]] == ["spy"]
    assert readable(run.folder / "answers" / "answers.csv")
    assert readable(run.folder / "scenario.yaml")


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_leaves_nothing_running(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(Scenario.parse({**SMALL, "method": {"name": "faults:Fault", "how": "hang"}}).to_yaml())
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "FEDCXR_MARK": str(tmp_path)}
    command = [sys.executable, "-m", "fedcxr.cli", "simulate", str(plan), "--out", str(tmp_path / "runs")]
    # A test run in the background of a shell ignores Ctrl-C, and so would its children.
    listening = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    attempt = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=listening)  # noqa: PLW1509
    time.sleep(15)  # Ray is up or coming up: both must end
    attempt.send_signal(signal.SIGINT)
    _, complaint = attempt.communicate(timeout=300)
    assert attempt.returncode == 130
    assert complaint.strip().splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in complaint
    left = [p for p in Path("/proc").glob("[0-9]*") if _has_mark(p, tmp_path)]
    assert not left


def _has_mark(process: Path, mark: Path) -> bool:
    try:
        return f"FEDCXR_MARK={mark}".encode() in (process / "environ").read_bytes()
    except OSError:
        return False
