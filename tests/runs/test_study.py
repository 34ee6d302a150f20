"""A study runs each of its scenarios once, survives those that fail, and compares what the others say."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from results_by_hand import figure

from fedcxr.errors import ConfigError, UnknownName
from fedcxr.runs import Run
from fedcxr.runs.comparison import FIGURES, compare, keep, load, screen, table
from fedcxr.runs.conduct import Commands, Options, Standing, conduct
from fedcxr.runs.differences import NO_REPLICATES
from fedcxr.runs.machine import Cores, Machine, Share, gpus, shared_out
from fedcxr.runs.plan import Memory, planned, summed
from fedcxr.runs.study import Study
from fedcxr.storage.disk import write_json

TINY: dict[str, Any] = {
    "sites": 2,
    "cohort": {"source": "phantom", "patients": 20, "size": 16},
    "tasks": {},
    "adversaries": {},
}


RESULT: dict[str, Any] = {"utility": {"findings": None}, "privacy": {"attacks": [], "worst_case": None}}


ALL = Share(frozenset())


def written(tmp_path: Path, **document: Any) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({"name": "tiny", "scenario": TINY, **document}))
    return path


def test_every_case_meets_every_value_and_seed(tmp_path: Path) -> None:
    study = Study.read(
        written(
            tmp_path,
            cases=[{"method": "noise"}, {"method": {"name": "noise", "distribution": "laplace"}}],
            grid={"method.scale": [0.1, 0.2], "sites": [2, 3]},
            seeds=[0, 1],
        )
    )
    cells = list(study.cells())
    assert study.size == 16
    assert len(cells) == 8
    assert len({cell.scenario(seed).id + str(seed) for cell in cells for seed in study.seeds}) == 16
    assert cells[-1].scenario(1).method.spec() == {
        **cells[0].scenario(0).method.spec(),
        "distribution": "laplace",
        "scale": 0.2,
    }
    assert cells[-1].scenario(1).site_names == ("site-1", "site-2", "site-3")
    assert cells[0].described() == "noise, scale 0.1, sites 2"


@pytest.mark.parametrize(
    ("document", "error", "said"),
    [
        ({"grid": {"method.scael": [0.1]}}, UnknownName, "did you mean 'scale'"),
        ({"grid": {"method.scale": 0.1}}, ConfigError, "grid.method.scale"),
        ({"grid": {"method.scale": []}}, ConfigError, "no runs"),
        ({"grid": {"a..b": [1]}}, ConfigError, "not a key"),
        ({"seeds": []}, ConfigError, "seeds"),
        ({"seeds": [0, 1, 0]}, ConfigError, "tiny, seed 0; tiny, seed 0"),
        ({"grid": {"method.scale": [0.1, 0.1]}}, ConfigError, "the same"),
        ({"cases": []}, ConfigError, "cases"),
        ({"name": "../up"}, ConfigError, "name"),
        ({"grid": {"seed": list(range(101)), "sites": list(range(1, 101))}}, ConfigError, "too large"),
        ({"scenarios": []}, UnknownName, "did you mean 'scenario'"),
    ],
)
def test_what_a_study_may_not_say(tmp_path: Path, document: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Study.read(written(tmp_path, **{"scenario": {**TINY, "method": "noise"}, **document}))


def test_the_studies_that_are_shipped_can_be_read(root: Path) -> None:
    files = sorted((root / "configs" / "studies").glob("*.yaml"))
    assert files
    for file in files:
        assert Study.read(file).size > 1


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped_and_past_what_fails(tmp_path: Path) -> None:
    # With 40 sites some have no patients.
    study = Study.read(written(tmp_path, cases=[{"method": "noise", "partition.by": "iid"}], grid={"sites": [2, 40]}))
    told: list[str] = []
    failures = conduct(study, Options(tmp_path, engine="inline"), told.append)
    assert len(failures) == 1
    assert "more sites than" in failures[0].complaint
    assert not failures[0].passing
    assert told[0] == "tiny: 0 of 2 runs are on file"
    told.clear()
    assert len(conduct(study, Options(tmp_path, engine="inline", resume=True), told.append)) == 1
    assert told[0] == "tiny: 1 of 2 runs are on file"
    comparison = compare(study, tmp_path)
    keep(comparison, tmp_path)
    assert load(tmp_path / "tiny") == json.loads(json.dumps(comparison))
    assert [row["runs"] for row in comparison["rows"]] == [1, 0]
    assert table(comparison).splitlines()[-1].startswith("| noise, partition.by iid, sites 40 | 0 | unknown |")


@pytest.mark.slow
def test_nothing_is_imported_from_the_folder_one_is_in(
    tmp_path: Path, traps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study.read(written(tmp_path))
    monkeypatch.chdir(traps)
    assert conduct(study, Options(tmp_path, engine="inline"), print) == []
    assert not (traps / "sprung").exists()


def test_runs_of_other_code_are_made_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.read(written(tmp_path, seeds=[0, 1, 2]))
    runs = [Run.place(tmp_path, cell.scenario(seed)) for cell in study.cells() for seed in study.seeds]
    with pytest.MonkeyPatch.context() as earlier, runs[0].begun(resume=False):
        earlier.setattr("fedcxr.storage.version.code_version", lambda: "f" * 64)
        with runs[1].begun(resume=False):
            for run in runs[:2]:
                write_json(run.folder / "result.json", RESULT)
    told: list[str] = []
    commands: list[list[str]] = []

    def simulate(self: Commands, command: list[str], share: Share) -> tuple[int, str]:
        """Makes the second run, and leaves the third to somebody whose code has changed."""
        commands.append(command)
        if Path(command[5]).stem == runs[1].scenario.run_name:
            with runs[1].begun(resume="--resume" in command):
                write_json(runs[1].folder / "result.json", RESULT)
        return 0, ""

    monkeypatch.setattr(Commands, "run", simulate)
    assert compare(study, tmp_path)["rows"][0]["runs"] == 1
    failures = conduct(study, Options(tmp_path, resume=True), told.append)
    assert told[:2] == [
        "tiny: 1 of 3 runs are on file",
        "tiny: 1 were made by another version of the code, and are made afresh",
    ]
    assert ["--resume" in command for command in commands] == [False, True]
    assert [str(failure) for failure in failures] == [
        f"{runs[2].scenario.run_name}: the code has changed since this study began"
    ]
    assert compare(study, tmp_path)["rows"][0]["runs"] == 2


def test_figures_are_means_and_spreads_over_seeds(tmp_path: Path) -> None:
    study = Study.read(written(tmp_path, seeds=[0, 1]))
    cell = next(study.cells())
    for seed, value in ((0, 0.6), (1, 0.8)):
        run = Run.place(tmp_path, cell.scenario(seed))
        attack = {"attacker": "naive", "auc": {"value": value, "ci95": [value - 0.1, 0.9]}, "conclusive": seed == 0}
        result = {
            "utility": {"findings": None},
            "privacy": {"attacks": [attack], "worst_case": {"auc": {"value": 1.0}, "lower_bound": seed == 1}},
        }
        with run.begun(resume=False):
            write_json(run.folder / "result.json", result)
    row = compare(study, tmp_path)["rows"][0]
    assert row["figures"]["naive"] == {
        "mean": pytest.approx(0.7),
        "std": pytest.approx(0.1414, abs=1e-4),
        "ci95": [pytest.approx(0.5), 0.9],
    }
    assert row["figures"]["worst"] == {"mean": 1.0, "std": 0.0, "ci95": None}
    assert row["figures"]["trained"] == {"mean": None, "std": None, "ci95": None}
    assert row["conclusive"] is False
    assert row["converged"] is False
    assert "**failed** | **lower bound** |" in table(compare(study, tmp_path))
    assert set(row["figures"]) == set(FIGURES)
    shown = screen(compare(study, tmp_path), tmp_path)
    assert dict(zip(shown.heads, shown.rows[0].cells, strict=True))["worst"] == "1.000 ± 0.000"
    assert shown.rows[0].doubt == "inconclusive, lower bound"
    with keep(compare(study, tmp_path), tmp_path).with_suffix(".csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert (line["runs"], line["naive high"], line["worst low"], line["seconds"]) == ("2", "0.9", "", "")


def test_the_main_figures_of_tasks_have_columns_where_some_run_has_them(tmp_path: Path) -> None:
    scenario = {**TINY, "tasks": ["findings", "fidelity", "texture", "segmentation"]}
    study = Study.read(written(tmp_path, cases=[{"method": "none"}, {"method": "noise"}], scenario=scenario))
    told = {"findings": {"trained": {"mean_auc": figure(0.8, 0.7, 0.9)}}, "fidelity": {"ssim": {"value": 0.5}}}
    kept = {"none": {"mean_icc": figure(1.0, 1.0, 1.0)}, "noise": None}
    for cell in study.cells():
        run = Run.place(tmp_path, cell.scenario(0))
        texture = kept[run.scenario.method.plugin_name()]
        with run.begun(resume=False):
            write_json(run.folder / "result.json", {**RESULT, "utility": {**told, "texture": texture}})
    found = compare(study, tmp_path)
    assert {name: main["path"] for name, main in found["tasks"].items()} == {
        "findings": "trained.mean_auc",
        "texture": "mean_icc",
    }
    assert [row["tasks"]["texture"]["mean"] for row in found["rows"]] == [1.0, None]
    shown = screen(found, tmp_path)
    assert shown.heads == ("runs", "trained", "95 %", "worst", "95 %", "texture", "95 %", "time", "MB sent")
    assert [row.cells[5:7] for row in shown.rows] == [("1.000", "1.000 to 1.000"), ("unknown", "unknown")]
    assert table(found).splitlines()[0] == "| scenario | runs | trained | texture | epsilon | controls | converged |"
    with keep(found, tmp_path).with_suffix(".csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["trained mean"], line["texture mean"], line["texture high"]) for line in lines] == [
        ("0.8", "1.0", "1.0"),
        ("0.8", "", ""),
    ]
    assert not {"findings mean", "segmentation mean", "fidelity mean"} & set(lines[0])


def test_where_usefulness_was_measured_by_other_tasks_alone_no_column_of_findings_is_empty(tmp_path: Path) -> None:
    study = Study.read(written(tmp_path, scenario={**TINY, "tasks": ["texture"]}))
    run = Run.place(tmp_path, next(study.cells()).scenario(0))
    with run.begun(resume=False):
        write_json(run.folder / "result.json", {**RESULT, "utility": {"texture": {"mean_icc": figure(0.5)}}})
    shown = screen(compare(study, tmp_path), tmp_path)
    assert "trained" not in shown.heads
    assert "texture" in shown.heads
    assert not any("findings" in note for note in shown.notes)


def keep_replicates(folder: Path, level: float) -> None:
    """As stages keep them, of 30 patients: whoever is easy to read is so under every policy, which cancels out."""
    measured = {  # and how far each replicate is off by itself
        "findings": {"trained.mean_auc": 0.05},
        "segmentation": {"released.released.dice": 0.01, "released.released.hausdorff": 0.01},
    }
    draws = np.arange(500.0)
    for task, figures in measured.items():
        drawn = {path: level + 0.1 * np.sin(draws) + off * np.cos(level * draws) for path, off in figures.items()}
        replicates = {path: {"patients": 30, "values": values.tolist()} for path, values in drawn.items()}
        write_json(folder / "stages" / f"utility-{task}.json", {"measured": {}, "replicates": replicates})


def test_policies_are_compared_by_the_main_figure_of_every_task_and_by_bounds_that_replicates_are_kept_of(
    tmp_path: Path,
) -> None:
    scenario = {**TINY, "tasks": ["findings", "segmentation", "texture"]}
    cases: list[Any] = [{"name": "films", "method": "none"}, {"name": "noise", "method": "noise"}]
    bounds = [
        "utility.segmentation.released.released.hausdorff <= 20",
        "utility.segmentation.released.released.dice >= 0.5",  # its main figure has a column
        "utility.findings.trained.per_finding.Effusion >= 0.6",  # of which nobody keeps replicates
    ]
    cases[1]["constraints"] = bounds
    study = Study.read(written(tmp_path, cases=cases, scenario=scenario))
    for cell, level in zip(study.cells(), (0.8, 0.7), strict=True):
        run = Run.place(tmp_path, cell.scenario(0))
        arm = {"mean_auc": figure(level), "per_finding": {"Effusion": figure(level)}}
        told = {"findings": {"trained": arm}, "texture": {"mean_icc": figure(level)}}
        told["segmentation"] = {"released": {"released": {"dice": figure(level), "hausdorff": figure(level)}}}
        with run.begun(resume=False):
            keep_replicates(run.folder, level)
            write_json(run.folder / "result.json", {**RESULT, "utility": told})
    found = {one["figure"]: one for one in compare(study, tmp_path)["differences"]}
    assert list(found) == ["trained", "segmentation", "texture", bounds[0].split()[0]]
    assert {one["left"] for one in found.values()} == {"noise"}
    assert found["segmentation"]["told"]
    assert found["segmentation"]["difference"]["value"] == pytest.approx(-0.1)
    assert found["texture"]["because"] == f"cannot tell: {NO_REPLICATES}"  # an earlier version's
    # Of findings only that more is looked at has changed, and that is corrected for: three p values are known.
    del cases[1]["constraints"]
    alone = Study.read(written(tmp_path, cases=cases, scenario=scenario))
    for place in (tmp_path / "tiny").glob("*/stages/utility-segmentation.json"):
        place.unlink()
    before = {one["figure"]: one for one in compare(alone, tmp_path)["differences"]}["trained"]
    assert {part: before[part] for part in ("difference", "p", "seeds")} == {
        part: found["trained"][part] for part in ("difference", "p", "seeds")
    }
    assert found["trained"]["p"] == pytest.approx(0.05, abs=0.01)
    for name, times in (("segmentation", 3), (bounds[0].split()[0], 3), ("trained", 1)):
        assert found[name]["p_adjusted"] == pytest.approx(times * found[name]["p"], abs=0)
    assert before["p_adjusted"] == before["p"]


def test_flags_change_every_run_of_a_study(tmp_path: Path) -> None:
    file = written(tmp_path, cases=[{"method": "noise"}, {"method": "noise", "sites": 3}])
    study = Study.read(file, ["method.scale=0.3", "compute.device=cpu"])
    for trial in study.runs():
        assert trial.scenario.method.spec()["scale"] == 0.3
        assert trial.scenario.compute.device == "cpu"
    with pytest.raises(ConfigError, match="noise, seed 0; noise, sites 3, seed 0"):
        Study.read(file, ["sites=2"])


def test_commands_that_are_stopped_end_soon_and_no_other_begins() -> None:
    commands, done = Commands(), []
    waits = [sys.executable, "-c", "import time; time.sleep(60)"]
    thread = threading.Thread(target=lambda: done.append(commands.run(waits, ALL)))
    thread.start()
    while not commands._running:
        time.sleep(0.01)
    commands.stop()
    thread.join(5.0)
    assert [code for code, _ in done] == [-signal.SIGTERM]
    assert commands.run(waits, ALL)[0] == 130


# Constraints, names and plans -----------------------------------------------------------------------------------------

TOLD: dict[str, Any] = {
    **RESULT,
    "privacy": {**RESULT["privacy"], "formal": None},
    "cost": {"bytes_up": 100, "bytes_down": 10, "seconds": {"total": 30.0}},
    "run": {"id": "", "method": "noise", "preset": "default", "wall_s": 30.0},
}


def finish(out: Path, study: Study, *seeds: int) -> None:
    for cell in study.cells():
        for seed in seeds:
            run = Run.place(out, cell.scenario(seed))
            about = {**TOLD["run"], "id": run.scenario.id, "method": run.scenario.method.plugin_name()}
            with run.begun(resume=False):
                write_json(run.folder / "result.json", {**TOLD, "run": about, "scenario": run.scenario.told()})


def test_a_case_has_a_name_and_constraints_of_its_own(tmp_path: Path) -> None:
    cases = [{"name": "films", "method": "none"}, {"method": "noise", "constraints": ["privacy.formal.epsilon <= 3"]}]
    study = Study.read(written(tmp_path, cases=cases, constraints=["cost.bytes_up <= 500"], grid={"sites": [2, 3]}))
    finish(tmp_path, study, 0)
    found = compare(study, tmp_path)
    assert [row["name"] for row in found["rows"]] == [
        "films, sites 2",
        "films, sites 3",
        "noise, sites 2",
        "noise, sites 3",
    ]
    assert [row["meets"] for row in found["rows"]] == [True, True, False, False]
    assert [one["met"] for one in found["rows"][2]["constraints"]] == [True, False]
    shown = screen(found, tmp_path)
    assert [dict(zip(shown.heads, row.cells, strict=True))["meets"] for row in shown.rows] == ["yes", "yes", "no", "no"]
    assert shown.verdict == ("All constraints are met by films, sites 2 and films, sites 3.",)
    assert "noise, sites 3: no. privacy.formal.epsilon does not exist: nothing is guaranteed." in shown.notes
    with keep(found, tmp_path).with_suffix(".csv").open(newline="") as file:
        assert [line["meets"] for line in csv.DictReader(file)] == ["yes", "yes", "no", "no"]


def test_without_constraints_nothing_is_said_of_them(tmp_path: Path) -> None:
    study = Study.read(written(tmp_path))
    finish(tmp_path, study, 0)
    found = compare(study, tmp_path)
    assert (found["rows"][0]["constraints"], found["rows"][0]["meets"]) == ([], None)
    assert "meets" not in screen(found, tmp_path).heads
    assert screen(found, tmp_path).verdict == ()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"constraints": ["cost.bytes_upp <= 5"]}, "did you mean 'cost.bytes_up'"),
        ({"constraints": ["utility.findings.trained.mean_auc >= 0.7"]}, "do not have"),  # nobody measures it here
        ({"constraints": ["cost.bytes_up"]}, "no constraint"),
        ({"cases": [{"constraints": ["cost.bytes_upp <= 5"]}]}, "did you mean"),
        ({"cases": [{"constraints": "cost.bytes_up <= 5"}]}, "a list of texts"),
        ({"cases": [{"name": 3}]}, "no name of a case"),
        ({"cases": [{"name": "a"}, {"name": "a", "sites": 3}]}, "two cases of this study have one name"),
        ({"seeds": list(range(100)), "grid": {f"method.{a}": list(range(100)) for a in "ab"}}, "1000000 runs"),
    ],
)
def test_what_constraints_and_cases_may_not_say(tmp_path: Path, document: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Study.read(written(tmp_path, **document))


def test_whoever_has_the_folder_alone_compares_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [{"name": "films", "method": "none"}, {"method": "noise"}]
    study = Study.read(written(tmp_path, cases=cases, constraints=["cost.bytes_up <= 500"]), ["sites=3"])

    def simulate(self: Commands, command: list[str], share: Share) -> tuple[int, str]:
        finish(tmp_path, study, 0)
        return 0, ""

    monkeypatch.setattr(Commands, "run", simulate)
    seen: list[Standing] = []
    assert conduct(study, Options(tmp_path), print, seen.append) == []
    assert [(one.state, one.meets) for one in seen] == [("running", None), ("done", True)] * 2
    again = Study.read(tmp_path / "tiny" / "study.yaml")
    assert again == study
    assert compare(again, tmp_path) == compare(study, tmp_path)


def test_a_plan_rests_on_runs_of_the_kind_and_on_nothing_else(tmp_path: Path) -> None:
    done = Study.read(written(tmp_path, cases=[{"method": "noise"}]))
    finish(tmp_path, done, 0)
    cases = [{"method": "noise"}, {"method": {"name": "noise", "scale": 0.3}}, {"method": "none"}]
    cases.append({"method": "noise", "cohort.patients": 21})
    plan = planned(Study.read(written(tmp_path, cases=cases, seeds=[0, 1])), tmp_path)
    assert [one.on_file for one in plan] == [True] + [False] * 7
    assert [one.seconds for one in plan] == [None, 30.0, None, None, 30.0, 30.0, None, None]
    assert [one.by for one in plan[3:6]] == [
        None, "1 run of this scenario", "1 run of noise at default on such films"
    ]  # fmt: skip
    whole = summed(plan, jobs=2)
    assert (whole["runs"], whole["on_file"], whole["unknown"], whole["seconds"]) == (8, 1, 4, 45.0)
    assert not (tmp_path / "tiny" / "study.yaml").exists()


def test_runs_at_once_share_the_cores_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2, 5, 7})
    assert shared_out(1) == [{0, 1, 2, 5, 7}]
    assert shared_out(2) == [{0, 2, 7}, {1, 5}]
    assert len(shared_out(99)) == 5


def test_a_command_stays_on_its_cores_and_on_its_gpu(tmp_path: Path) -> None:
    core: Cores = frozenset([max(os.sched_getaffinity(0))])
    looks = "import os, sys, time; time.sleep(0.3); "
    looks += "sys.exit(10 * len(os.sched_getaffinity(0)) + int(os.environ['CUDA_VISIBLE_DEVICES']))"
    assert Commands().run([sys.executable, "-c", looks], Share(core, "3"))[0] == 13


# Memory and GPUs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 4 cores, 10 bytes of memory and two GPUs, the names of which are 0 and 7."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr("fedcxr.runs.machine.free_memory", lambda: 10)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, 7")


def at_once(
    machine: Machine, takes: list[float], on_gpu: bool = False
) -> tuple[list[set[int]], list[int], list[Share]]:
    """Who was at work beside each run as it began, who had to wait, and their shares: each leaves when nobody comes."""
    beside, waited, shares = [set[int]() for _ in takes], list[int](), list[Share]()
    working, lock = set[int](), threading.Lock()
    leave = [threading.Event() for _ in takes]

    def run(number: int) -> None:
        with machine.share(takes[number], on_gpu, lambda: waited.append(number)) as share:
            with lock:
                working.add(number)
                beside[number] = set(working)
                shares.append(share)
            leave[number].wait(10)
            with lock:
                working.remove(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(takes))]
    for number, thread in enumerate(threads):
        thread.start()
        until = time.monotonic() + 5
        while not beside[number] and number not in waited and time.monotonic() < until:
            time.sleep(0.001)
    for number, thread in enumerate(threads):
        leave[number].set()
        thread.join(10)
    return beside, waited, shares


@pytest.mark.usefixtures("large")
def test_runs_that_took_more_memory_together_than_is_free_do_not_begin_at_once() -> None:
    beside, waited, _ = at_once(Machine(4), [6, 6, 4])
    assert beside == [{0}, {1, 2}, {0, 2}]
    assert waited == [1]


@pytest.mark.usefixtures("large")
def test_one_alone_begins_whatever_it_took_and_so_do_those_of_which_nothing_is_on_file() -> None:
    beside, waited, _ = at_once(Machine(4), [60, 0, 0])
    assert (beside, waited) == ([{0}, {0, 1}, {0, 1, 2}], [])
    beside, waited, _ = at_once(Machine(4), [0, 0, 0, 10])
    assert (beside[3], waited) == ({0, 1, 2, 3}, [])


@pytest.mark.usefixtures("large")
def test_each_run_has_a_gpu_the_least_used_first() -> None:
    _, _, shares = at_once(Machine(3), [0, 0, 0], on_gpu=True)
    assert [share.gpu for share in shares] == ["0", "7", "0"]
    assert {core for share in shares for core in share.cores} == {0, 1, 2, 3}
    machine = Machine(2)
    for _ in range(2):  # what was given back is lent again
        with machine.share(0, True, pytest.fail) as share:
            assert share.gpu == "0"
    with machine.share(0, False, pytest.fail) as share:
        assert (share.gpu, share.environment) == (None, dict(os.environ))
    with Machine(1).share(0, True, pytest.fail) as share:
        assert share == ALL


def test_gpus_are_those_that_are_to_be_seen_or_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fedcxr.runs.machine.GPUS", tmp_path)
    for name in ("0000:01", "0000:02"):
        (tmp_path / name).mkdir()
    for visible, found in (("GPU-1a,GPU-2b", ["GPU-1a", "GPU-2b"]), ("", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert gpus() == found
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus() == ["0", "1"]


def test_memory_is_expected_by_runs_of_the_kind_and_learnt_from_those_that_end(tmp_path: Path) -> None:
    study = Study.read(written(tmp_path, cases=[{"method": "noise"}, {"method": "none"}], seeds=[0, 1]))
    noise, none = (cell.scenario(1) for cell in study.cells())
    memory = Memory(tmp_path)
    assert memory.expected(noise) == 0
    finish(tmp_path, study, 0)
    for scenario, peak in ((noise, 512), (none, None)):
        place = Run.place(tmp_path, scenario.model_copy(update={"seed": 0})).folder
        told = json.loads((place / "result.json").read_text())
        told["cost"]["peak_rss_mb"] = peak
        write_json(place / "result.json", told)
        memory.learn(place)
    memory.learn(tmp_path)
    assert (memory.expected(noise), memory.expected(none)) == (512 * 2**20, 0)
    assert Memory(tmp_path).expected(noise) == 512 * 2**20
