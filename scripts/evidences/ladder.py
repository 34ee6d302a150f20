"""Every attack of a study on every release of it, in this process alone: no engine, no fence, no measure of usefulness.

    scripts/evidence ladder configs/studies/ladder.yaml --out ladder
    scripts/evidence ladder configs/studies/ladder.yaml --out ladder --set knowledge.own_films.people=30000 --jobs 8

What is released and attacked is what `fedcxr study` would release and attack. One file is left for each scenario and
seed, and one that is there is not made again. What does not depend on the method is made once for all of them: what
an adversary learns before anything leaked, and its control on unprotected films; what sites learn by themselves, once
for all who attack it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from fedcxr.adversaries import Adversary
from fedcxr.data import cache_folder
from fedcxr.knowledge import Holding
from fedcxr.protocol import attack_seed, site_step, teach_step
from fedcxr.questions import Answers, Heard
from fedcxr.questions._scoring import RAW
from fedcxr.release import Release
from fedcxr.runs.study import Cell, Study
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import override
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import simulated
from fedcxr.simulation.threat import Put, Threat
from fedcxr.storage.artefacts import Artefacts, digest_of
from fedcxr.storage.checkpoint import Arrays
from fedcxr.storage.disk import read_json, write_json
from fedcxr.training.compute import Compute
from fedcxr.view import Shared


def main() -> None:
    """Attack whatever is not on file yet, and print the table of all that is."""
    options = _options()
    study = Study.read(options.study)
    cells = [_changed(cell, options.set) for cell in study.cells()]
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [Job(cell, seed, options.out) for seed in options.seeds or study.seeds for cell in cells]
    waiting = [job for job in jobs if not job.file.is_file()]
    for job in waiting:  # here and with all cores, before each attack would render the same films with one
        experiment = Experiment.open(job.scenario, cache_folder(), workers=os.cpu_count() or 1)
        for question in job.scenario.questions:
            Threat(experiment).owned(question, experiment.world())
    os.environ["OMP_NUM_THREADS"] = "1"  # of each attack, as in an adversary's own process: more are slower here
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for number, done in enumerate(as_completed([pool.submit(attempt, job) for job in waiting]), start=1):
            print(f"{number} of {len(waiting)}: {done.result()}", file=sys.stderr, flush=True)
    print(table([read_json(job.file) for job in jobs if job.file.is_file()]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a file for each scenario and seed")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="in every scenario")
    parser.add_argument("--seeds", type=int, nargs="+", help="others than the study's")
    parser.add_argument("--jobs", type=int, default=1, help="attacks at once")
    return parser.parse_args()


def _changed(cell: Cell, assignments: Sequence[str]) -> Cell:
    document: Mapping[str, Any] = cell.document
    for assignment in assignments:
        document = override(document, assignment)
    return Cell(cell.differs, document)


@dataclass(frozen=True)
class Job:
    """One scenario of a study under one seed."""

    cell: Cell
    seed: int
    out: Path

    @property
    def scenario(self) -> Scenario:
        return self.cell.scenario(self.seed)

    @property
    def file(self) -> Path:
        return self.out / f"{self.scenario.run_name}.json"


def attempt(job: Job) -> str:
    """What `attack` says, or why it could not: the other attacks go on."""
    try:
        return attack(job)
    except Exception as error:  # whatever a contribution raises
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{job.cell.described()}, seed {job.seed}: FAILED at {where.filename}:{where.lineno}: {error!r}"


def attack(job: Job) -> str:
    """Release, attack and score; returns a line about it."""
    began, scenario = time.perf_counter(), job.scenario
    experiment = Experiment.open(scenario, cache_folder())
    put = Threat(experiment).put(_shared(experiment))
    released = time.perf_counter()
    entries = [
        {"question": question, "adversary": name, **entry}
        for name, adversary in scenario.adversaries.items()
        for question in adversary.answers
        if put.get(question)
        for entry in _scored(scenario, name, question, put[question])
    ]
    told = {
        "scenario": job.cell.described(),
        "seed": job.seed,
        "asked": job.cell.document,
        "document": scenario.told(),
        "attacks": entries,
    }
    write_json(job.file, told)
    took = time.perf_counter()
    return (
        f"{job.cell.described()}, seed {job.seed}: {released - began:.0f} s to release, {took - released:.0f} to attack"
    )


def _shared(experiment: Experiment) -> Shared:
    """What the sites share, each by itself or with what was learnt from public films."""
    scenario = experiment.scenario
    learnt, learning = None, scenario.method.learning
    if learning is not None and learning.place == "public":
        assert scenario.public is not None, "a scenario is checked when it is parsed"
        learnt = teach_step(scenario, scenario.films_of(scenario.public).open(cache_folder()))
    return Shared([_released(scenario, experiment, site, learnt) for site in scenario.site_names], learnt)


def _released(scenario: Scenario, experiment: Experiment, site: str, learnt: Release | None) -> Release:
    """What a site shares; where it learns by itself, which may take longer than an attack, once for all attacks."""

    def released() -> Release:
        return site_step(scenario, site, experiment.site(site), simulated(scenario, site), learnt)

    if scenario.method.learning is None or learnt is not None:
        return released()
    counted = scenario.counted()
    behind = {part: counted[part] for part in ("method", "cohort", "partition", "sites", "compute")}
    granted = {part: counted["knowledge"].get(part) for part in ("mechanism", "releases")}
    key = Artefacts.key("release", seed=scenario.seed, site=site, knowledge=granted, **behind)

    def packed() -> Arrays:
        return {"release": np.frombuffer(released().to_bytes(), dtype=np.uint8)}

    return Release.from_bytes(Artefacts.below(cache_folder()).made(key, packed)["release"].tobytes())


def _scored(scenario: Scenario, name: str, question: str, put: Mapping[str, Put]) -> list[dict[str, Any]]:
    adversary, heard = scenario.adversaries[name], {}
    for where, one in put.items():
        began = time.perf_counter()
        attacker = adversary.on_smoke_budget() if one.setting.smoke else adversary
        answers = _answers(scenario, attacker, question, where, one)
        heard[where] = Heard(one.asked.key, answers, time.perf_counter() - began)
    return scenario.questions[question].score(heard, scenario.root)


def _answers(scenario: Scenario, adversary: Adversary, question: str, where: str, put: Put) -> Answers:
    """What it answers in one world: of what is the same with every method, once for all of them."""
    seed = attack_seed(scenario, adversary.plugin_name())
    compute = Compute.choose(**scenario.compute.model_dump(include={"device", "precision", "threads"}))
    artefacts, own = Artefacts.below(cache_folder()), put.leak.own
    seen = {"films": digest_of(own.films), "people": digest_of(own.people), "held_out": digest_of(own.held_out)}
    same = {"adversary": adversary.spec(), "seed": seed, "compute": compute.settings, **seen}

    def prepared() -> Arrays:
        return dict(adversary.prepare(own, seed, compute, _silent))

    def answered() -> Arrays:
        key = artefacts.key("prepared", **same)
        answers = adversary.answer(question, put.leak, dict(artefacts.made(key, prepared)), seed, compute, _silent)
        return {f"{who}/{part}": array for who, answer in answers.items() for part, array in answer.items()}

    with compute.session():
        if where != RAW:
            return _by_attacker(answered())
        attacked = digest_of(put.leak.view.forms["films"])
        held = {kind: _digests(holding) for kind, holding in put.leak.holdings.items() if kind != "mechanism"}
        held["question"] = _digests(put.leak.given or Holding())
        key = artefacts.key("control", question=question, attacked=attacked, held=held, **same)
        return _by_attacker(artefacts.made(key, answered))


def _digests(holding: Holding) -> dict[str, str]:
    return {name: digest_of(array) for name, array in holding.arrays.items()}


def _by_attacker(flat: Arrays) -> Answers:
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, array in flat.items():
        who, _, part = name.partition("/")
        found[who][part] = array
    return found


def _silent(stage: str, done: int, total: int) -> None:
    pass


# Printing -------------------------------------------------------------------------------------------------------------


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: for each attacker of each scenario its mean over seeds, and in how many it was still rising."""
    lines = [
        "| scenario | attacker | seeds | AUC | TPR at 1 % FPR | raw | still rising | conclusive |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (scenario, who), entries in _grouped(results):
        aucs = [entry["auc"]["value"] for entry in entries]
        rates = [_rate(entry["tpr_at_fpr"]["0.01"]) for entry in entries]
        raw = [entry["control_raw_auc"] for entry in entries]
        rising = sum(entry["converged"] is False for entry in entries)
        conclusive = sum(bool(entry["conclusive"]) for entry in entries)
        figures = " | ".join((_mean(aucs), _mean(rates), _mean(raw)))
        lines.append(f"| {scenario} | {who} | {len(entries)} | {figures} | {rising} | {conclusive} |")
    return "\n".join(lines)


def _grouped(results: Sequence[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str], list[Mapping[str, Any]]]]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for result in results:
        for entry in result["attacks"]:
            if "control_raw_auc" in entry:
                groups[result["scenario"], f"{entry['adversary']}, {entry['attacker']}"].append(entry)
    yield from groups.items()


def _rate(rate: Any) -> float | None:
    """The rate itself, however much is told beside it."""
    value: float | None = rate["value"] if isinstance(rate, Mapping) else rate
    return value


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "unknown"
    spread = f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.3f}{spread}"


if __name__ == "__main__":
    main()
