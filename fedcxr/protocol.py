"""What each of the parties does, as pure functions: a site releases or learns, the coordinator teaches."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedcxr.cohort import Cohort
from fedcxr.errors import DataError, Refused
from fedcxr.keys.provider import Job, KeyProvider, Work, signed
from fedcxr.learning.bounds import check_alike, check_weights
from fedcxr.methods import Round, RunContext, Weights
from fedcxr.partition import Rows
from fedcxr.release import Release
from fedcxr.rng import derive, stream
from fedcxr.scenario import Scenario
from fedcxr.sealed_update import seal
from fedcxr.storage.events import Events
from fedcxr.tasks import Bench, Taught

COORDINATOR = "coordinator"

Inspect = Callable[[Cohort, Release], None]


def _trustingly(films: Cohort, release: Release) -> None:
    pass


def site_step(
    scenario: Scenario,
    site: str,
    cohort: Cohort,
    key_provider: KeyProvider,
    learnt: Release | None = None,
    folder: Path | None = None,
    *,
    job: Job | None = None,
    inspect: Inspect = _trustingly,
) -> Release:
    """What one hospital does: put its films in an order that tells nothing, learn unless that is done, release.

    `learnt` is what the coordinator sent along; `job` is what it asked for, where that differs from what is done here.
    What the method made is shown to `inspect`, beside the films it was made of, before it is signed.
    """
    method, reported = scenario.method, dict[str, Any]()
    _check_sent(scenario, learnt)
    job = job or job_of(scenario, "release", told=learnt)
    context = replace(context_of(scenario, site, folder), report=reported.update)
    shuffled = cohort.take(in_order(site, len(cohort), key_provider, job))
    images = list(shuffled.index["image"])
    learns = method.learning is not None and learnt is None
    if learns:
        method.check_films(shuffled.where("train"))
    keys = key_provider.begin(job, images, method.spending(Round()) if learns else None)
    weights = {} if learnt is None else learnt.weights
    if learns:
        weights = method.learn(shuffled.where("train"), key_provider.stream(job, "site", site, "learn"), context)
    release = method.release(
        shuffled, keys, weights, key_provider.stream(job, "site", site, "release", images=images), context
    )
    if release.site != site or not release.accounts_for(len(cohort)):
        raise DataError(
            f"method {method.plugin_name()} released the wrong films",
            given=f"{len(release) + len(release.left_out)} films as {release.site}",
            allowed=f"{len(cohort)} films as {site}",
        )
    inspect(shuffled, release)
    # Kerckhoffs: an adversary who may know the mechanism knows all of it. What was learnt elsewhere is there already.
    publishes = scenario.publishes_weights and learns
    whole = release.publishing(weights) if publishes else release
    if reported:
        films = method.counted(len(shuffled.where("train")))
        facts = {**whole.facts, "films": films, "reported": reported}
        whole = replace(whole, facts=facts)
    envelopes = key_provider.envelopes(job) if method.keyed else {}
    return signed(replace(whole, envelopes=envelopes), key_provider, job.facts)


def _check_sent(scenario: Scenario, learnt: Release | None) -> None:
    """What a method learnt elsewhere comes along where it learns elsewhere, and nowhere else."""
    learning = scenario.method.learning
    elsewhere = learning is not None and learning.place != "local"
    if elsewhere != (learnt is not None):
        where = learning.place if learning is not None else "nowhere"
        told = "what the method learnt is missing" if elsewhere else "weights came along that nobody asked for"
        raise Refused(told, given=f"{scenario.method.plugin_name()}, which learns {where}")
    if learnt is not None:
        _check_received(scenario, learnt.weights)


def _check_received(scenario: Scenario, weights: Weights) -> None:
    """Refuse what the coordinator sends before any method computes with it."""
    check_weights(weights, COORDINATOR)
    learning = scenario.method.learning
    if learning is not None and learning.place == "federated":
        check_alike(weights, _beginning(scenario), COORDINATOR)


_BEGINNINGS: dict[str, Weights] = {}  # by run, of which a process serves one at a time


def _beginning(scenario: Scenario) -> Weights:
    """The weights of the network that the sites learn: made once, for every round is checked against them."""
    known = _BEGINNINGS.get(scenario.run_name)
    if known is None:
        known = initial_step(scenario).weights
        _BEGINNINGS.clear()
        _BEGINNINGS[scenario.run_name] = known
    return known


def participants_of(scenario: Scenario, number: int) -> tuple[str, ...]:
    """The sites that learn in a round: 1, 2, ..."""
    learning = scenario.method.learning
    assert learning is not None, "only a method that learns has rounds"
    return learning.participants(scenario.site_names, stream(scenario.root, COORDINATOR, "participants", number))


def job_of(scenario: Scenario, kind: Work, part: object = "", told: Release | None = None) -> Job:
    """What the coordinator asks for and a site answers; both find the same."""
    counted = json.dumps({**scenario.counted(), "seed": scenario.seed}, sort_keys=True)
    return Job.of(kind, scenario.run_name, str(part), counted, told)


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
    start: Release,
    turn: Round,
    folder: Path | None = None,
    *,
    job: Job | None = None,
) -> Release:
    """One hospital's turn in a federation's learning: an update of what everyone has learnt so far."""
    _check_received(scenario, start.weights)
    job = job or job_of(scenario, "learn", turn.number, start)
    films = cohort.where("train")
    images = list(films.index["image"])
    scenario.method.check_films(films)
    keys = key_provider.begin(job, images, scenario.method.spending(turn))
    rng = key_provider.stream(job, "site", site, "learn", turn.number, images=images)
    reported: dict[str, Any] = {}
    context = replace(context_of(scenario, site, folder), report=reported.update)
    learnt = scenario.method.learn(films, rng, context, start.weights, turn)
    facts = {"films": scenario.method.counted(len(films)), **({"reported": reported} if reported else {})}
    update = Release("update", site, scenario.method.plugin_name(), {}, facts).publishing(learnt)
    if scenario.method.seals_updates:
        update = seal(update, keys, key_provider.envelopes(job))
    return signed(update, key_provider, job.facts)


def taught_message(scenario: Scenario, task: str, taught: Taught) -> Release:
    """What a task has learnt, on its way to the sites that are to test it."""
    facts = {"task": task, "findings": list(taught.findings)}
    return Release("update", COORDINATOR, scenario.method.plugin_name(), {}, facts).publishing(taught.weights)


def test_step(
    scenario: Scenario, site: str, cohort: Cohort, key_provider: KeyProvider, message: Release, job: Job
) -> Release:
    """What one hospital tells of its own test films, of which none leaves it."""
    name, findings = message.facts.get("task"), message.facts.get("findings")
    if name not in scenario.tasks or not isinstance(findings, list) or not all(isinstance(f, str) for f in findings):
        raise Refused("this is no task of the scenario's", given=name, allowed=", ".join(scenario.tasks))
    check_weights(message.weights, COORDINATOR)
    held = cohort.where("test")
    key_provider.begin(job, list(held.index["image"]))
    films = held.take(in_order(site, len(held), key_provider, job))
    bench = Bench(task_seed(scenario, name), context_of(scenario, site, None).compute)
    taught = Taught(message.weights, tuple(findings))
    tested = dict(scenario.tasks[name].tested(taught, films, scenario.method, bench))
    told = Release("update", site, scenario.method.plugin_name(), tested, {"task": name, "films": len(films)})
    return signed(told, key_provider, job.facts)


def teach_step(scenario: Scenario, public: Cohort, folder: Path | None = None) -> Release:
    """What the coordinator does where the method learns from public films, for all sites."""
    rng = stream(scenario.root, COORDINATOR, "learn")
    learnt = scenario.method.learn(public.where("train"), rng, context_of(scenario, COORDINATOR, folder))
    return Release("update", COORDINATOR, scenario.method.plugin_name(), {}).publishing(learnt)


def begin_step(scenario: Scenario, public: Cohort) -> Release:
    """What the coordinator learns from public films, for the sites to start from."""
    rng, start = stream(scenario.root, COORDINATOR, "begin"), initial_step(scenario)
    context = context_of(scenario, COORDINATOR, None)
    begun = scenario.method.begun(public.where("train"), rng, context, start.weights)
    return Release("update", COORDINATOR, scenario.method.plugin_name(), {}).publishing(begun)


def initial_step(scenario: Scenario) -> Release:
    """What all sites of a federation start from."""
    initial = scenario.method.initial(stream(scenario.root, COORDINATOR, "initial"))
    return Release("update", COORDINATOR, scenario.method.plugin_name(), {}).publishing(initial)


def context_of(scenario: Scenario, who: str, folder: Path | None) -> RunContext:
    """Where a method works; a simulated site tells the run how far it is."""
    events = Events.of_the_run()

    def progress(stage: str, done: int, total: int) -> None:
        if events is not None and scenario.method.learning is not None:  # what takes a second stays silent
            events.progress(f"{who}: {stage}", done, total)

    chosen = scenario.compute.model_dump(include={"device", "precision", "threads"})
    return RunContext(**chosen, progress=progress, folder=folder)


def in_order(site: str, films: int, key_provider: KeyProvider, job: Job) -> Rows:
    """The order of a site's films in what it tells of them: neighbours in a table are often films of one patient."""
    return key_provider.stream(job, *_order(site)).permutation(films).astype(np.intp)


def release_order(site: str, films: int, seed: int) -> Rows:
    """The same in a simulation, to the experimenter."""
    return stream(seed, *_order(site)).permutation(films).astype(np.intp)


def _order(site: str) -> tuple[str, str, str]:
    return "site", site, "order"


def task_seed(scenario: Scenario, task: str) -> int:
    """Where the random streams of one measure begin."""
    return derive(scenario.root, "task", task)


def attack_seed(scenario: Scenario, adversary: str) -> int:
    """The adversary's own seed: from the scenario's it could draw the noise again and subtract it."""
    return derive(scenario.root, "adversary", adversary)
