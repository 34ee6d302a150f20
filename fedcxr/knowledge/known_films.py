"""Real films of the very people who are attacked, from elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pydantic

from fedcxr.errors import DataError
from fedcxr.knowledge import Holding, Knowledge
from fedcxr.rng import stream
from fedcxr.world import Roles, World


class KnownFilms(Knowledge):
    """Some films of each attacked patient who has two or more, and which of them are of one person.

    Never a film whose release is attacked: an adversary who holds the original need not ask whose it is. A patient with
    a single film is attacked, but unknown: most people in a leak are in nobody's album.
    """

    share: float = pydantic.Field(
        0.5, gt=0, lt=1, description="share of each attacked patient's films that the adversary has from elsewhere"
    )
    most: int | None = pydantic.Field(
        None,
        ge=1,
        le=1000,
        description="films of each patient that it has at most; the rest of the share is neither known nor attacked, "
        "so that the same films are attacked whatever this is",
    )

    @property
    def granted(self) -> bool:
        return True

    def assign(self, world: World, roles: Roles) -> Roles:
        asked = np.flatnonzero(roles.attacked)
        patients = world.cohort.patients[asked]  # who they really are, whatever a control makes of it
        known, aside = roles.known.copy(), np.zeros_like(roles.known)
        for patient, places in pd.Series(patients).groupby(patients).indices.items():
            if len(places) > 1:
                films = min(max(round(self.share * len(places)), 1), len(places) - 1)
                rng = stream(world.seed, "known", str(patient))
                shared = asked[rng.permutation(places)[:films]]
                aside[shared] = known[shared[: self.most]] = True
        if not known.any():
            raise DataError(
                "no attacked patient has two films, so nobody can be re-identified or not",
                given=f"{len(asked)} films in the test split",
                do="use a cohort with several visits per patient",
            )
        return replace(roles, known=known, attacked=roles.attacked & ~aside)

    def held(self, world: World, roles: Roles) -> Holding:
        known = np.flatnonzero(roles.known)
        return Holding(
            {
                "films": world.cohort.films(known),  # (m, h, w)
                "people": pd.factorize(world.patients[known])[0].astype(np.int64),  # (m,) numbers in place of names
            }
        )
