"""Films of the adversary's own that the sites released too: it has both film and public code."""

from __future__ import annotations

import numpy as np
import pydantic

from fedcxr.knowledge import Holding, Knowledge
from fedcxr.knowledge._of_codes import check_keyed
from fedcxr.methods import Method
from fedcxr.rng import stream
from fedcxr.view import Rows
from fedcxr.world import Roles, World


class KnownPairs(Knowledge):
    """Some of the adversary's own films, at random, with what is public of their codes."""

    most: int = pydantic.Field(
        0, ge=0, le=10_000, description="of codes: films of its own that the sites released too, at most"
    )

    @property
    def granted(self) -> bool:
        return self.most > 0

    def check(self, method: Method, sites: int) -> None:
        check_keyed(self, method)

    def chosen(self, world: World, roles: Roles) -> Rows:
        """Places in the releases, one after the other."""
        owned = np.flatnonzero(world.rows_of(roles.owned))
        return np.asarray(stream(world.seed, "pairs").permutation(owned)[: self.most], dtype=np.intp)

    def held(self, world: World, roles: Roles) -> Holding | None:
        public = world.released.shared.array("codes") if world.protects else None
        rows = self.chosen(world, roles)
        if public is None or not len(rows):
            return None
        own = np.searchsorted(np.flatnonzero(roles.owned), world.released.films[rows])
        return Holding(
            {
                "codes": public[rows].astype(np.int8, copy=False),  # (k, p, h, w)
                "films": own.astype(np.int64),  # (k,) rows of the adversary's own films
                "versions": world.released.shared.versions[rows],  # (k,) which of what was learnt a film's codec is
            }
        )
