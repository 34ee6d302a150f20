"""Four contributions that the library knew nothing of, each one file outside the package, run from end to end.

A question, and an adversary who answers it (`learnt_from`); a method that shares a model, learnt in three rounds
(`averaged_model`, of which toys/test_averaged_model.py has more); a task that is measured on what was annotated
(`lung_masks`); a method whose films belong to nobody, and are more than the site holds (`nobody`).
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from averaged_model import AveragedModel
from learnt_from import OVERFITTED
from lung_masks import LungMasks
from rich.console import Console
from small import figures

from fedcxr.cli.console import summary
from fedcxr.cohort import Cohort, Split
from fedcxr.errors import ConfigError
from fedcxr.learning import Learning
from fedcxr.methods import FilmMethod, Films, Masks, Protect, RunContext, Weights
from fedcxr.questions import PROTECTED
from fedcxr.release import AnswerKey, Release
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.threat import Put, Threat
from fedcxr.tasks import Bench, Evidence
from fedcxr.training.compute import Compute
from fedcxr.view import Shared, View
from server.simulate import Options, simulate

TOYS = Path(__file__).parent / "toys"
FILES = {path.stem: path for path in TOYS.glob("*.py") if not path.stem.startswith("test_")}
CPU = Compute.choose("cpu", "fp32")

FINDINGS: dict[str, Any] = {"steps": 8, "batch": 16, "width": 4, "min_positives": 2, "bootstraps": 100}
SMALL: dict[str, Any] = {
    "name": "proofs",
    "sites": 2,
    "cohort": {"source": "phantom", "patients": 60, "size": 32},
    "compute": {"device": "cpu", "precision": "fp32", "timeout_s": 120.0},
}
MODEL: dict[str, Any] = {
    "secret": "5e" * 32,
    "method": "averaged_model:AveragedModel",
    "tasks": {"findings": FINDINGS},
    "questions": {"learnt_from:LearntFrom": {}},
    "adversaries": {"learnt_from:LossThreshold": {}},
}
MASKS: dict[str, Any] = {
    "method": {"name": "noise", "scale": 0.2},
    "tasks": {"lung_masks:LungMasks": {"bootstraps": 100}},
    "adversaries": {},
}
NOBODY: dict[str, Any] = {
    "method": {"name": "nobody:FilmsOfNobody", "times": 1.5},
    "tasks": {"findings": FINDINGS, "fidelity": {}},
    "adversaries": {"verifier": {"attackers": ["naive"], "steps_clean": 4, "width": 4, "people": 8}},
}
PROOFS = {"learnt_from": MODEL, "lung_masks": MASKS, "nobody": NOBODY}

every_proof = pytest.mark.parametrize("name", PROOFS)


def scenario(name: str) -> Scenario:
    return Scenario.parse({**SMALL, **PROOFS[name]})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Each proof's unbroken run in this process, once."""
    return cache(lambda name: simulate(scenario(name), Options(tmp_path_factory.mktemp("runs"), "inline")))


def result_of(run: Run) -> dict[str, Any]:
    assert run.result is not None
    return run.result


def printed(run: Run, width: int = 160) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        summary(result_of(run), run.folder, console)
    return [" ".join(line.split()) for line in captured.get().splitlines()]


# One file each --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_toy_is_one_file_that_imports_what_is_public(name: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = {module: module.split(".") for module in imported}
    assert not [module for module, names in parts.items() if any(re.match("_[^_]", part) for part in names)]
    assert not {names[0] for names in parts.values()} & {*FILES, "server", "sites", "small", "worlds"}
    assert any(names[0] == "fedcxr" for names in parts.values())


