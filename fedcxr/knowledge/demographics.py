"""Sex and age, of released people and of known ones: what a hospital's list, a bill or a newspaper may say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import Cohort
from fedcxr.knowledge import Holding, Knowledge
from fedcxr.world import Roles, World


class Demographics(Knowledge):
    """Sex and age at each film: of those that are attacked, of those that are known, and of the adversary's own."""

    known: bool = pydantic.Field(False, description="sex and age of whoever is on each released and each known film")

    @property
    def granted(self) -> bool:
        return self.known

    def held(self, world: World, roles: Roles) -> Holding | None:
        """Numbers for each film, in the order of the question, of the known films and of the own ones."""
        if not self.known:
            return None
        films = world.released.films[world.rows_of(roles.attacked)]
        parts = {
            "released": world.cohort.take(films),
            "known": world.cohort.take(roles.known),
            "own": world.own(roles),
        }
        return Holding({f"{part} {name}": told for part, of in parts.items() for name, told in _told(of).items()})


def _told(films: Cohort) -> dict[str, npt.NDArray[np.float32]]:
    """`sex`: 0 a man, 1 a woman; `age`: years; of each film (n,), NaN: unknown."""
    sex = films.index["sex"].map({"M": 0.0, "F": 1.0})
    return {"sex": sex.to_numpy(dtype=np.float32), "age": films.index["age"].to_numpy(dtype=np.float32)}
