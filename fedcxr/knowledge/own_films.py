"""Clean films of people who are not attacked, which the adversary learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.knowledge import Holding, Knowledge
from fedcxr.world import Roles, World


@dataclass(frozen=True)
class Owned:
    """The films, and whose they are: numbers in place of names."""

    films: npt.NDArray[np.uint8]  # (n, h, w)
    people: npt.NDArray[np.int64]  # (n,) anonymous numbers
    sources: npt.NDArray[np.int64]  # (n,) anonymous numbers of hospitals
    held_out: npt.NDArray[np.bool_]  # (n,) people to validate on, by patient

    def take(self, rows: npt.NDArray[np.intp]) -> Owned:
        """These films alone."""
        return Owned(self.films[rows], self.people[rows], self.sources[rows], self.held_out[rows])


class OwnFilms(Knowledge):
    """Films and identities of people who are not attacked."""

    before_releases: ClassVar[bool] = True

    of: Literal["train"] = pydantic.Field("train", description="whose: those of the train and val splits")

    @property
    def granted(self) -> bool:
        return True

    def held(self, world: World, roles: Roles) -> Holding:
        mine = world.cohort.take(roles.owned)
        return Holding(
            {
                "films": mine.films(),
                "people": pd.factorize(world.patients[roles.owned])[0].astype(np.int64),
                "sources": pd.factorize(mine.index["source"])[0].astype(np.int64),
                "held_out": np.asarray(mine.index["split"].to_numpy() == "val"),
            }
        )