def test_no_shared_code_knows_a_toy(root: Path) -> None:
    classes = (node for path in FILES.values() for node in ast.parse(path.read_text(encoding="utf-8")).body)
    names = {node.name for node in classes if isinstance(node, ast.ClassDef) and node.bases}
    assert names >= {"LearntFrom", "LossThreshold", "AveragedModel", "LungMasks", "FilmsOfNobody"}
    known = re.compile(rf"\b(?:{'|'.join(names)})\b|\b(?:{'|'.join(FILES)}):[A-Z]|import (?:{'|'.join(FILES)})\b")
    shared = [path for part in ("fedcxr", "server", "sites") for path in (root / part).rglob("*.py")]
    assert len(shared) > 100
    assert not [str(path) for path in shared if known.search(path.read_text(encoding="utf-8"))]


# From end to end ------------------------------------------------------------------------------------------------------


@every_proof
def test_interrupted_twice_it_ends_at_the_same_figures(
    name: str, finished: Callable[[str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When all sites have answered, and when an attack or a measure is done, before either is written down."""
    of, stage = scenario(name), Run.stage
    for broken in ("collect", "attack-" if of.adversaries else "utility-"):

        def stopped(run: Run, what: str, work: Callable[[], Any], broken: str = broken) -> Any:
            if what.startswith(broken):
                work()
                raise KeyboardInterrupt
            return stage(run, what, work)

        with monkeypatch.context() as patched:
            patched.setattr(Run, "stage", stopped)
            with pytest.raises(KeyboardInterrupt):
                simulate(of, Options(tmp_path, "inline", resume=True))
        assert Run.place(tmp_path, of).result is None
    resumed = simulate(of, Options(tmp_path, "inline", resume=True))
    assert figures(result_of(resumed)) == figures(result_of(finished(name)))


@pytest.mark.slow
def test_killed_on_one_engine_it_ends_on_the_other_at_the_same_figures(
    finished: Callable[[str], Run], tmp_path: Path
) -> None:
    name = "learnt_from"
    of = scenario(name)
    plan, run = tmp_path / "plan.yaml", Run.place(tmp_path / "runs", of)
    plan.write_text(of.to_yaml())
    command = [sys.executable, "-m", "fedcxr.cli", "simulate", str(plan), "--out", str(tmp_path / "runs")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([*command, "--engine", "inline"], env=environment, stderr=subprocess.DEVNULL) as victim:
        deadline = time.monotonic() + 300
        while not (list(run.folder.glob("releases/*")) or list(run.folder.glob("learnt/*"))):
            assert time.monotonic() < deadline
            assert victim.poll() is None
            time.sleep(0.01)
        victim.send_signal(signal.SIGKILL)
    assert run.result is None
    done = subprocess.run(
        [*command, "--resume", "--format", "json"], env=environment, capture_output=True, timeout=300, check=True
    )
    assert json.loads(done.stdout)["run"]["engine"] == "ray"
    assert figures(json.loads(done.stdout)) == figures(result_of(finished(name)))


# What each of them shows ----------------------------------------------------------------------------------------------


def test_members_are_told_with_controls_of_the_questions_own(finished: Callable[[str], Run]) -> None:
    run = finished("learnt_from")
    [entry] = result_of(run)["privacy"]["attacks"]
    assert (entry["question"], entry["adversary"]) == ("learnt_from:LearntFrom", "learnt_from:LossThreshold")
    assert entry["attacker"] == "loss"
    low, high = entry["auc"]["ci95"]
    assert 0 <= low <= entry["auc"]["value"] <= high <= 1
    assert entry["control_overfitted_auc"] > 0.9
    assert 0.35 < entry["control_members_auc"] < 0.65
    assert (entry["conclusive"], entry["inconclusive_because"]) == (True, None)
    assert result_of(run)["privacy"]["worst_case"]["question"] == "learnt_from:LearntFrom"
    said = printed(run)
    head = said.index("Whose films were learnt from AUC 95 % interval at 1 % FPR over-fitted among members")
    assert said[head + 1].startswith(f"learnt_from:LossThreshold, loss {entry['auc']['value']:.3f} ")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_figure_stands_whole_on_a_screen_of_any_width(finished: Callable[[str], Run], width: int) -> None:
    run = finished("learnt_from")
    figures = [re.findall(r"\d[\d.,]*\d", " ".join(printed(run, wide)[:-1])) for wide in (160, width)]
    assert sorted(figures[0]) == sorted(figures[1])
    lines = printed(run, width)[:-1]  # the folder's name is as long as it is
    assert max(map(len, lines)) <= width
    assert "…" not in " ".join(lines)


def test_a_shared_model_is_tested_as_it_is(finished: Callable[[str], Run]) -> None:
    run = finished("learnt_from")
    arms = result_of(run)["utility"]["findings"]
    federation = {"together", "alone", "start", "curve"}
    assert {name for name, arm in arms.items() if arm is not None} == {"trained", "raw", "subgroups", *federation}
    assert all(0 < arms[name]["mean_auc"]["value"] < 1 for name in ("trained", "raw"))
    assert [site["released"] for site in result_of(run)["sites"]] == [0, 0]
    assert any(line.startswith("trained: trained on releases, used on clean films 0.") for line in printed(run))


def test_lungs_are_found_on_released_films(finished: Callable[[str], Run]) -> None:
    run = finished("lung_masks")
    told = result_of(run)["utility"]["lung_masks:LungMasks"]
    assert told["films"] > 10
    assert told["clean"]["dice"]["value"] > told["released"]["dice"]["value"] > 0.3
    assert told["clean"]["dice"]["value"] > 0.85
    said = printed(run)
    assert "Where the lungs are: Dice of their masks Dice 95 % interval" in said
    assert any(line.startswith(f"found on released films {told['released']['dice']['value']:.3f}") for line in said)
    assert "Who can be re-identified: nobody attacked, so unknown" in said


def test_films_of_nobody_are_learnt_from_and_cannot_be_linked(finished: Callable[[str], Run], tmp_path: Path) -> None:
    run = finished("nobody")
    result, held = result_of(run), Experiment.open(run.scenario, tmp_path).dealt
    assert [site["released"] for site in result["sites"]] == [round(1.5 * len(rows)) for rows in held.values()]
    arms = result["utility"]["findings"]
    assert {name for name, arm in arms.items() if arm is not None} == {"trained", "raw", "subgroups"}
    assert result["utility"]["fidelity"] is None
    privacy = result["privacy"]
    assert (privacy["attacks"], privacy["worst_case"], privacy["label_floor"]) == ([], None, None)
    table = AnswerKey.load(run.folder / "answers").table
    assert len(table) == sum(site["released"] for site in result["sites"])
    assert (table["film"] == -1).all()
    assert not table["attacked"].any()
    assert (table["patient"] == "").all()
    said = printed(run)
    assert {"fidelity: does not apply", "linkage: does not apply"} <= set(said)
    assert any(line.startswith("trained: trained on releases, used on clean films 0.") for line in said)
    assert {path.name for path in (run.folder / "pictures").iterdir()} == {"README.txt", "site-1.png", "site-2.png"}


# Refused at once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (MASKS | {"cohort": {"source": "chexpert", "root": "/films"}}, "annotations that no site's films have; "),
        (
            MASKS | {part: MODEL[part] for part in ("questions", "adversaries")},
            "has nothing to read in what the method releases",
        ),
        (MODEL | {"adversaries": {}}, "no adversary answers the question `learnt_from:LearntFrom`"),
        (MODEL | {"questions": {"linkage": {}}}, "is asked nothing that it answers; given: linkage"),
        (MODEL | {"questions": {"learnt_from:LearntFrom": {"films": 1}}}, "learnt_from:LearntFrom: films: .*given: 1"),
        (NOBODY | {"adversaries": ["verifier"]}, "`retrained` does to films of its own what the method does"),
        (NOBODY | {"tasks": {"lung_masks:LungMasks": {"by": "eye"}}}, "LungMasks: by: .*given: eye"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_work(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Scenario.parse({**SMALL, **changed})
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


# By hand --------------------------------------------------------------------------------------------------------------


class Alone(AveragedModel):
    """Each site learns a model of its own, so that there is no shared one."""

    rounds: int = 1

    @property
    def learning(self) -> Learning:
        return Learning("local")


def model(site: str) -> Release:
    return Release("update", site, "x", {}).publishing(AveragedModel().initial(np.random.default_rng()))


def asked_of_members(method: AveragedModel, cohort: Cohort, shared: Shared) -> Mapping[str, Put]:
    experiment = Experiment.of(scenario("learnt_from").model_copy(update={"method": method}), cohort)
    return Threat(experiment).put(shared)["learnt_from:LearntFrom"]


def test_each_world_shows_the_model_of_its_own(make_cohort: Callable[..., Cohort]) -> None:
    shared = Shared([Release("update", "site-1", "x", {})], model("coordinator"))
    put = asked_of_members(AveragedModel(), make_cohort(), shared)
    assert put.keys() == {PROTECTED, OVERFITTED}
    one, control = (put[where].leak.view.model for where in (PROTECTED, OVERFITTED))
    assert one is not None
    assert control is not None
    assert not np.array_equal(one["slopes"], control["slopes"])


def test_controls_of_what_cannot_be_asked_are_not_put(make_cohort: Callable[..., Cohort]) -> None:
    """Where each site has learnt a model of its own there is no shared one; an over-fitted one could be made."""
    assert asked_of_members(Alone(), make_cohort(), Shared([model("site-1"), model("site-2")])) == {}


def test_the_order_in_which_films_are_asked_about_tells_no_member(make_cohort: Callable[..., Cohort]) -> None:
    shared = Shared([Release("update", "site-1", "x", {})], model("coordinator"))
    asked = asked_of_members(AveragedModel(), make_cohort((2,) * 200), shared)[PROTECTED].asked
    place = np.flatnonzero(asked.key.member) / len(asked.key.member)
    assert 0.45 < place.mean() < 0.55


class Shifted(FilmMethod):
    """Everything a quarter of a film further down."""

    truthful: bool = True

    def protector(self, weights: Weights, context: RunContext) -> Protect:
        return lambda films, rng: np.roll(films, films.shape[1] // 4, axis=1)

    def moved(self, masks: Masks, films: Films, weights: Weights, context: RunContext) -> Masks:
        return np.roll(masks, films.shape[1] // 4, axis=1) if self.truthful else masks


def test_true_masks_are_moved_with_the_films(
    make_cohort: Callable[..., Cohort], annotated: Callable[..., Cohort]
) -> None:
    """Darkness knows no place: where a film is moved as a whole, it is found as well as on the film itself."""
    cohort = annotated(make_cohort((3,) * 10))
    splits: tuple[Split, ...] = ("train", "val", "test")
    dice = {}
    for truthful in (True, False):
        evidence = Evidence(
            view=View({"films": np.roll(cohort.films(), 4, axis=1)}, np.ones(30, bool), np.zeros(30, np.int64)),
            labels=cohort.labels,
            split=cohort.index["split"].map(splits.index).to_numpy(np.int8),
            findings=cohort.findings,
            origin=np.arange(30),
            cohort=cohort,
            sites=np.zeros(0, dtype=object),
            released_by=np.zeros(0, dtype=object),
            versions=np.zeros(30, np.int64),
            method=Shifted(truthful=truthful),
        )
        told = LungMasks(by="darkness", bootstraps=20).measure(evidence, Bench(0, CPU))
        dice[truthful] = [told[arm]["dice"]["value"] for arm in ("released", "clean")]
        assert told["films"] == (cohort.masked("lungs") & evidence.films("test")).sum()
    assert dice[True][0] == dice[True][1] == dice[False][1] != dice[False][0]
