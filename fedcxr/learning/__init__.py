"""What a method learns: where, in how many rounds, by which strategy, what is told of it, and what it guarantees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import pydantic

from fedcxr import plugins
from fedcxr.errors import ConfigError, Refused, UnknownName
from fedcxr.learning.strategies import STRATEGIES, Strategy
from fedcxr.release import Release

Place = Literal["local", "federated", "public"]
LONGEST_REPORT = 1 << 16  # characters of JSON, of one site and one round


@dataclass(frozen=True)
class Learning:
    """Who learns: each site for itself, all sites together in rounds, or the coordinator from public films."""

    place: Place = "local"
    rounds: int = 1
    strategy: str = "fedavg"
    options: Mapping[str, Any] = field(default_factory=dict)  # of the strategy

    def __post_init__(self) -> None:
        if self.place not in get_args(Place):
            raise UnknownName("place to learn", self.place, get_args(Place))
        if self.rounds < 1:
            raise ConfigError("learning takes a round or more", given=self.rounds)
        alone = (self.rounds, self.strategy, dict(self.options)) == (1, "fedavg", {})
        if self.place != "federated" and not alone:
            raise ConfigError(
                "only a federation learns in rounds, by a strategy",
                given=f"{self.place}, {self.rounds} rounds, {self.strategy}",
                do="let it learn federated",
            )
        _ = self.aggregation

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
    films: int  # it learnt from
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
    unit: Literal["record", "patient", "pixel_neighbourhood"]
    accountant: str
