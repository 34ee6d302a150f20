"""What is measured once the sites have answered: utility in this process, the attacks beside it in their own."""

from __future__ import annotations

import io
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import fedcxr
from fedcxr.methods import FilmMethod
from fedcxr.protocol import utility_step, workshop_of
from fedcxr.release import AnswerKey, Release
from fedcxr.runs import SCHEMA, Run
from fedcxr.runs.pictures import comparison
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.threat import Threat
from fedcxr.storage.disk import explained, write_atomic, write_json
from fedcxr.tasks import Evidence
from server import recovery, scorer
from server.attack import Attack
from server.meter import Meter
from server.traffic import Traffic

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

PICTURED_FILMS = 4

Entries = Sequence[Mapping[str, Any]]  # `sites` of result.json


@dataclass(frozen=True)
class Measured:
    """All that was found out about a run."""

    sites: Entries
    traffic: Mapping[str, int]  # bytes up and down
    utility: Mapping[str, Mapping[str, Any]]  # per task: what was measured, and its seconds
    attacks: Sequence[Mapping[str, Any]]  # per adversary: its attackers' entries, and its seconds
    label_floor: Mapping[str, Any]
    access: Mapping[str, Any] | None  # who may read what; None: the method has no keys
    release_s: float
    compute: Compute


def conduct(run: Run, experiment: Experiment, release: Callable[[], object], engine: str, meter: Meter) -> None:
    """Let the sites release, measure utility and privacy on the same released bytes, and write result.json."""
    threat = Threat(experiment)
    attacks = {name: Attack(run, threat, name) for name in experiment.scenario.adversaries}
    waiting = [attack for name, attack in attacks.items() if not run.has_stage(_stage("attack", name))]
    try:
        for attack in waiting:
            attack.start()  # it learns from its own films while the sites are at work
        measured = _measure(run, threat, release, attacks, waiting)
    finally:
        for attack in waiting:
            attack.stop()
    write_json(run.folder / "result.json", _result(run.scenario, measured, engine, meter))


def _measure(
    run: Run,
    threat: Threat,
    release: Callable[[], object],
    attacks: Mapping[str, Attack],
    waiting: Sequence[Attack],
) -> Measured:
    began, experiment = time.monotonic(), threat.experiment
    if not run.has_stage("collect"):
        run.progress("sites", 0, len(run.scenario.site_names))
        release()
    release_s = time.monotonic() - began
    sites: Entries = run.outcome("collect")
    releases = run.releases([entry["name"] for entry in sites if entry["status"] == "ok"])
    answers = threat.answers(releases)
    with explained(run.folder):
        answers.save(run.folder / "answers")
    for attack in waiting:
        attack.leak(releases, run.learnt())
    evidence = experiment.evidence(releases, run.learnt())
    access = run.stage("access", partial(experiment.access, releases, run.learnt()))
    _draw(run, experiment, releases, evidence)
    compute = _compute(run.scenario)
    utility = _utility(run, experiment, evidence, compute)
    truth = recovery.Truth.of(threat, answers, releases, run.learnt()) if waiting else None
    for attack in waiting:
        attack.wait(time.monotonic() + run.scenario.compute.timeout_s)
        run.stage(_stage("attack", attack.name), partial(_scored, threat, answers, truth, attack))
        attack.clear()
    return Measured(
        sites=sites,
        traffic=Traffic.of(run).total(),
        utility=utility,
        attacks=[run.outcome(_stage("attack", name)) for name in attacks],
        label_floor=run.stage("label-floor", partial(_label_floor, threat, answers)),
        access=access,
        release_s=release_s,
        compute=compute,
    )


def _compute(scenario: Scenario) -> Compute:
    from fedcxr.training.compute import Compute  # here and not above: it imports torch, which takes seconds

    return Compute.choose(**scenario.compute.model_dump(include={"device", "precision", "threads"}))


def _result(scenario: Scenario, measured: Measured, engine: str, meter: Meter) -> dict[str, Any]:
    """result.json, as it is promised to scripts."""
    entries = [entry for outcome in measured.attacks for entry in outcome["entries"]]
    guarantee = scenario.method.guarantee()
    seconds = {
        "release": measured.release_s,
        "utility": sum(outcome["seconds"] for outcome in measured.utility.values()),
        "attack": sum(outcome["seconds"] for outcome in measured.attacks),
        "total": meter.seconds(),
    }
    figures = {task: outcome["measured"] for task, outcome in measured.utility.items()}
    return {
        "schema": SCHEMA,
        "run": {
            "id": scenario.id,
            "method": scenario.method.plugin_name(),
            "seed": scenario.seed,
            "engine": engine,
            "preset": scenario.preset,
            "device": measured.compute.device.type,
            "wall_s": round(seconds["total"], 3),
            "complete": True,
        },
        "scenario": scenario.document(),
        "environment": environment(measured.compute.precision),
        "sites": list(measured.sites),
        "utility": {"findings": None, "fidelity": None} | figures,
        "access": measured.access,
        "privacy": {
            "attacks": entries,
            "recovery": [entry for outcome in measured.attacks for entry in outcome["recovery"]],
            "same_film": [entry for outcome in measured.attacks for entry in outcome["same_film"]],
            "worst_case": scorer.worst_case(entries),
            "label_floor": measured.label_floor,
            "formal": guarantee.model_dump() if guarantee else None,
        },
        "cost": {
            **measured.traffic,
            "peak_rss_mb": meter.peak_mb(),
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
        },
    }


