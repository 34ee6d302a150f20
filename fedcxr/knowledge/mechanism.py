"""The method itself, and what it learnt: the adversary can run it on films of its own (Kerckhoffs)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import cast

import numpy as np
import pandas as pd
import pydantic

from fedcxr import plugins
from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.errors import ConfigError
from fedcxr.knowledge import Holding, Knowledge
from fedcxr.methods import Method, Round
from fedcxr.rng import stream
from fedcxr.storage.artefacts import Artefacts, digest_of
from fedcxr.storage.version import versions
from fedcxr.view import Weights
from fedcxr.world import Roles, World


class Mechanism(Knowledge):
    """How the sites protect their films, with all parameters and weights, and without any key.

    Without the weights, an adversary lets the method learn once more, from films and findings of its own people.
    """

    known: bool = pydantic.Field(True, description="the adversary can run the method on films of its own")
    weights: bool = pydantic.Field(
        True, description="with what it learnt; without, the adversary has it learn from films of its own"
    )

    @property
    def granted(self) -> bool:
        return self.known

    @property
    def publishes_weights(self) -> bool:
        return self.known and self.weights

    def check(self, method: Method, sites: int) -> None:
        if not self.known or self.weights:
            return
        given = f"weights: false, with {method.plugin_name()}"
        if method.kind != "images":
            raise ConfigError(
                "knowledge.mechanism without weights is of films, with which nobody is told what was learnt",
                given=f"{given}, which releases {method.kind}",
                do="remove knowledge.mechanism.weights, or choose a method that shares films",
            )
        if method.learning is None or getattr(method, "weights", None) is not None:
            raise ConfigError(
                "knowledge.mechanism without weights is of a method that learns, and this one does not",
                given=given if method.learning is None else f"{given} of given weights",
                do="remove knowledge.mechanism.weights, or choose a method that learns, such as prichexy_net",
            )

    def held(self, world: World, roles: Roles) -> Holding | None:
        if not self.known:
            return None
        taught = world.released.shared.taught if world.protects else ()
        if world.protects and not self.weights:
            # In as many versions as there are places where it was learnt: any may have made a row.
            taught = (_learnt_alone(world, world.own(roles)),) * max(len(taught), 1)
        arrays = {f"{version:04}/{name}": array for version, own in enumerate(taught) for name, array in own.items()}
        return Holding(arrays, {"method": world.method.spec()})


def method_in(holding: Holding) -> Method:
    """The method that was handed over."""
    return cast(Method, plugins.build("method", holding.facts["method"]))


def taught_in(holding: Holding) -> tuple[Weights, ...]:
    """What it learnt, once for each place where it did; once nothing, where it learnt nothing."""
    versions: dict[str, Weights] = defaultdict(dict)
    for name, array in holding.arrays.items():
        version, _, own = name.partition("/")
        versions[version][own] = array
    return tuple(versions[version] for version in sorted(versions)) or ({},)


def _learnt_alone(world: World, films: Cohort) -> Weights:
    """What the method learns from these films at one place, in as many rounds as at the hospitals; kept for others."""
    key = Artefacts.key(
        "learnt",
        method=world.method.spec(),
        films=_digest(films),
        labels=digest_of(films.labels),
        patients=digest_of(pd.factorize(films.patients)[0]),
        splits=digest_of(pd.factorize(films.index["split"])[0]),
        seed=world.seed,
        compute=world.context.compute.settings,
        versions=versions([type(world.method)]),
    )
    return dict(Artefacts.below(cache_folder()).made(key, lambda: _learn(world, films)))


def _digest(films: Cohort) -> str:
    """Of all pixels, chunk by chunk: there may be more than fit into memory."""
    hashed = hashlib.sha256(repr(films.size).encode())
    for chunk in films.chunks():
        hashed.update(np.ascontiguousarray(chunk).data)
    return hashed.hexdigest()


def _learn(world: World, films: Cohort) -> Weights:
    method, learning = world.method, world.method.learning
    assert learning is not None, "a scenario is checked when it is parsed"
    together = learning.place == "federated"
    weights = method.initial(stream(world.seed, "own mechanism", "initial")) if together else None
    for number in range(learning.rounds):
        rng = stream(world.seed, "own mechanism", "learn", number)
        turn = Round(number, learning.rounds)
        weights = method.learn(films.where("train"), rng, world.context, weights, turn)
    return weights or {}
