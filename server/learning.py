"""A method that does not learn at each site alone: at the coordinator, or in a federation of all sites."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from fedcxr import sealed_update, wire
from fedcxr.cohort import Cohort
from fedcxr.data import Source, cache_folder
from fedcxr.errors import Refused
from fedcxr.keys.stream import KEY_BYTES, generator
from fedcxr.learning import Learning, Report
from fedcxr.learning.bounds import check_update
from fedcxr.methods import Weights, guarantee_of
from fedcxr.protocol import (
    COORDINATOR,
    begin_step,
    context_of,
    initial_step,
    job_of,
    participants_of,
    teach_step,
)
from fedcxr.release import Header, Release
from fedcxr.rng import stream
from fedcxr.runs import Run, round_name
from fedcxr.scenario import Scenario
from fedcxr.storage.artefacts import Artefacts, digest_of
from fedcxr.storage.version import versions
from server.aggregation import Aggregation
from server.exchange import Exchange


def learn(exchange: Exchange, run: Run, public: Source | None = None, *, keep_updates: bool = False) -> Release | None:
    """What the sites' method needs that none of them learns alone; an interrupted run goes on from its last round.

    What each site sent is lost in what all of them made, unless it is asked for: then the run keeps that too.
    """
    method, learning = run.scenario.method, run.scenario.method.learning
    if learning is None or learning.place == "local":
        return None
    learnt = run.learnt()
    if learnt is None:
        if learning.place == "public":
            assert public is not None, "a scenario is checked when it is parsed"
            learnt = _from_public_films(run, _opened(run.scenario, public))
        else:
            learnt = _together(exchange, run, learning, public, keep_updates)
        method.save(learnt.weights, run.learnt_file(COORDINATOR))
        run.store_learnt("learnt", learnt)
    run.forget_means()
    return learnt


def _opened(scenario: Scenario, public: Source) -> Cohort:
    """The coordinator's films, made alike as every hospital's are if the scenario has that."""
    return scenario.made_alike(scenario.films_of(public).open(cache_folder()), of=COORDINATOR)


def _from_public_films(run: Run, films: Cohort) -> Release:
    scenario, folder = run.scenario, run.folder / "workshop"
    learnt = _taught(scenario, films, "learnt", lambda: teach_step(scenario, films, folder).weights)
    shutil.rmtree(folder, ignore_errors=True)
    return learnt


def _taught(scenario: Scenario, films: Cohort, kind: str, teach: Callable[[], Weights]) -> Release:
    """What public films teach, which other runs may have learnt before."""
    artefacts, compute = Artefacts.below(cache_folder()), context_of(scenario, COORDINATOR, None).compute
    key = artefacts.key(
        kind,
        method=scenario.method.spec(),
        films=digest_of(films.films()),
        labels=digest_of(films.labels),
        patients=digest_of(pd.factorize(films.patients)[0]),
        splits=digest_of(pd.factorize(films.index["split"])[0]),
        seed=scenario.root,
        compute=compute.settings,
        versions=versions([type(scenario.method)]),
    )
    weights = artefacts.made(key, teach)
    return Release("update", COORDINATOR, scenario.method.plugin_name(), {}).publishing(weights)


def _together(exchange: Exchange, run: Run, learning: Learning, public: Source | None, keep_updates: bool) -> Release:
    """Round after round, every site learns from its own films, and Flower's strategy combines what they learnt."""
    aggregation = Aggregation(learning, run.means, partial(_noise, exchange, run))
    learnt = run.learnt(round_name(0)) or run.store_learnt(round_name(0), _beginning(run, learning, public))
    for number in range(1, learning.rounds + 1):
        known = run.learnt(round_name(number))
        if known is None:
            asked = participants_of(run.scenario, number)
            updates = _updates(exchange, run, number, learnt, asked)
            weights = aggregation.combined(number, learnt.weights, updates, len(asked))
            # The round counts once its outcome is on file, which therefore comes last.
            if keep_updates:
                run.store_updates(number, updates.values())
            run.store_reports(number, [Report.of(update, number) for update in updates.values()])
            whole = Release("update", COORDINATOR, learnt.method, {}).publishing(weights)
            known = run.store_learnt(round_name(number), whole)
        else:
            aggregation.again(number, learnt.weights)
        learnt = known
        run.progress("federated learning", number, learning.rounds)
    return learnt


def _beginning(run: Run, learning: Learning, public: Source | None) -> Release:
    """What all sites start from."""
    if learning.begins == "anew":
        return initial_step(run.scenario)
    assert public is not None, "a scenario is checked when it is parsed"
    films = _opened(run.scenario, public)
    return _taught(run.scenario, films, "begun", lambda: begin_step(run.scenario, films).weights)


def _noise(exchange: Exchange, run: Run, number: int) -> np.random.Generator:
    """What the coordinator adds to a round: of a simulation from its seed, of hospitals from where nobody knows."""
    if exchange.simulated:
        return stream(run.scenario.root, COORDINATOR, "central noise", number)
    return generator(secrets.token_bytes(KEY_BYTES))


def _updates(exchange: Exchange, run: Run, turn: int, learnt: Release, asked: Sequence[str]) -> Mapping[str, Release]:
    """By site, what it learnt; whoever counts other films than most has learnt from films of another kind."""
    job, method = job_of(run.scenario, "learn", turn - 1, learnt), run.scenario.method
    reports = [report for report in run.reports() if report.round < turn]
    expected = {name: (array.dtype.name, array.shape) for name, array in learnt.arrays.items()}

    def admit(header: Header) -> None:
        if (header.kind, header.method) != ("update", learnt.method):
            raise Refused("this is not the site's update", given=f"{header.kind}, {header.method}")
        if {name: (stated.dtype, stated.shape) for name, stated in header.arrays.items()} != expected:
            raise Refused("an update of other weights than were sent")

    def checked(site: str, answer: wire.Answer) -> Release:
        if method.seals_updates:
            _, closed = exchange.release(site, answer, job, sealed_update.admit)
            update = sealed_update.unseal(closed, exchange.reader, admit)
        else:
            _, update = exchange.release(site, answer, job, admit)
        report = Report.of(update, turn)
        if report.films > answer.images:
            raise Refused("an update of more films than the site holds", given=report.films)
        check_update(update.weights, learnt.weights, site)
        guarantee_of(method, [*reports, report])  # raises where, with this one, none can be reckoned any more
        reports.append(report)
        return update

    updates = exchange.gather(wire.LEARN, turn, learnt, checked, f"round {turn}", asked)
    whole = {site: _whole_numbers(update) for site, update in updates.items()}
    most = Counter(whole.values()).most_common(1)[0][0]
    reason = f"an update of films of another kind than the others', round {turn}"
    return exchange.without({site: reason for site, own in whole.items() if own != most}, updates, turn, asked)


def _whole_numbers(update: Release) -> Hashable:
    """What is not averaged, such as a film's size: it must be everyone's."""
    return frozenset((name, array.tobytes()) for name, array in update.weights.items() if array.dtype.kind != "f")