def _utility(run: Run, experiment: Experiment, evidence: Evidence, compute: Compute) -> dict[str, Any]:
    """Every task's figures, each with the seconds it took."""

    def measured(task: str) -> dict[str, Any]:
        start = time.perf_counter()
        if not experiment.scenario.tasks[task].applies(evidence):
            return {"measured": None, "seconds": 0.0}
        with compute.session():
            figures = utility_step(experiment.scenario, task, evidence, compute, run.progress)
        return {"measured": figures, "seconds": time.perf_counter() - start}

    return {task: run.stage(_stage("utility", task), partial(measured, task)) for task in experiment.scenario.tasks}


def _scored(threat: Threat, answers: AnswerKey, truth: recovery.Truth | None, attack: Attack) -> dict[str, Any]:
    scores, facts = attack.scores()
    seconds = {leak: float(fact["seconds"]) for leak, fact in facts.items()}
    pairs = pairs_of(threat, answers, threat.cohort.patients)
    shuffled = pairs_of(threat, answers, threat.shuffled_patients())
    seed = threat.scenario.seed
    recovered: list[dict[str, Any]] = []
    same_film: list[dict[str, Any]] = []
    if truth is not None:
        guesses = attack.recovered(truth.codes.shape, truth.films.shape)
        recovered = recovery.score_recovery(guesses, attack.name, truth, seed)
        alike = attack.recognised(len(truth.paired))
        same_film = recovery.score_same_film(alike, attack.name, truth.paired, seed)
    return {
        "entries": scorer.score_attack(scores, seconds, attack.name, pairs, shuffled, seed),
        "recovery": recovered,
        "same_film": same_film,
        "seconds": sum(seconds.values()),
        "fence": facts["protected"]["fence"],
    }


def pairs_of(threat: Threat, answers: AnswerKey, patients: npt.NDArray[np.object_]) -> scorer.Pairs:
    """Every attacked film against every film the adversary knows, where `patients` says whose each film is."""
    attacked_rows = answers.table.loc[answers.table["attacked"], "film"].to_numpy()
    known_rows = threat.known_rows()
    attacked, known = threat.cohort.take(attacked_rows), threat.cohort.take(known_rows)
    return scorer.Pairs(
        patients=patients[attacked_rows],
        known_patients=patients[known_rows],
        sites=answers.table.loc[answers.table["attacked"], "site"].to_numpy(dtype=object),
        sources=attacked.index["source"].to_numpy(dtype=object),
        known_sources=known.index["source"].to_numpy(dtype=object),
        labels=attacked.labels,
        known_labels=known.labels,
    )


def _label_floor(threat: Threat, answers: AnswerKey) -> dict[str, Any]:
    others = threat.experiment.others
    pairs = pairs_of(threat, answers, threat.cohort.patients)
    return scorer.label_floor(pairs, others.labels, others.patients, threat.scenario.seed)


def _draw(run: Run, experiment: Experiment, releases: Sequence[Release], evidence: Evidence) -> None:
    """One picture per site: some films as they were, as they are seen by those they are for, and what changed."""
    method, taught = experiment.scenario.method, run.learnt()
    firsts = np.cumsum([0, *map(len, releases)])
    for release, first in zip(releases, firsts, strict=False):
        shown = slice(first, first + min(len(release), PICTURED_FILMS))
        originals = evidence.clean[shown]
        weights = release.weights or (taught.weights if taught is not None else {})
        workshop = workshop_of(experiment.scenario, release.site, None)
        moved = None
        if isinstance(method, FilmMethod) and (weights or not method.learns):
            moved = method.displacements(originals, weights, workshop)
        without_key = None if evidence.unauthorised is None else evidence.unauthorised[shown]
        drawn = io.BytesIO()
        comparison(originals, evidence.released[shown], moved, without_key).save(drawn, format="PNG")
        write_atomic(run.folder / "pictures" / f"{release.site}.png", drawn.getvalue())


def _stage(what: str, name: str) -> str:
    return f"{what}-{name.replace(':', '.')}"


def environment(precision: str) -> dict[str, Any]:
    """The versions behind a result."""
    return {
        "fedcxr": fedcxr.__version__,
        **{package: _version(package) for package in ("torch", "flwr", "ray", "numpy")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "precision": precision,
        "commit": _commit(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout we run from, with a plus sign if it was changed; None for an installed package."""
    folder = Path(__file__).resolve().parents[1]
    if not (folder / ".git").exists():
        return None
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--match="],
            cwd=folder, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None
