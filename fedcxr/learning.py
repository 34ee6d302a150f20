"""What a method learns: where, in how many rounds, by which of Flower's strategies, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import pydantic

from fedcxr import plugins
from fedcxr.errors import ConfigError, Refused, UnknownName
from fedcxr.release import Release

Place = Literal["local", "federated", "public"]
LONGEST_REPORT = 1 << 16  # characters of JSON, of one site and one round


class Strategy(pydantic.BaseModel):
    """How one model is made of the sites' updates: the class of this name in flwr.serverapp.strategy.

    Its fields are the constructor's arguments that matter once the updates are there. Flower's others choose nodes
    and name records, which is done elsewhere here. So is Flower's `eta_l`: it reads it nowhere, and a method has a
    learning rate of its own.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    remembers: ClassVar[bool] = False  # whether a round depends on more of the earlier ones than where they ended

    @property
    def fewest(self) -> int:
        """How many updates it needs to be what it is called."""
        return 1


class FedAvg(Strategy):
    """The mean of all updates, weighed by films."""


class FedProx(Strategy):
    """The same; a method that names it keeps its sites' weights near what they were sent, by this factor."""

    proximal_mu: float = pydantic.Field(gt=0, le=1e6)  # no default: Flower's, 0, is FedAvg


class FedAvgM(Strategy):
    """A step of gradient descent with momentum towards the mean."""

    remembers: ClassVar[bool] = True

    server_learning_rate: float = pydantic.Field(default=1.0, gt=0, le=1e6)
    server_momentum: float = pydantic.Field(default=0.0, ge=0, lt=1)


class FedAdagrad(Strategy):
    """A step of Adagrad towards the mean."""

    remembers: ClassVar[bool] = True

    eta: float = pydantic.Field(default=0.1, gt=0, le=1e6)
    tau: float = pydantic.Field(default=1e-3, gt=0, le=1e6)


class FedAdam(Strategy):
    """A step of Adam towards the mean."""

    remembers: ClassVar[bool] = True

    eta: float = pydantic.Field(default=0.1, gt=0, le=1e6)
    beta_1: float = pydantic.Field(default=0.9, ge=0, lt=1)
    beta_2: float = pydantic.Field(default=0.99, ge=0, lt=1)
    tau: float = pydantic.Field(default=1e-3, gt=0, le=1e6)


class FedYogi(FedAdam):
    """A step of Yogi towards the mean."""

    eta: float = pydantic.Field(default=0.01, gt=0, le=1e6)


class FedMedian(Strategy):
    """The median of each weight, whatever the sites' films."""


class FedTrimmedAvg(Strategy):
    """The mean of each weight without the largest and the smallest `beta` of all sites."""

    beta: float = pydantic.Field(default=0.2, ge=0, lt=0.5)


class Krum(Strategy):
    """The one update that is nearest to most others."""

    num_malicious_nodes: int = pydantic.Field(default=0, ge=0, le=10_000)

    @property
    def fewest(self) -> int:
        return 2 * self.num_malicious_nodes + 3  # Blanchard et al., NeurIPS 2017: n > 2 f + 2


class MultiKrum(Krum):
    """The mean of the updates that are nearest to most others."""

    num_nodes_to_select: int = pydantic.Field(default=1, ge=1, le=10_000)

    @property
    def fewest(self) -> int:
        return max(super().fewest, self.num_nodes_to_select)


class Bulyan(Strategy):
    """Of the updates that Krum chooses, the mean of each weight's values next to the median."""

    num_malicious_nodes: int = pydantic.Field(default=0, ge=0, le=10_000)

    @property
    def fewest(self) -> int:
        return 4 * self.num_malicious_nodes + 3  # El Mhamdi et al., ICML 2018; with fewer, Flower leaves out the round


# A table of our own, because importing Flower takes longer than refusing a scenario may take. Absent are those that
# need more than updates and numbers of films: the sites' losses (QFedAvg), trees (FedXgb...), noise (Differential...).
STRATEGIES: Mapping[str, type[Strategy]] = {
    strategy.__name__.lower(): strategy
    for strategy in (
        *(FedAvg, FedProx, FedAvgM, FedAdagrad, FedAdam, FedYogi),
        *(FedMedian, FedTrimmedAvg, Krum, MultiKrum, Bulyan),
    )
}


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
