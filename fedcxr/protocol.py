"""What each of the parties does, as pure functions: a site releases or learns, the coordinator teaches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedcxr.cohort import Cohort
from fedcxr.errors import DataError, Refused
from fedcxr.keys.provider import KeyProvider, signed
from fedcxr.methods import Round, RunContext, Weights
from fedcxr.partition import Rows
from fedcxr.release import Release
from fedcxr.rng import derive, stream
from fedcxr.scenario import Scenario
from fedcxr.storage.events import Events
from fedcxr.tasks import Bench, Taught

COORDINATOR = "coordinator"


def site_step(
    scenario: Scenario,
    site: str,
    cohort: Cohort,
    key_provider: KeyProvider,
    learnt: Weights | None = None,
    folder: Path | None = None,
) -> Release:
    """What one hospital does: put its films in an order that tells nothing, learn unless that is done, release."""
    method, reported = scenario.method, dict[str, Any]()
    context = replace(context_of(scenario, site, folder), report=reported.update)
    seed = key_provider.seed(scenario.run_name)
    shuffled = cohort.take(release_order(site, len(cohort), seed))
    weights = learnt
    if weights is None:
        rng = stream(seed, "site", site, "learn")
        weights = method.learn(shuffled.where("train"), rng, context) if method.learning is not None else {}
    keys = key_provider.begin(scenario.run_name, list(shuffled.index["image"]))
    release = method.release(shuffled, keys, weights, stream(seed, "site", site, "release"), context)
    envelopes = key_provider.envelopes(scenario.run_name) if method.keyed else {}
    if release.site != site or not release.accounts_for(len(cohort)):
        raise DataError(
            f"method {method.plugin_name()} released the wrong films",
            given=f"{len(release) + len(release.left_out)} films as {release.site}",
            allowed=f"{len(cohort)} films as {site}",
        )
    # Kerckhoffs: an adversary who may know the mechanism knows all of it. What was learnt elsewhere is there already.
    publishes = scenario.knowledge["mechanism"].granted and method.learning is not None and learnt is None
    whole = release.publishing(weights) if publishes else release
    if reported:
        facts = {**whole.facts, "films": len(shuffled.where("train")), "reported": reported}
        whole = replace(whole, facts=facts)
    return signed(replace(whole, envelopes=envelopes), key_provider, request(scenario))


def request(scenario: Scenario, turn: int | None = None) -> dict[str, object]:
    """What a release tells of what it answers, so that an older one cannot stand in for it."""
    return {"run": scenario.run_name, "turn": turn}


def round_of(scenario: Scenario, number: int) -> Round:
    """The round of a federation's learning that a site is asked for, if there is such a round."""
    learning = scenario.method.learning
    if learning is None or learning.place != "federated":
        raise Refused("the method does not learn in a federation", given=scenario.method.plugin_name())
    if not 1 <= number <= learning.rounds:
        raise Refused("there is no such round of learning", given=number, allowed=f"1 to {learning.rounds}")
    return Round(number - 1, learning.rounds)


def learn_step(
    scenario: Scenario,
    site: str,
    cohort: Cohort,
    key_provider: KeyProvider,
    start: Weights,
    turn: Round,
    folder: Path | None = None,
) -> Release:
    """One hospital's turn in a federation's learning: an update of what everyone has learnt so far."""
    films = cohort.where("train")
    rng = stream(key_provider.seed(scenario.run_name), "site", site, "learn", turn.number)
    reported: dict[str, Any] = {}
    context = replace(context_of(scenario, site, folder), report=reported.update)
    learnt = scenario.method.learn(films, rng, context, start, turn)
    facts = {"films": len(films), **({"reported": reported} if reported else {})}
    update = Release("update", site, scenario.method.plugin_name(), {}, facts).publishing(learnt)
    return signed(update, key_provider, request(scenario, turn.number))


def taught_message(scenario: Scenario, task: str, taught: Taught) -> Release:
    """What a task has learnt, on its way to the sites that are to test it."""
    facts = {"task": task, "findings": list(taught.findings)}
    return Release("update", COORDINATOR, scenario.method.plugin_name(), {}, facts).publishing(taught.weights)


def test_step(scenario: Scenario, site: str, cohort: Cohort, key_provider: KeyProvider, message: Release) -> Release:
    """What one hospital tells of its own test films, of which none leaves it."""
    name, findings = message.facts.get("task"), message.facts.get("findings")
    if name not in scenario.tasks or not isinstance(findings, list) or not all(isinstance(f, str) for f in findings):
        raise Refused("this is no task of the scenario's", given=name, allowed=", ".join(scenario.tasks))
    held = cohort.where("test")
    films = held.take(release_order(site, len(held), key_provider.seed(scenario.run_name)))
    bench = Bench(task_seed(scenario, name), context_of(scenario, site, None).compute)
    taught = Taught(message.weights, tuple(findings))
    tested = dict(scenario.tasks[name].tested(taught, films, scenario.method, bench))
    told = Release("update", site, scenario.method.plugin_name(), tested, {"task": name, "films": len(films)})
    return signed(told, key_provider, request(scenario))


def teach_step(scenario: Scenario, public: Cohort, folder: Path | None = None) -> Release:
    """What the coordinator does where the method learns from public films, for all sites."""
    rng = stream(scenario.seed, COORDINATOR, "learn")
    learnt = scenario.method.learn(public.where("train"), rng, context_of(scenario, COORDINATOR, folder))
    return Release("update", COORDINATOR, scenario.method.plugin_name(), {}).publishing(learnt)


def initial_step(scenario: Scenario) -> Release:
    """What all sites of a federation start from."""
    initial = scenario.method.initial(stream(scenario.seed, COORDINATOR, "initial"))
    return Release("update", COORDINATOR, scenario.method.plugin_name(), {}).publishing(initial)


def context_of(scenario: Scenario, who: str, folder: Path | None) -> RunContext:
    """Where a method works; a simulated site tells the run how far it is."""
    events = Events.of_the_run()

    def progress(stage: str, done: int, total: int) -> None:
        if events is not None and scenario.method.learning is not None:  # what takes a second stays silent
            events.progress(f"{who}: {stage}", done, total)

    chosen = scenario.compute.model_dump(include={"device", "precision", "threads"})
    return RunContext(**chosen, progress=progress, folder=folder)


def release_order(site: str, films: int, seed: int) -> Rows:
    """The order of a site's films in its release: neighbours in a table are often films of one patient."""
    return stream(seed, "site", site, "order").permutation(films).astype(np.intp)


def task_seed(scenario: Scenario, task: str) -> int:
    """Where the random streams of one measure begin."""
    return derive(scenario.seed, "task", task)


def attack_seed(scenario: Scenario, adversary: str) -> int:
    """The adversary's own seed: from the scenario's it could draw the noise again and subtract it."""
    return derive(scenario.seed, "adversary", adversary)
