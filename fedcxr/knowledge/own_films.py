"""Clean films of people who are not attacked, which the adversary learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr import plugins
from fedcxr.cohort import Cohort
from fedcxr.data import Source
from fedcxr.errors import ConfigError, DataError
from fedcxr.knowledge import Holding, Knowledge
from fedcxr.knowledge._some_people import some_people
from fedcxr.partition import natural
from fedcxr.rng import stream
from fedcxr.world import Bools, Roles, World


@dataclass(frozen=True)
class Owned:
    """The films, and whose they are: numbers in place of names."""

    films: npt.NDArray[np.uint8]  # (n, h, w), mapped from disk where there are many
    people: npt.NDArray[np.int64]  # (n,) anonymous numbers
    sources: npt.NDArray[np.int64]  # (n,) anonymous numbers of hospitals
    held_out: npt.NDArray[np.bool_]  # (n,) people to validate on, by patient

    def take(self, rows: npt.NDArray[np.intp]) -> Owned:
        """These films alone."""
        return Owned(self.films[rows], self.people[rows], self.sources[rows], self.held_out[rows])


def _source(given: object) -> Source | None:
    """A source from its name, or from `{source: NAME, key: value, ...}` as under `cohort`."""
    parameters = dict(given) if isinstance(given, dict) else {"source": given}
    if given is None:
        return None
    if "name" in parameters:
        raise ValueError("a source has its name under `source`, not `name`")
    try:
        return cast(Source, plugins.build("source", {"name": parameters.pop("source", None), **parameters}))
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _described(source: Source | None) -> dict[str, object] | None:
    if source is None:
        return None
    spec = source.spec()
    return {"source": spec.pop("name"), **spec}


class OwnFilms(Knowledge):
    """Films and identities of people who are not attacked: by default of all others at the hospitals.

    More people than these are rendered, where the hospitals' own are: others, from a seed of their own. `hospital`
    divides the hospitals in two by the scenario's seed: one half alone is attacked, and the adversary owns films of
    that half or of the other.
    """

    before_releases: ClassVar[bool] = True

    of: Literal["train"] = pydantic.Field("train", description="whose: those of the train and val splits")
    people: int | None = pydantic.Field(
        None, ge=2, le=1_000_000, description="so many people: some of those, or those and others; null: those"
    )
    source: Annotated[Source | None, pydantic.PlainValidator(_source), pydantic.PlainSerializer(_described)] = (
        pydantic.Field(None, description="people of another source instead, who are at none of the hospitals")
    )
    hospital: Literal["any", "attacked", "other"] = pydantic.Field(
        "any", description="films of all hospitals; or of the half that alone is attacked, or of the other half"
    )
    held_out: float | None = pydantic.Field(
        None, gt=0, lt=1, description="share of the people to validate on; null: those of the val split"
    )

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source is not None and self.hospital != "any":
            raise ValueError("hospital is of the hospitals' own people, and source of others")
        return self

    @property
    def granted(self) -> bool:
        return True

    @property
    def sources(self) -> tuple[Source, ...]:
        return () if self.source is None else (self.source,)

    def resolved_for(self, sources: Sequence[Source]) -> Self:
        """With films of the hospitals' size, unless the scenario says otherwise: then it must be that."""
        size = next((getattr(source, "size", None) for source in sources), None)
        own = getattr(self.source, "size", None)
        if self.source is None or size is None or own is None or own == size:
            self._refuse_the_hospitals_own(sources)
            return self
        if "size" in self.source.model_fields_set:
            raise ConfigError(
                "knowledge.own_films.source has films of another size than the hospitals'", given=own, allowed=str(size)
            )
        return self.model_copy(update={"source": self.source.model_copy(update={"size": size})}).resolved_for(sources)

    def _refuse_the_hospitals_own(self, sources: Sequence[Source]) -> None:
        if self.source is not None and self.source.real and self.source in sources:
            raise ConfigError(
                "knowledge.own_films.source is a hospital's own, and so holds the films that are attacked",
                given=self.source.plugin_name(),
                do="remove it, or name films of other people",
            )

    def assign(self, world: World, roles: Roles) -> Roles:
        if self.source is not None:
            nobody = np.zeros_like(roles.owned)
            album = world.elsewhere(np.flatnonzero(nobody), self.source, self.people)
            return replace(roles, owned=nobody, album=album)
        if self.hospital != "any":
            roles = self._by_hospital(world, roles)
        if self.people is None:
            return roles
        mine = world.cohort.take(roles.owned)
        there = len(np.unique(mine.patients))
        if self.people <= there:
            owned = roles.owned.copy()
            owned[np.flatnonzero(owned)] = some_people(mine, self.people, stream(world.seed, "own people"))
            return replace(roles, owned=owned)
        if self.hospital != "any":
            raise DataError(
                "there are fewer people at these hospitals than knowledge.own_films asks for",
                given=self.people,
                allowed=f"2 to {there}",
            )
        return replace(roles, album=world.elsewhere(np.flatnonzero(roles.owned), None, self.people - there))

    def _by_hospital(self, world: World, roles: Roles) -> Roles:
        """Attacked are the films of one half of the hospitals, whether one owns films of these or of the others."""
        source = world.cohort.index["source"].to_numpy(dtype=object)
        names = sorted(set(source), key=natural)
        if len(names) < 2:
            raise DataError(
                f"knowledge.own_films of {self.hospital} hospitals needs two of them", given=", ".join(names)
            )
        half = stream(world.seed, "own hospitals").permutation(len(names))[: (len(names) + 1) // 2]
        attacked = np.isin(source, [names[number] for number in half])
        mine: Bools = attacked if self.hospital == "attacked" else ~attacked
        return replace(roles, attacked=roles.attacked & attacked, owned=roles.owned & mine)

    def held(self, world: World, roles: Roles) -> Holding:
        mine = world.own(roles)
        films = mine.films() if roles.album is None else np.asarray(mine.pixels)
        return Holding(
            {
                "films": films,
                "people": pd.factorize(_names(world, roles, mine))[0].astype(np.int64),
                "sources": pd.factorize(mine.index["source"])[0].astype(np.int64),
                "held_out": self._held_out(world, mine),
            }
        )

    def _held_out(self, world: World, mine: Cohort) -> Bools:
        if self.held_out is None:
            return np.asarray(mine.index["split"].to_numpy() == "val")
        people, number = np.unique(mine.patients, return_inverse=True)
        chosen = stream(world.seed, "own people", "held out").permutation(len(people))
        return np.asarray(chosen < round(self.held_out * len(people)))[number]


def _names(world: World, roles: Roles, mine: Cohort) -> npt.NDArray[np.object_]:
    """Whose films these are as the world has it."""
    if roles.album is None and np.array_equal(roles.owned, ~world.tested):
        return world.patients[roles.owned]
    # Of some films alone: where identities mean nothing, so few of those of one name would be among them that nobody
    # had two. Whoever stand side by side there are one person, with as many films as that person really has.
    names, real, drawn = mine.patients.copy(), world.cohort.patients[roles.owned], world.patients[roles.owned]
    names[np.argsort(drawn, kind="stable")] = np.sort(real)
    return names
