"""A model that knows a few films by heart: the control that whoever tells members from others must pass.

It is learnt by the method of the scenario, without its noise if it has any, in turns until its loss on these films is
next to nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from fedcxr.cohort import Cohort
from fedcxr.methods import Method, Round, RunContext
from fedcxr.metrics.confidence import losses, margins, mean_known
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.view import Rows, Shared, Weights
from fedcxr.world import World

KNOWN = 0.1  # nats: mean loss on films below which a model knows them by heart; smoothed labels teach it .05


def by_heart(world: World, films: int, turns: int) -> World:
    """The same world, had so many films, or a few more, been all that the sites learnt from."""
    rows = np.concatenate([_few(world, films), np.flatnonzero(world.cohort.index["split"] != "train")])
    small = replace(
        world,
        cohort=world.cohort.take(rows),
        patients=world.patients[rows],
        method=world.method.unguarded(),
        elsewhere=lambda behind, source, people: world.elsewhere(rows[behind], source, people),
    )
    if world.traces is None:
        return small
    learnt = partial(_learnt, small.method, small.cohort.where("train"), world.seed, world.context, turns)
    last = deque(learnt(), maxlen=1).pop()
    nothing = np.zeros(0, dtype=np.intp)

    def updates() -> Iterator[tuple[int, Release]]:
        """Learnt once more, by whoever looks: most do not."""
        return ((number, _told(small.method, weights)) for number, weights in enumerate(learnt(), start=1))

    shared = Shared((), _told(small.method, last), updates, updates)
    traces = replace(world.traces, shared=shared, films=nothing, sites=nothing.astype(object), there=None)
    return replace(small, traces=traces)


def _few(world: World, films: int) -> Rows:
    """All films of as many people as have so many, of those who were learnt from."""
    rng, train = stream(world.seed, "membership", "few"), np.flatnonzero(world.cohort.index["split"] == "train")
    people, number = np.unique(world.patients[train], return_inverse=True)
    turn = rng.permutation(len(people))[number]  # when the person's turn comes whose film it is
    order = np.argsort(turn, kind="stable")
    last = turn[order][min(films, len(order)) - 1] if len(order) else 0
    return np.asarray(train[turn <= last], dtype=np.intp)


def _learnt(method: Method, films: Cohort, seed: int, context: RunContext, turns: int) -> Iterator[Weights]:
    """What is known after each turn."""
    weights = method.initial(stream(seed, "membership", "initial"))
    rng = stream(seed, "membership", "by heart")
    for number in range(turns):
        weights = method.learn(films, rng, context, weights, Round(number, turns))
        yield weights
        judged = method.judged(films, weights, context)
        if mean_known(losses(margins(judged.scores, judged.labels))).mean() < KNOWN:
            return


def _told(method: Method, weights: Weights) -> Release:
    return Release("update", "control", method.plugin_name(), {}).publishing(weights)
