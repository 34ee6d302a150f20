"""What is measured once the sites have answered: utility in this process, the attacks beside it in their own."""

from __future__ import annotations

import io
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fedcxr
from fedcxr.pictures import comparison
from fedcxr.protocol import Experiment, utility_step
from fedcxr.release import AnswerKey, Release
from fedcxr.runs import SCHEMA, Run, explained, write_atomic, write_json
from server import scorer
from server.attack import Attack
from server.meter import MemoryMeter

if TYPE_CHECKING:
    from fedcxr.compute import Compute

PICTURED_FILMS = 4

Entries = Sequence[Mapping[str, Any]]  # `sites` of result.json


def conduct(run: Run, experiment: Experiment, release: Callable[[], object], engine: str, meter: MemoryMeter) -> None:
    """Let the sites release, measure utility and privacy on the same released bytes, and write result.json."""
    began = time.monotonic()
    scenario = experiment.scenario
    attacks = {name: Attack(run, experiment, name) for name in scenario.adversaries}
    waiting = {name: attack for name, attack in attacks.items() if not run.has_stage(_stage("attack", name))}
    try:
        for attack in waiting.values():
            attack.start()
        if not run.has_stage("collect"):
            release()
        release_s = time.monotonic() - began
        sites: Entries = run.outcome("collect")
        releases = run.releases([entry["name"] for entry in sites if entry["status"] == "ok"])
        answers = experiment.answers(releases)
        with explained(run.folder):
            answers.save(run.folder / "answers")
        for attack in waiting.values():
            attack.leak(releases)
        from fedcxr.compute import Compute  # here and not above: it imports torch, which takes seconds

        compute = Compute.choose(**scenario.compute.model_dump(include={"device", "precision", "threads"}))
        utility = _utility(run, experiment, releases, compute)
        for name, attack in waiting.items():
            attack.wait(time.monotonic() + scenario.compute.timeout_s)
            run.stage(_stage("attack", name), partial(_scored, experiment, answers, attack))
            attack.clear()
    finally:
        for attack in waiting.values():
            attack.stop()
    attacked = [run.outcome(_stage("attack", name)) for name in attacks]
    entries = [entry for outcome in attacked for entry in outcome["entries"]]
    _draw(run, experiment, releases)
    seconds = {
        "release": release_s,
        "utility": sum(outcome["seconds"] for outcome in utility.values()),
        "attack": sum(outcome["seconds"] for outcome in attacked),
        "total": time.monotonic() - began,
    }
    result = {
        "schema": SCHEMA,
        "run": {
            "id": scenario.id,
            "method": scenario.method.plugin_name(),
            "seed": scenario.seed,
            "engine": engine,
            "preset": scenario.preset,
            "device": compute.device.type,
            "wall_s": round(seconds["total"], 3),
            "complete": True,
        },
        "scenario": scenario.document(),
        "environment": environment(compute.precision),
        "sites": list(sites),
        "utility": {"findings": None, "fidelity": None} | {k: v["measured"] for k, v in utility.items()},
        "privacy": {
            "attacks": entries,
            "worst_case": scorer.worst_case(entries),
            "label_floor": run.stage("label-floor", lambda: _label_floor(experiment, answers)),
            "formal": guarantee.model_dump() if (guarantee := scenario.method.guarantee()) else None,
        },
        "cost": {
            "bytes_up": sum(entry["bytes_released"] or 0 for entry in sites),
            "bytes_down": len(scenario.to_yaml().encode()) * len(sites),
            "peak_rss_mb": meter.peak_mb(),
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
        },
    }
    write_json(run.folder / "result.json", result)


def _utility(run: Run, experiment: Experiment, releases: Sequence[Release], compute: Compute) -> dict[str, Any]:
    """Every task's figures, each with the seconds it took."""
    evidence = experiment.evidence(releases)

    def measured(task: str) -> dict[str, Any]:
        start = time.perf_counter()
        with compute.session():
            figures = utility_step(experiment.scenario, task, evidence, compute, run.progress)
        return {"measured": figures, "seconds": time.perf_counter() - start}

    return {task: run.stage(_stage("utility", task), partial(measured, task)) for task in experiment.scenario.tasks}


def _scored(experiment: Experiment, answers: AnswerKey, attack: Attack) -> dict[str, Any]:
    scores, facts = attack.scores()
    seconds = {leak: float(fact["seconds"]) for leak, fact in facts.items()}
    seed = experiment.scenario.seed
    return {
        "entries": scorer.score_attack(scores, seconds, attack.name, _pairs(experiment, answers), seed),
        "seconds": sum(seconds.values()),
        "fence": facts["protected"]["fence"],
    }


def _pairs(experiment: Experiment, answers: AnswerKey) -> scorer.Pairs:
    """Every attacked film against every film the adversary knows."""
    attacked = experiment.cohort.take(answers.table.loc[answers.table["attacked"], "film"].to_numpy())
    known = experiment.cohort.take(experiment.known_rows())
    return scorer.Pairs(
        patients=attacked.patients,
        known_patients=known.patients,
        sources=attacked.index["source"].to_numpy(dtype=object),
        known_sources=known.index["source"].to_numpy(dtype=object),
        labels=attacked.labels,
        known_labels=known.labels,
    )


def _label_floor(experiment: Experiment, answers: AnswerKey) -> dict[str, Any]:
    others = experiment.cohort.take(experiment.cohort.index["split"].to_numpy() != "test")
    return scorer.label_floor(_pairs(experiment, answers), others.labels, others.patients, experiment.scenario.seed)


def _draw(run: Run, experiment: Experiment, releases: Sequence[Release]) -> None:
    """One picture per site: some films as they were, as released, and what changed."""
    for release in releases:
        films = np.asarray(release.arrays["films"][:PICTURED_FILMS], dtype=np.uint8)
        originals = experiment.cohort.films(experiment.truth([release])[: len(films)])
        drawn = io.BytesIO()
        comparison(originals, films).save(drawn, format="PNG")
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
