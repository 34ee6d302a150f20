"""The same films released once more, under fresh keys: what two releases of one film have in common."""

from __future__ import annotations

import numpy as np
import pydantic

from fedcxr.knowledge import Holding, Knowledge
from fedcxr.knowledge._of_codes import check_keyed
from fedcxr.methods import Method
from fedcxr.rng import stream
from fedcxr.world import Roles, World


class Releases(Knowledge):
    """The same films in more than one release, each under a key of its own."""

    times: int = pydantic.Field(1, ge=1, le=2, description="of codes: how often each attacked film was released")

    @property
    def granted(self) -> bool:
        return self.times > 1

    def check(self, method: Method, sites: int) -> None:
        check_keyed(self, method)

    def held(self, world: World, roles: Roles) -> Holding | None:
        """What is public of the attacked films in the second release."""
        if not self.granted or not world.protects or world.released.shared.array("codes") is None:
            return None
        traces, attacked = world.released, world.rows_of(roles.attacked)
        again = []
        for release, films, here in zip(
            traces.shared.releases,
            np.split(traces.films, traces.shared.ends),
            np.split(attacked, traces.shared.ends),
            strict=True,
        ):
            if here.any():
                keys, weights = traces.key_of(release.site, "again"), traces.shared.weights_behind(release)
                rng = stream(world.seed, "site", release.site, "again")
                second = world.method.release(world.cohort.take(films[here]), keys, weights, rng, world.context)
                again.append(second.arrays["codes"].astype(np.int8, copy=False))
        return Holding({"codes": np.concatenate(again)})  # (n, p, h, w)
