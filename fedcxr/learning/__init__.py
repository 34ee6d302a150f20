"""What a method learns: where, in how many rounds, by which strategy, what is told of it, and what it guarantees."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pydantic

from fedcxr import plugins
from fedcxr.errors import ConfigError, Refused, UnknownName
from fedcxr.learning.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:  # a hospital's key agent imports this package, and has no business with releases
    from fedcxr.release import Release

Place = Literal["local", "federated", "public"]
Beginning = Literal["anew", "public"]
LONGEST_REPORT = 1 << 16  # characters of JSON, of one site and one round


class CentralNoise(pydantic.BaseModel):
    """Differential privacy of whole sites: the coordinator, who must be trusted with it, bounds each site's update in
    length and adds noise to their sum (McMahan et al., ICLR 2018)."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    clip: float = pydantic.Field(gt=0, le=1e6, description="length of a site's update, beyond which it is shortened")
    noise_multiplier: float = pydantic.Field(gt=0, le=1e6, description="deviation of the noise, in such lengths")
    delta: float = pydantic.Field(1e-5, gt=0, lt=1)


@dataclass(frozen=True)
class Learning:
    """Who learns: each site for itself, all sites together in rounds, or the coordinator from public films."""

    place: Place = "local"
    rounds: int = 1
    strategy: str = "fedavg"
    options: Mapping[str, Any] = field(default_factory=dict)  # of the strategy
    participation: float = 1.0  # share of the sites that learn in a round
    begins: Beginning = "anew"  # or from what the coordinator has learnt from public films
    central: CentralNoise | None = None  # what the coordinator adds to what the sites learnt

    def __post_init__(self) -> None:
        if self.place not in get_args(Place):
            raise UnknownName("place to learn", self.place, get_args(Place))
        if self.rounds < 1:
            raise ConfigError("learning takes a round or more", given=self.rounds)
        if not 0 < self.participation <= 1:
            raise ConfigError("some of the sites learn in a round", given=self.participation, allowed="over 0, up to 1")
        together = (self.rounds, self.strategy, dict(self.options), self.participation, self.begins, self.central)
        alone = together == (1, "fedavg", {}, 1.0, "anew", None)
        if self.place != "federated" and not alone:
            raise ConfigError(
                "only a federation learns in rounds, by a strategy",
                given=f"{self.place}, {self.rounds} rounds, {self.strategy}",
                do="let it learn federated",
            )
        _ = self.aggregation

    def asked(self, sites: int) -> int:
        """How many of so many sites are asked in a round."""
        return min(max(round(self.participation * sites), 1), sites)

    def participants(self, sites: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
        """Who is asked in one round, in their order."""
        asked = self.asked(len(sites))
        if asked == len(sites):
            return tuple(sites)
        return tuple(sites[place] for place in sorted(rng.permutation(len(sites))[:asked]))

    @property
    def aggregation(self) -> Strategy:
        """The strategy with its options."""
        if self.strategy not in STRATEGIES:
            raise UnknownName("strategy", self.strategy, STRATEGIES)
        return plugins.validate(STRATEGIES[self.strategy], self.options, f"strategy {self.strategy}")


@dataclass(frozen=True)
class Report:
    """What a site told of its learning in one round, beside what it learnt: from this a guarantee is reckoned."""

    site: str
    round: int  # 1, 2, ...
    films: int  # as many as it counts for among the others
    facts: Mapping[str, Any] = field(default_factory=dict)  # whatever its method told, as plain JSON data

    @classmethod
    def of(cls, release: Release, number: int) -> Report:
        """The report in an update, or in a release that holds what its site learnt; refused if it makes no sense."""
        films, facts = release.facts.get("films"), release.facts.get("reported", {})
        if type(films) is not int or films < 1:
            raise Refused("an update of no film", given=films)
        try:
            plain = isinstance(facts, dict) and len(json.dumps(facts, allow_nan=False)) <= LONGEST_REPORT
        except (TypeError, ValueError, RecursionError):
            plain = False
        if not plain:
            raise Refused("what a site tells of its learning is no plain data, or too much", given=release.site)
        return cls(release.site, number, films, facts)


class Guarantee(pydantic.BaseModel):
    """A formal privacy guarantee, always with the unit it protects."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, revalidate_instances="always")

    epsilon: float = pydantic.Field(ge=0)
    delta: float = pydantic.Field(ge=0, lt=1)
    unit: Literal["record", "patient", "site", "pixel_neighbourhood"]
    accountant: str
    epsilon_rdp: float | None = pydantic.Field(None, ge=0)  # the same by Renyi divergences: the figure papers have
