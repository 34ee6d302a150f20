"""The whole experiment as pure functions: what sites release, what is measured on it, what the adversary holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcxr.cohort import Cohort
from fedcxr.errors import DataError
from fedcxr.keys.custody import Custodian, signed
from fedcxr.methods import Round, Weights, Workshop
from fedcxr.methods._coded import CodeMethod
from fedcxr.partition import Rows
from fedcxr.release import Release
from fedcxr.rng import derive, stream
from fedcxr.scenario import Scenario
from fedcxr.storage.events import Events
from fedcxr.tasks import Evidence, Progress

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

COORDINATOR = "coordinator"


def site_step(
    scenario: Scenario,
    site: str,
    cohort: Cohort,
    custodian: Custodian,
    learnt: Weights | None = None,
    folder: Path | None = None,
) -> Release:
    """What one hospital does: put its films in an order that tells nothing, learn unless that is done, release."""
    method, workshop = scenario.method, workshop_of(scenario, site, folder)
    seed = custodian.seed(scenario.run_name)
    shuffled = cohort.take(release_order(site, len(cohort), seed))
    weights = learnt
    if weights is None:
        rng = stream(seed, "site", site, "learn")
        weights = method.learn(shuffled.where("train"), rng, workshop) if method.learns else {}
    envelopes: Mapping[str, bytes] = {}
    if isinstance(method, CodeMethod):
        keys = custodian.begin(scenario.run_name, list(shuffled.index["image"]))
        release = method.release_under(keys, shuffled, weights, workshop)
        envelopes = custodian.envelopes(scenario.run_name)
    else:
        release = method.release(shuffled, site, weights, stream(seed, "site", site, "release"), workshop)
    told = len(release) + len(release.left_out)
    if release.site != site or (release.kind != "update" and told != len(cohort)):
        raise DataError(
            f"method {method.plugin_name()} released the wrong films",
            given=f"{told} films as {release.site}",
            allowed=f"{len(cohort)} films as {site}",
        )
    # Kerckhoffs: an adversary who may know the mechanism knows all of it. What was learnt elsewhere is there already.
    publishes = scenario.knowledge.mechanism and method.learns and learnt is None
    whole = release.publishing(weights) if publishes else release
    return signed(replace(whole, envelopes=envelopes), custodian, request(scenario))


def request(scenario: Scenario, turn: int | None = None) -> dict[str, object]:
    """What a release tells of what it answers, so that an older one cannot stand in for it."""
    return {"run": scenario.run_name, "turn": turn}


def learn_step(
    scenario: Scenario,
    site: str,
    cohort: Cohort,
    custodian: Custodian,
    start: Weights,
    turn: Round,
    folder: Path | None = None,
) -> Release:
    """One hospital's turn in a federation's learning: an update of what everyone has learnt so far."""
    films = cohort.where("train")
    rng = stream(custodian.seed(scenario.run_name), "site", site, "learn", turn.number)
    learnt = scenario.method.learn(films, rng, workshop_of(scenario, site, folder), start, turn)
    update = Release("update", site, scenario.method.plugin_name(), {}, {"films": len(films)}).publishing(learnt)
    return signed(update, custodian, request(scenario, turn.number))


def teach_step(scenario: Scenario, public: Cohort, folder: Path | None = None) -> Release:
    """What the coordinator does where the method learns from public films, for all sites."""
    rng = stream(scenario.seed, COORDINATOR, "learn")
    learnt = scenario.method.learn(public.where("train"), rng, workshop_of(scenario, COORDINATOR, folder))
    return Release("update", COORDINATOR, scenario.method.plugin_name(), {}).publishing(learnt)


def initial_step(scenario: Scenario) -> Release:
    """What all sites of a federation start from."""
    initial = scenario.method.initial(stream(scenario.seed, COORDINATOR, "initial"))
    return Release("update", COORDINATOR, scenario.method.plugin_name(), {}).publishing(initial)


def workshop_of(scenario: Scenario, who: str, folder: Path | None) -> Workshop:
    """Where a method works; a simulated site tells the run how far it is."""
    events = Events.of_the_run()

    def progress(stage: str, done: int, total: int) -> None:
        if events is not None and scenario.method.learns:  # what takes a second stays silent
            events.progress(f"{who}: {stage}", done, total)

    chosen = scenario.compute.model_dump(include={"device", "precision", "threads"})
    return Workshop(**chosen, progress=progress, folder=folder)


def release_order(site: str, films: int, seed: int) -> Rows:
    """The order of a site's films in its release: neighbours in a table are often films of one patient."""
    return stream(seed, "site", site, "order").permutation(films).astype(np.intp)


def utility_step(
    scenario: Scenario, task: str, evidence: Evidence, compute: Compute, progress: Progress
) -> dict[str, Any]:
    """One measure of what the releases are good for."""
    return scenario.tasks[task].measure(evidence, derive(scenario.seed, "task", task), compute, progress)


def attack_seed(scenario: Scenario, adversary: str) -> int:
    """The adversary's own seed: from the scenario's it could draw the noise again and subtract it."""
    return derive(scenario.seed, "adversary", adversary)
