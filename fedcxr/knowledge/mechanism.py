"""The method itself, and what it learnt: the adversary can run it on films of its own (Kerckhoffs)."""

from __future__ import annotations

from collections import defaultdict
from typing import cast

import pydantic

from fedcxr import plugins
from fedcxr.knowledge import Holding, Knowledge
from fedcxr.methods import Method
from fedcxr.view import Weights
from fedcxr.world import Roles, World


class Mechanism(Knowledge):
    """How the sites protect their films, with all parameters and weights, and without any key."""

    known: bool = pydantic.Field(True, description="the adversary can run the method on films of its own")

    @property
    def granted(self) -> bool:
        return self.known

    def held(self, world: World, roles: Roles) -> Holding | None:
        if not self.known:
            return None
        taught = world.released.shared.taught if world.protects else ()
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
