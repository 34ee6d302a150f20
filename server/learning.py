"""A method that does not learn at each site alone: at the coordinator, or in a federation of all sites."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from fedcxr import wire
from fedcxr.data import cache_folder
from fedcxr.errors import ConfigError, Refused
from fedcxr.protocol import COORDINATOR, initial_step, teach_step
from fedcxr.release import Release
from fedcxr.runs import Run
from server.exchange import Exchange, why_not

FILMS = "num-examples"  # what Flower's strategies weigh an update by


def learn(exchange: Exchange, run: Run) -> Release | None:
    """What the sites' method needs that none of them learns alone; an interrupted run goes on from its last turn."""
    method = run.scenario.method
    if not method.learns or method.place == "local":
        return None
    done = run.learnt()
    if done is not None:
        return done
    learnt = _from_public_films(run) if method.place == "public" else _together(exchange, run)
    method.save(learnt.weights, run.learnt_file(COORDINATOR))
    return run.store_learnt("learnt", learnt)


def _from_public_films(run: Run) -> Release:
    assert run.scenario.public is not None, "a scenario is checked when it is parsed"
    films = run.scenario.public.open(cache_folder())
    learnt = teach_step(run.scenario, films, run.folder / "workshop")
    shutil.rmtree(run.folder / "workshop", ignore_errors=True)
    return learnt


def _together(exchange: Exchange, run: Run) -> Release:
    """Turn after turn, every site learns from its own films, and Flower's strategy averages what they learnt."""
    turns, learnt = run.scenario.method.turns, initial_step(run.scenario)
    for turn in range(1, turns + 1):
        name = f"turn-{turn:04}"
        known = run.learnt(name)
        if known is None:
            known = run.store_learnt(name, _averaged(learnt, _updates(exchange, run, turn, learnt), turn))
        learnt = known
        run.progress("federated learning", turn, turns)
    return learnt


def _updates(exchange: Exchange, run: Run, turn: int, learnt: Release) -> Mapping[str, Release]:
    updates: dict[str, Release] = {}
    silent: dict[str, str] = {}
    for site, answer in exchange.ask(wire.LEARN, run.scenario.site_names, turn, learnt):
        reason = why_not(answer)
        if reason is None:
            try:
                updates[site] = _checked(exchange, answer, site, learnt, turn)
                continue
            except Refused as why:
                reason = str(why)
        silent[site] = f"{reason}, turn {turn}"
        run.event("site", site=site, round=turn, status="dropped", reason=reason)
        exchange.demand(silent)
    return updates


def _checked(exchange: Exchange, answer: wire.Answer | Refused, site: str, learnt: Release, turn: int) -> Release:
    """The update in an answer, if it is one of the weights that were sent."""
    if isinstance(answer, Refused):
        raise answer
    update = exchange.release(site, answer, turn - 1)
    if (update.kind, update.site, update.method) != ("update", site, learnt.method):
        raise Refused("this is not the site's update", given=f"{update.kind} of {update.site}, {update.method}")
    shapes = [{name: (a.shape, a.dtype.name) for name, a in r.weights.items()} for r in (update, learnt)]
    films = update.facts.get("films")
    if shapes[0] != shapes[1] or type(films) is not int or not 0 < films <= answer.images:
        raise Refused("an update of other weights than were sent, or of no film")
    return update


def _averaged(learnt: Release, updates: Mapping[str, Release], turn: int) -> Release:
    """The mean of all updates, weighed by films; whole numbers, such as a film's size, must be everyone's."""
    whole = [{name: a for name, a in u.weights.items() if a.dtype.kind != "f"} for u in updates.values()]
    for site, numbers in zip(updates, whole, strict=True):
        differ = [name for name, a in numbers.items() if not np.array_equal(a, whole[0][name])]
        if differ:
            raise ConfigError("the sites' updates are of different films", given=f"{differ[0]} of {site}")
    contents = [
        RecordDict(
            {
                "arrays": ArrayRecord(
                    {name: Array(a.astype(np.float64)) for name, a in update.weights.items() if a.dtype.kind == "f"}
                ),
                "metrics": MetricRecord({FILMS: int(update.facts["films"])}),
            }
        )
        for _, update in sorted(updates.items())  # in one order: sums of floats depend on it
    ]
    replies = [Message(content, dst_node_id=1, message_type=wire.LEARN) for content in contents]
    mean, _ = FedAvg(weighted_by_key=FILMS).aggregate_train(turn, replies)
    assert mean is not None, "there are updates"
    floats = {name: array.numpy().astype(learnt.weights[name].dtype) for name, array in mean.items()}
    return Release("update", COORDINATOR, learnt.method, {}).publishing({**whole[0], **floats})
